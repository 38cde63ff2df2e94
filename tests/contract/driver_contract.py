"""What a driver must bring to run under the contract suite: real peers on a real network."""

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from drivers.api.driver import Driver
from tests.contract.context import FakeContext
from tests.waiting import wait_until


class DriverHarness(Protocol):
    """A driver, its network and its terminals. `open` and `close` frame a test."""

    async def open(self) -> None:
        """Start what the driver needs (a broker); not the driver."""
        ...

    async def close(self) -> None:
        """End everything but the driver."""
        ...

    def driver(self) -> Driver:
        """Return a new driver with the same settings as the last."""
        ...

    async def press(self, terminal: str, event_id: str, key: str = "sos") -> None:
        """Let a terminal press a key; returns when it has left the terminal."""
        ...

    async def garbage(self, payload: bytes) -> None:
        """Send bytes where a terminal sends its events."""
        ...

    async def repeat(self) -> None:
        """Do what network and terminals do with the unacknowledged once the driver is back."""
        ...

    async def listen(self, terminal: str) -> None:
        """Let a terminal connect and collect what it is told."""
        ...

    def received_by(self, terminal: str) -> list[dict[str, Any]]:
        """Return the commands that a terminal has received."""
        ...


class DriverUnderTest:
    """Runs drivers of a harness against one FakeContext."""

    def __init__(self, harness: DriverHarness) -> None:
        self.harness = harness
        self.ctx = FakeContext()
        self.driver: Driver = harness.driver()
        self._run: asyncio.Task[None] | None = None

    @property
    def lives(self) -> bool:
        return self._run is not None and not self._run.done()

    async def start(self) -> None:
        self.ctx.links.clear()
        self.driver = self.harness.driver()
        self._run = asyncio.create_task(self.driver.run(self.ctx))
        await wait_until(
            lambda: self.ctx.all_up or not self.lives, deadline=10, what="all links up"
        )
        assert self.lives

    async def stop(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        run.cancel()
        async with asyncio.timeout(2):
            with suppress(asyncio.CancelledError):
                await run

    async def restart(self) -> None:
        await self.stop()
        await self.start()
        await self.harness.repeat()
