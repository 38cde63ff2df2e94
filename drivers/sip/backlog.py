"""Numbered events that the daemon has not acknowledged yet. Pure and bounded."""

from collections import deque
from collections.abc import Sequence

from drivers.api.legs import AnyLegEvent

# A worker of 4 legs makes about 30 events per call: more than 30 calls without a daemon.
MAX_EVENTS = 1000


class Backlog:
    """Keeps the newest `limit` events; what overflows is counted, the snapshot makes up for it."""

    def __init__(self, limit: int = MAX_EVENTS) -> None:
        self._limit = limit
        self._events: deque[tuple[int, AnyLegEvent]] = deque()
        self._last = 0
        self.dropped = 0

    def append(self, event: AnyLegEvent) -> int:
        """Keep `event`; return its number, counted from 1."""
        self._last += 1
        self._events.append((self._last, event))
        if len(self._events) > self._limit:
            self._events.popleft()
            self.dropped += 1
        return self._last

    def acknowledge(self, seq: int) -> None:
        """Forget all events up to number `seq`."""
        while self._events and self._events[0][0] <= seq:
            self._events.popleft()

    def pending(self) -> Sequence[tuple[int, AnyLegEvent]]:
        """Return what nobody has acknowledged, oldest first."""
        return tuple(self._events)
