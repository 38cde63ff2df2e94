"""The two speeds of stopping: SIGTERM drains, SIGINT (or a second SIGTERM) ends now."""

import asyncio
import signal
from collections.abc import Coroutine
from enum import StrEnum


class Stop(StrEnum):
    """How to end."""

    DRAIN = "drain"
    NOW = "now"


class StopSignals:
    """Listens for the signals of the running loop's process."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._any = asyncio.Event()
        self._now = asyncio.Event()
        loop.add_signal_handler(signal.SIGINT, self._hurry)
        loop.add_signal_handler(signal.SIGTERM, self._drain)

    @property
    def at_once(self) -> bool:
        """Tell whether somebody wants the end now."""
        return self._now.is_set()

    async def asked(self) -> Stop:
        """Return when the process is asked to end."""
        await self._any.wait()
        return Stop.NOW if self.at_once else Stop.DRAIN

    async def hurried(
        self, work: Coroutine[object, object, object], *, grace_s: float = 0.0
    ) -> None:
        """Wait for `work`, but once somebody wants the end now no longer than `grace_s` seconds.

        What `work` raises is raised here; work that took too long is cancelled.
        """
        working = asyncio.create_task(work)
        hurry = asyncio.create_task(self._now.wait())
        try:
            await asyncio.wait({working, hurry}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({working}, timeout=grace_s)
        finally:
            for task in (working, hurry):
                task.cancel()
            await asyncio.gather(working, hurry, return_exceptions=True)
        if not working.cancelled():
            working.result()

    def _drain(self) -> None:
        if self._any.is_set():
            self._now.set()
        self._any.set()

    def _hurry(self) -> None:
        self._now.set()
        self._any.set()
