"""One worker process from its attach to its end: who has reserved what in it, how fast it dials."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from drivers.api.clock import Clock
from drivers.api.errors import NoCapacity, WaistError
from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    AnyLegEvent,
    CallEvent,
    DialRequest,
    LegEnded,
    LegOffered,
    LegOutcome,
    LegState,
    WorkerLink,
)
from gateway.config import TelephonyConfig
from gateway.telephony.pacing import BURST, Pacer
from gateway.telephony.placement import LEGS_OF_A_CALL, Seat, adopted_legs
from gateway.telephony.room import Room

log = structlog.get_logger()

# A leg whose peer is dead keeps its place in PJSIP until timer B or F ends it (64 × T1 = 32 s,
# RFC 3261 §17.1), unseen: the worker refuses although we count it free.
STUCK_LEG_S = 32.0


class Worker:
    """The daemon's books on one worker process. Every change is reported through `changed`."""

    def __init__(
        self,
        link: WorkerLink,
        config: TelephonyConfig,
        *,
        clock: Clock,
        changed: Callable[[], None],
        adopted: bool,
    ) -> None:
        """Open the books; an adopted worker's calls get their rooms, a new worker has none."""
        self.link = link
        self._clock = clock
        self._changed = changed
        self._recycle_after = config.recycle_after_calls
        self.limit = min(link.legs_limit, config.legs_per_worker)
        now = clock.monotonic()
        self._pacer = Pacer(config.dials_per_second, burst=min(BURST, self.limit), now=now)
        self.carried = link.snapshot.calls_carried
        self.attached_at = clock.time()
        self.ready_since = now
        self._idle_since = now
        self._clogged_until = now
        self._strays: dict[LegId, float] = {}  # legs that outlived their room → end of patience
        self._rejecting: set[asyncio.Task[None]] = set()
        self.rooms: dict[CallId, Room] = {}
        self._inherited: set[CallId] | None = None  # calls taken over; None: no more are
        if adopted:
            self._adopt_calls()

    @property
    def reserved(self) -> int:
        """Return the legs that are spoken for."""
        return sum(room.held for room in self.rooms.values()) + len(self._strays)

    @property
    def free(self) -> int:
        """Return the legs nobody has reserved."""
        return max(0, self.limit - self.reserved)

    @property
    def empty(self) -> bool:
        """Tell whether it carries nothing and nobody has room in it."""
        return not self.rooms and not self._strays

    @property
    def due(self) -> bool:
        """Tell whether it has carried so many calls that a fresh one should follow."""
        return self.carried >= self._recycle_after

    @property
    def clogged(self) -> bool:
        """Tell whether legs of dead peers are presumed to block it."""
        return self._clock.monotonic() < self._clogged_until

    @property
    def idle_s(self) -> float:
        """Return for how many seconds it has been empty; 0 while it is not."""
        return self._clock.monotonic() - self._idle_since if self.empty else 0.0

    def seat(self, *, ready: bool) -> Seat:
        """Return what placement needs to know."""
        now = self._clock.monotonic()
        return Seat(
            slot=self.link.slot,
            limit=self.limit,
            reserved=self.reserved,
            open=ready and not self.clogged,
            due=self.due,
            wait_s=self._pacer.wait_for(LEGS_OF_A_CALL, now),
            carried=self.carried,
        )

    def admit(
        self,
        call: CallId,
        *,
        legs: int,
        emergency: bool,
        on_event: Callable[[CallEvent], None],
    ) -> Room:
        """Reserve `legs` legs for `call`, which placement has found to be free."""
        room = Room(self, call, legs=legs, emergency=emergency, on_event=on_event)
        self.rooms[call] = room
        self.carried += 1
        if self._inherited is not None:
            self._inherited.add(call)
        return room

    async def turn(self) -> None:
        """Return when the worker may dial once more."""
        wait = self._pacer.take(self._clock.monotonic())
        if wait > 0:
            await asyncio.sleep(wait)

    async def dial(self, call: CallId, request: DialRequest) -> None:
        """Dial; a refusal of the worker closes it to new calls for a while."""
        try:
            await self.link.dial(call, request)
        except NoCapacity:
            self._clogged_until = self._clock.monotonic() + STUCK_LEG_S
            log.warning("worker_clogged", slot=self.link.slot, call=call, reserved=self.reserved)
            self._changed()
            raise

    async def leave(self, room: Room) -> None:
        """Take `room` back. Legs that still live are ended, and count until they are gone."""
        if self.rooms.get(room.call) is not room:
            return  # the worker died, and the room with it
        del self.rooms[room.call]
        patience = self._clock.monotonic() + STUCK_LEG_S
        self._strays.update(dict.fromkeys(room.living, patience))
        self._mark_idle()
        self._changed()
        await self._hang_up(room.living, call=room.call, reason="room released")

    async def abandon_unclaimed(self) -> None:
        """End the calls of an earlier daemon that no flow has asked for."""
        self._inherited = None
        for room in list(self.rooms.values()):
            if room.claimed:
                continue
            log.error("call_unclaimed", call=room.call, slot=self.link.slot)
            if room.call in self.link.snapshot.recordings:
                await self._stop_recording(room.call)
            await room.release()

    def receive(self, event: AnyLegEvent) -> None:
        """Pass an event to the room of its call."""
        if isinstance(event, LegOffered):
            self._pacer.take(self._clock.monotonic())  # PJSIP does not care which way a call goes
        room = self.rooms.get(event.call) or self._inherit(event.call)
        if room is not None:
            room.receive(event)
        elif isinstance(event, LegOffered):
            self._turn_away(event)
        else:
            log.debug("event_without_room", call=event.call, event_type=type(event).__name__)
        if isinstance(event, LegEnded):
            self._strays.pop(event.leg, None)
            self._mark_idle()
            self._changed()

    def expire(self) -> None:
        """Forget legs whose end was never reported."""
        now = self._clock.monotonic()
        for leg in [leg for leg, until in self._strays.items() if until <= now]:
            log.error("leg_end_never_reported", leg=leg, slot=self.link.slot)
            del self._strays[leg]
            self._mark_idle()

    def lose(self) -> Sequence[Room]:
        """Tell every room that the worker is gone; return those that no flow has claimed yet."""
        rooms, self.rooms = self.rooms, {}
        self._strays.clear()
        for room in rooms.values():
            room.lose(self._clock.time())
        return [room for room in rooms.values() if not room.claimed]

    def _turn_away(self, event: LegOffered) -> None:
        """Send a caller back to the edge who comes when the room is gone, or never was."""
        log.warning("caller_without_room", call=event.call, leg=event.leg, slot=self.link.slot)
        self._strays[event.leg] = self._clock.monotonic() + STUCK_LEG_S
        self._changed()
        task = asyncio.get_running_loop().create_task(self._reject(event.call, event.leg))
        self._rejecting.add(task)
        task.add_done_callback(self._rejecting.discard)

    async def _reject(self, call: CallId, leg: LegId) -> None:
        try:
            await self.link.reject(leg, LegOutcome.UNREACHABLE)
        except WaistError as exc:
            log.warning("reject_failed", call=call, leg=leg, detail=str(exc))

    def _mark_idle(self) -> None:
        if self.empty:
            self._idle_since = self._clock.monotonic()

    async def _hang_up(self, legs: frozenset[LegId], *, call: CallId, reason: str) -> None:
        for leg in sorted(legs):
            log.warning("stray_leg_hung_up", call=call, leg=leg, slot=self.link.slot)
            try:
                await self.link.hang_up(leg, reason=reason)
            except WaistError as exc:
                log.warning("hang_up_failed", call=call, leg=leg, detail=str(exc))

    async def _stop_recording(self, call: CallId) -> None:
        try:
            await self.link.stop_recording(call)
        except WaistError as exc:
            log.warning("stop_recording_failed", call=call, detail=str(exc))

    def _adopt_calls(self) -> None:
        """Give the calls in the snapshot their rooms."""
        snapshot = self.link.snapshot
        living: dict[CallId, list[LegId]] = defaultdict(list)
        for leg in snapshot.legs:
            if leg.state is not LegState.ENDED:
                living[leg.call].append(leg.leg)
        self._inherited = set()
        for call, legs in adopted_legs(snapshot, limit=self.limit).items():
            self._inherit(call, legs=legs, living=living[call])

    def _inherit(self, call: CallId, *, legs: int = 0, living: Sequence[LegId] = ()) -> Room | None:
        """Make a room for a call of an earlier daemon, once; None when it cannot be one.

        A call that ended while no daemon ran is in no snapshot, only in the missed events; its
        flow must hear of the end all the same, or it would ring people who have said goodbye.
        """
        if self._inherited is None or call in self._inherited:
            return None
        self._inherited.add(call)
        room = Room(self, call, legs=legs, emergency=True, on_event=None, living=living)
        self.rooms[call] = room
        return room
