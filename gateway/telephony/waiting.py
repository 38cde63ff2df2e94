"""Callers for whom no worker had room: emergencies first, then in the order of their coming."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from drivers.api.ids import CallId
from drivers.api.legs import CallEvent
from gateway.telephony.room import Room


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoomRequest:
    """What `WorkerPool.room` was asked for."""

    call: CallId
    legs: int
    emergency: bool
    on_event: Callable[[CallEvent], None]
    granted: asyncio.Future[Room] = field(compare=False)


class WaitingLine:
    """Two queues, each with the same bound: no number of other calls keeps an SOS out."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._requests: list[RoomRequest] = []

    def __iter__(self) -> Iterator[RoomRequest]:
        """Yield a copy of the line in the order of service."""
        return iter(sorted(self._requests, key=lambda request: not request.emergency))

    def add(self, request: RoomRequest) -> bool:
        """Put `request` at the end of its queue; return False when that is full."""
        peers = sum(other.emergency == request.emergency for other in self._requests)
        if peers >= self._limit:
            return False
        self._requests.append(request)
        return True

    def remove(self, request: RoomRequest) -> None:
        """Take `request` out; one that is not in the line is no error."""
        self._requests = [other for other in self._requests if other is not request]

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def emergencies(self) -> int:
        """Return how many emergencies wait."""
        return sum(request.emergency for request in self._requests)

    @property
    def legs(self) -> int:
        """Return the legs that all in the line want."""
        return sum(request.legs for request in self._requests)
