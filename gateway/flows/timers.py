"""The timers of one call: names in, TimerFired out."""

from collections.abc import Callable
from typing import Protocol


class Cancellable(Protocol):
    """What a scheduler returns."""

    def cancel(self) -> None:
        """Do not fire."""
        ...


# (seconds, what to call) → handle; the event loop's call_later, or a test's own.
Schedule = Callable[[float, Callable[[], None]], Cancellable]


class Timers:
    """Named one-shot timers; starting a running one replaces it."""

    def __init__(self, schedule: Schedule, fired: Callable[[str], None]) -> None:
        self._schedule = schedule
        self._fired = fired
        self._running: dict[str, Cancellable] = {}

    def start(self, name: str, seconds: float) -> None:
        """Call `fired(name)` in `seconds`."""
        self.stop(name)
        self._running[name] = self._schedule(seconds, lambda: self._fire(name))

    def stop(self, name: str) -> None:
        """Forget a timer; none running is no error."""
        timer = self._running.pop(name, None)
        if timer is not None:
            timer.cancel()

    def clear(self) -> None:
        """Forget all timers."""
        for name in list(self._running):
            self.stop(name)

    def _fire(self, name: str) -> None:
        self._running.pop(name, None)
        self._fired(name)
