"""The pool of SIP workers: room for calls, kept for SOS where it is short."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import structlog

from drivers.api.clock import Clock
from drivers.api.errors import NoCapacity
from drivers.api.ids import CallId
from drivers.api.legs import CallEvent, CallRoom, WorkerFactory
from gateway.config import TelephonyConfig
from gateway.metrics import Metrics
from gateway.telephony.placement import choose, room_for_calls
from gateway.telephony.room import Room
from gateway.telephony.slot import Slot, SlotContext, kill_process
from gateway.telephony.slot_states import SlotState
from gateway.telephony.supervisor import Supervisor
from gateway.telephony.waiting import RoomRequest, WaitingLine

log = structlog.get_logger()

TICK_S = 1.0  # idle workers, clogged workers and legs that never ended are looked at so often
CLAIM_S = 30.0  # flows resume within seconds of the start; who has not by then never will
_STARTABLE: Final = (SlotState.VACANT, SlotState.STARTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One worker on the live page. `started_at` is Unix seconds; of an adopted one, the attach."""

    slot: int
    pid: int
    state: str  # of SlotState, or "clogged"
    legs_used: int
    legs_limit: int
    calls: tuple[CallId, ...]
    calls_carried: int
    started_at: float


class WorkerPool:
    """Implements drivers.api.legs.LegDialer."""

    def __init__(
        self,
        config: TelephonyConfig,
        factory: WorkerFactory,
        metrics: Metrics,
        clock: Clock,
        *,
        claim_s: float = CLAIM_S,
        kill: Callable[[int], None] = kill_process,
    ) -> None:
        """Make the pool; nothing runs before `start`.

        `claim_s`: calls of an earlier daemon that no flow asks for so long are hung up.
        """
        self._config = config
        self._metrics = metrics
        self._claim_s = claim_s
        self._context = SlotContext(
            config=config,
            factory=factory,
            metrics=metrics,
            clock=clock,
            changed=self._changed,
            kill=kill,
            legs=config.legs_per_worker,
        )
        self._supervisor = Supervisor(self._context)
        self._line = WaitingLine(config.max_workers * config.legs_per_worker)
        self._settling: asyncio.Handle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False
        self._export()

    async def start(self) -> None:
        """Adopt the workers an earlier daemon left, then start up to `min_workers`.

        Returns when they are ready or a start has failed; supervision goes on until `stop`.
        """
        self._tasks = [asyncio.create_task(self._tick())]
        await self._supervisor.start()
        self._tasks.append(asyncio.create_task(self._drop_unclaimed()))

    async def stop(self, *, workers: Literal["quit", "leave"]) -> None:
        """End supervision. "quit" ends the workers with their calls, "leave" lets both live on."""
        self._stopped = True
        for request in self._line:
            self._line.remove(request)
            request.granted.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._supervisor.stop(quit_workers=workers == "quit")
        if self._settling is not None:
            self._settling.cancel()

    @property
    def available(self) -> bool:
        """Tell whether at least one worker is ready."""
        return self._supervisor.count(SlotState.READY) > 0

    async def room(
        self, call: CallId, *, legs: int, emergency: bool, on_event: Callable[[CallEvent], None]
    ) -> CallRoom:
        """Reserve `legs` legs in one worker, at once if one has them.

        Else wait up to `room_wait_s` for one to start or a call to end. Raises NoCapacity, for
        other calls than emergencies at once when they would eat into the reserve.
        """
        request = RoomRequest(
            call=call,
            legs=legs,
            emergency=emergency,
            on_event=on_event,
            granted=asyncio.get_running_loop().create_future(),
        )
        if not self._stopped and legs <= self._context.legs:
            room = self._place(request) if emergency or not self._line.emergencies else None
            if room is None and (emergency or self._reserve_stays(legs)):
                room = await self._wait(request)
            if room is not None:
                return room
        self._metrics.pool_refused.labels(priority="emergency" if emergency else "normal").inc()
        log.warning("room_refused", call=call, legs=legs, emergency=emergency)
        raise NoCapacity(f"no worker has {legs} legs for call {call}")

    def adopted(self, call: CallId, on_event: Callable[[CallEvent], None]) -> CallRoom | None:
        """Return the room of a call that outlived an earlier daemon, or None.

        The events since the attach follow in order, from the event loop, after this returns;
        WorkerLost among them if the worker has died meanwhile. A call that ended without a daemon
        has a room without legs that delivers its last events.
        """
        rooms = [worker.rooms.get(call) for worker in self._supervisor.workers()]
        rooms.append(self._context.orphans.pop(call, None))
        for room in rooms:
            if room is not None and not room.claimed:
                room.claim(on_event)
                return room
        return None

    def snapshot(self) -> Sequence[WorkerView]:
        """Return the workers for the live page, by slot."""
        slots = sorted(self._supervisor.slots.values(), key=lambda slot: slot.number)
        return [view for slot in slots if (view := _view(slot)) is not None]

    def _place(self, request: RoomRequest) -> Room | None:
        """Give `request` its room if a worker has one now."""
        ready = {
            worker.link.slot: worker
            for worker in self._supervisor.workers(SlotState.READY)
            if request.call not in worker.rooms  # left over from before: its events would mix
        }
        slot = choose(
            [worker.seat(ready=True) for worker in ready.values()],
            legs=request.legs,
            emergency=request.emergency,
            keep=self._config.reserve_legs,
            unstarted=self._unstarted_legs(),
        )
        if slot is None:
            return None
        room = ready[slot].admit(
            request.call,
            legs=request.legs,
            emergency=request.emergency,
            on_event=request.on_event,
        )
        self._changed()
        return room

    async def _wait(self, request: RoomRequest) -> Room | None:
        if not self._line.add(request):
            return None
        self._changed()  # a worker may have to be started
        try:
            await asyncio.wait([request.granted], timeout=self._config.room_wait_s)
        except asyncio.CancelledError:
            if _granted(request):
                await request.granted.result().release()
            raise
        finally:
            self._line.remove(request)
        return request.granted.result() if _granted(request) else None

    def _reserve_stays(self, legs: int) -> bool:
        """Tell whether `legs` more leave the reserve whole, once all workers are started."""
        seats = [worker.seat(ready=True) for worker in self._supervisor.workers(SlotState.READY)]
        free = room_for_calls(seats, unstarted=self._unstarted_legs())
        return free - legs >= self._config.reserve_legs

    def _unstarted_legs(self) -> int:
        return self._supervisor.count(*_STARTABLE) * self._context.legs

    def _changed(self) -> None:
        """Look after waiting callers and the number of workers, after what happens now."""
        if self._settling is None and not self._stopped:
            self._settling = asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = None
        for request in self._line:
            if not request.emergency and self._line.emergencies:
                break
            room = self._place(request)
            if room is not None:
                self._line.remove(request)
                request.granted.set_result(room)
        self._supervisor.balance(self._line.legs)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._changed()

    async def _drop_unclaimed(self) -> None:
        await asyncio.sleep(self._claim_s)
        await self._supervisor.abandon_unclaimed()

    def _export(self) -> None:
        """Let the gauges read the pool whenever they are scraped."""
        supervisor, metrics = self._supervisor, self._metrics
        ready = SlotState.READY
        metrics.pool_limit.set_function(lambda: self._config.max_workers * self._context.legs)
        metrics.pool_capacity.set_function(lambda: sum(w.limit for w in supervisor.workers(ready)))
        metrics.pool_reserved.set_function(lambda: sum(w.reserved for w in supervisor.workers()))
        for state in SlotState:
            if state is not SlotState.VACANT:
                gauge = metrics.pool_workers.labels(state=state.value)
                gauge.set_function(partial(supervisor.count, state))


def _granted(request: RoomRequest) -> bool:
    return request.granted.done() and not request.granted.cancelled()


def _view(slot: Slot) -> WorkerView | None:
    worker = slot.worker
    if worker is None:
        return None
    return WorkerView(
        slot=slot.number,
        pid=worker.link.pid,
        state="clogged" if worker.clogged else slot.state.value,
        legs_used=worker.reserved,
        legs_limit=worker.limit,
        calls=tuple(worker.rooms),
        calls_carried=worker.carried,
        started_at=worker.attached_at,
    )
