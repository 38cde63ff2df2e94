"""The one way to read time, so that tests can own it."""

from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def time(self) -> float:
        """Return seconds since the Unix epoch (UTC); may step when the system clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...
