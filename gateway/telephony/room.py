"""Room for one call in one worker."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from drivers.api.errors import NoCapacity, WaistError, WorkerGone
from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    AnyLegEvent,
    CallEvent,
    DialRequest,
    LegEnded,
    LegOffered,
    WorkerLink,
    WorkerLost,
)

log = structlog.get_logger()

# A flow hangs up one agent and rings the next at once; the first leg goes when its CANCEL has been
# answered. The worker gives a dead far end 2 s.
LEG_END_WAIT_S = 2.5
# Events kept for a call until its flow asks for them: four legs ringing for half a minute make
# some twenty; the rest is what a peer who presses keys may add.
BUFFER_MAX = 256


class Host(Protocol):
    """What a room needs of its worker."""

    @property
    def link(self) -> WorkerLink:
        """Return the connection to the worker."""
        ...

    @property
    def free(self) -> int:
        """Return the legs nobody has reserved."""
        ...

    async def turn(self) -> None:
        """Return when the worker may dial once more."""
        ...

    async def dial(self, call: CallId, request: DialRequest) -> None:
        """Dial at once."""
        ...

    async def leave(self, room: "Room") -> None:
        """Take the room back."""
        ...


class Room:
    """Implements drivers.api.legs.CallRoom. Holds `legs` legs, or what the call really has."""

    def __init__(
        self,
        host: Host,
        call: CallId,
        *,
        legs: int,
        emergency: bool,
        on_event: Callable[[CallEvent], None] | None,
        living: Iterable[LegId] = (),
    ) -> None:
        """Make the room; without `on_event` the events are kept until `claim`."""
        self._host = host
        self._call = call
        self._legs = legs
        self.emergency = emergency
        self._on_event = on_event
        self._kept: deque[CallEvent] | None = deque() if on_event is None else None
        self._living = set(living)
        self._expected = 0  # callers on their way here
        self._leg_ended = asyncio.Event()
        self._released = False
        self._lost = False

    @property
    def call(self) -> CallId:
        """Return the call this room is for."""
        return self._call

    @property
    def link(self) -> WorkerLink:
        """Return the worker that carries it."""
        return self._host.link

    @property
    def living(self) -> frozenset[LegId]:
        """Return the legs dialled and not ended."""
        return frozenset(self._living)

    @property
    def held(self) -> int:
        """Return the legs of the worker that this room takes up."""
        return max(self._legs, self._in_use)

    @property
    def claimed(self) -> bool:
        """Tell whether a flow looks after the call."""
        return self._on_event is not None

    async def dial(self, request: DialRequest) -> None:
        """Start a leg, paced; raises NoCapacity or WorkerGone.

        Waits for a leg of this room to end when all it holds are in use. An emergency may take
        legs beyond its reservation when nobody else has reserved them.
        """
        await self._leg_to_spare()
        self._living.add(request.leg)
        try:
            await self._host.turn()
            self._check_open()
            await self._host.dial(self._call, request)
        except WaistError:  # when cancelled instead, the leg may exist: it counts until it ends
            self._living.discard(request.leg)
            raise

    def expect(self, callers: int) -> None:
        """Keep legs free for so many callers whom the edge is sending; 0 gives up waiting."""
        self._expected = callers
        self._leg_ended.set()

    async def release(self) -> None:
        """Give the room back once its legs have ended; idempotent."""
        if self._released:
            return
        self._released = True
        self._leg_ended.set()
        await self._host.leave(self)

    def receive(self, event: AnyLegEvent) -> None:
        """Take an event of the worker."""
        if isinstance(event, LegOffered):
            self._living.add(event.leg)
            self._expected = max(0, self._expected - 1)
        elif isinstance(event, LegEnded):
            self._living.discard(event.leg)
            self._leg_ended.set()
        self._deliver(event)

    def lose(self, at: float) -> None:
        """Learn that the worker died at `at`; called once."""
        self._lost = True
        self._living.clear()
        self._leg_ended.set()
        self._deliver(WorkerLost(call=self._call, at=at))

    def claim(self, on_event: Callable[[CallEvent], None]) -> None:
        """Hand the call over; what was kept follows in order, from the event loop."""
        self._on_event = on_event
        asyncio.get_running_loop().call_soon(self._deliver_kept)

    @property
    def _in_use(self) -> int:
        return len(self._living) + self._expected

    async def _leg_to_spare(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + LEG_END_WAIT_S
        while True:
            self._check_open()
            if self._in_use < self._legs or (self.emergency and self._host.free > 0):
                return
            self._leg_ended.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._leg_ended.wait()
            except TimeoutError:
                raise NoCapacity(f"all {self._legs} legs of the call are in use") from None

    def _check_open(self) -> None:
        if self._lost:
            raise WorkerGone(f"the worker of call {self._call} has ended")
        if self._released:
            raise NoCapacity(f"the room of call {self._call} was given back")

    def _deliver(self, event: CallEvent) -> None:
        if self._released:
            log.debug("event_of_released_room", call=self._call, event_type=type(event).__name__)
        elif self._kept is not None:
            self._keep(self._kept, event)
        elif self._on_event is not None:
            self._hand_over(self._on_event, event)

    def _keep(self, kept: deque[CallEvent], event: CallEvent) -> None:
        if len(kept) >= BUFFER_MAX:
            # The end of a leg is what a flow cannot do without.
            victim = next((e for e in kept if not isinstance(e, LegEnded | WorkerLost)), kept[0])
            kept.remove(victim)
            log.warning("kept_event_dropped", call=self._call, event_type=type(victim).__name__)
        kept.append(event)

    def _deliver_kept(self) -> None:
        while self._kept and self._on_event is not None:
            self._hand_over(self._on_event, self._kept.popleft())
        self._kept = None

    def _hand_over(self, on_event: Callable[[CallEvent], None], event: CallEvent) -> None:
        try:
            on_event(event)
        except Exception:  # a defect in one flow must not cut the link of other calls
            log.exception("flow_failed_on_event", call=self._call, event_type=type(event).__name__)
