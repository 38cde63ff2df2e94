"""An event loop whose clock jumps to the next timer when there is nothing to do."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any


class _NeverWaits(selectors.DefaultSelector):
    """Adds the time it is asked to wait to `passed`, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for something that will not come"
            self.passed += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._never_waits = _NeverWaits()
        super().__init__(self._never_waits)
        # Timers count as due within this; a float that has lost its last digits must not hang us.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return 1000.0 + self._never_waits.passed


class LoopClock:
    """The loop's own time for the parts under test."""

    def time(self) -> float:
        return 1_700_000_000.0 + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` in virtual time; what another part logged as a defect of a callback fails it."""
    defects: list[Mapping[str, Any]] = []

    def note(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        defects.append(context)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(note)
        runner.run(main)
    assert not defects, defects


async def until(condition: Callable[[], object], *, deadline: float = 5.0) -> float:
    """Return after how many virtual seconds `condition` became true."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not condition():
        assert loop.time() - begin < deadline, f"not within {deadline} virtual seconds"
        await asyncio.sleep(0.001)
    return loop.time() - begin
