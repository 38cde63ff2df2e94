"""Workers that live in this process and end when a test says so."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from drivers.api.errors import NoCapacity, TransientError, WorkerGone
from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    AnyLegEvent,
    CallEvent,
    DialRequest,
    LegDialled,
    LegEnded,
    LegOffered,
    LegOutcome,
    LegSnapshot,
    LegState,
    StreamStats,
    WorkerLink,
    WorkerSnapshot,
)
from gateway.config import TelephonyConfig
from gateway.metrics import Metrics
from gateway.telephony.pool import WorkerPool
from tests.gateway.telephony.virtual import LoopClock

START_S = 0.03
EMPTY = WorkerSnapshot(legs=(), bridges=(), recordings={}, calls_carried=0)


def ignore(_: CallEvent) -> None:
    pass


class FakeLink:
    def __init__(
        self,
        slot: int,
        on_event: Callable[[AnyLegEvent], None],
        *,
        limit: int,
        snapshot: WorkerSnapshot = EMPTY,
    ) -> None:
        self.slot, self.pid, self.legs_limit, self.snapshot = (
            slot,
            4_000_000 + slot,
            limit,
            snapshot,
        )
        self.on_event = on_event
        self.legs: dict[LegId, CallId] = {leg.leg: leg.call for leg in snapshot.legs}
        self.dials: list[tuple[float, CallId, LegId]] = []
        self.hung_up: list[LegId] = []
        self.recordings_stopped: list[CallId] = []
        self.stuck = 0  # places that dead peers occupy
        self.quits = 0
        self.deaf = False  # does not act on quit
        self.contact = f"127.0.0.1:{16_000 + slot}"
        self.answered: list[LegId] = []
        self.rejected: list[tuple[LegId, LegOutcome, int]] = []
        self.end = asyncio.Event()

    def offer(self, call: CallId, leg: LegId) -> None:
        """Let a caller arrive, as the edge sends one."""
        self.legs[leg] = call
        self.on_event(LegOffered(call=call, leg=leg, at=0.0, from_user="phone-1"))

    def die(self) -> None:
        self.legs.clear()
        self.end.set()

    def end_leg(self, leg: LegId) -> None:
        call = self.legs.pop(leg, None)
        if call is not None:
            self.on_event(LegEnded(call=call, leg=leg, at=0.0, outcome=LegOutcome.COMPLETED))

    async def dial(self, call: CallId, request: DialRequest) -> None:
        self._alive()
        if len(self.legs) + self.stuck >= self.legs_limit:
            raise NoCapacity("the fake is full")
        self.legs[request.leg] = call
        self.dials.append((asyncio.get_running_loop().time(), call, request.leg))
        self.on_event(LegDialled(call=call, leg=request.leg, at=0.0))

    async def progress(self, leg: LegId) -> None:
        raise NotImplementedError(leg)

    async def answer(self, leg: LegId) -> None:
        self._alive()
        self.answered.append(leg)

    async def reject(self, leg: LegId, outcome: LegOutcome, *, retry_after_s: int = 0) -> None:
        self._alive()
        self.rejected.append((leg, outcome, retry_after_s))
        asyncio.get_running_loop().call_later(0.01, self.end_leg, leg)

    async def hang_up(self, leg: LegId, *, reason: str = "", cause: int | None = None) -> None:
        del reason, cause
        self._alive()
        self.hung_up.append(leg)
        asyncio.get_running_loop().call_later(0.01, self.end_leg, leg)

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        self._alive()
        self.recordings_stopped.append(call)
        return ()

    async def quit(self) -> None:
        self._alive()
        self.quits += 1
        if not self.deaf:
            asyncio.get_running_loop().call_later(0.05, self.die)

    async def closed(self) -> None:
        await self.end.wait()

    async def play(self, leg: LegId, prompt: str, path: Path, *, loop: bool) -> None:
        raise NotImplementedError(leg, prompt, path, loop)

    async def stop_playing(self, leg: LegId) -> None:
        raise NotImplementedError(leg)

    async def bridge(self, a: LegId, b: LegId) -> None:
        raise NotImplementedError(a, b)

    async def unbridge(self, a: LegId, b: LegId) -> None:
        raise NotImplementedError(a, b)

    async def connect(self, source: LegId, sink: LegId) -> None:
        raise NotImplementedError(source, sink)

    async def disconnect(self, source: LegId, sink: LegId) -> None:
        raise NotImplementedError(source, sink)

    async def hold(self, leg: LegId) -> None:
        raise NotImplementedError(leg)

    async def unhold(self, leg: LegId) -> None:
        raise NotImplementedError(leg)

    async def pause_recording(self, call: CallId) -> None:
        raise NotImplementedError(call)

    async def resume_recording(self, call: CallId) -> None:
        raise NotImplementedError(call)

    async def record(self, call: CallId, directory: Path, *, segment_s: float) -> None:
        raise NotImplementedError(call, directory, segment_s)

    async def send_digits(self, leg: LegId, digits: str) -> None:
        raise NotImplementedError(leg, digits)

    async def statistics(self) -> Mapping[LegId, StreamStats]:
        raise NotImplementedError

    def _alive(self) -> None:
        if self.end.is_set():
            raise WorkerGone(f"fake {self.slot}")


class FakeFactory:
    def __init__(self, *, limit: int = 4, start_s: float = START_S) -> None:
        self.limit, self.start_s = limit, start_s
        self.living: dict[int, WorkerSnapshot | None] = {}  # None: a socket without a worker
        self.backlog: dict[int, list[AnyLegEvent]] = {}
        self.failing: set[int] = set()
        self.broken: Exception | None = None
        self.links: dict[int, FakeLink] = {}  # the latest of each slot
        self.spawns: list[tuple[float, int]] = []
        self.starting = 0
        self.most_starting = 0

    async def spawn(self, slot: int, on_event: Callable[[AnyLegEvent], None]) -> WorkerLink:
        self.spawns.append((asyncio.get_running_loop().time(), slot))
        self.starting += 1
        self.most_starting = max(self.most_starting, self.starting)
        try:
            await asyncio.sleep(self.start_s)
        finally:
            self.starting -= 1
        if self.broken is not None:
            raise self.broken
        if slot in self.failing:
            raise TransientError(f"slot {slot} does not start")
        old = self.links.get(slot)
        assert old is None or old.end.is_set(), "two workers in one slot"
        self.links[slot] = FakeLink(slot, on_event, limit=self.limit)
        return self.links[slot]

    async def adopt(self, slot: int, on_event: Callable[[AnyLegEvent], None]) -> WorkerLink | None:
        await asyncio.sleep(0.001)
        snapshot = self.living[slot]
        if snapshot is None:
            return None
        self.links[slot] = FakeLink(slot, on_event, limit=self.limit, snapshot=snapshot)
        for event in self.backlog.get(slot, []):
            on_event(event)
        return self.links[slot]

    def living_slots(self) -> Sequence[int]:
        return sorted(self.living)


class Bench:
    """A pool over fakes. `async with` starts it and ends it."""

    def __init__(
        self, factory: FakeFactory | None = None, *, claim_s: float = 30.0, **config: float
    ) -> None:
        sizes = {"min_workers": 1, "max_workers": 4, "spare_workers": 0, "reserve_legs": 0}
        self.factory = factory or FakeFactory()
        self.metrics = Metrics()
        self.killed: list[int] = []
        self.pool = WorkerPool(
            TelephonyConfig.model_validate(sizes | config),
            self.factory,
            self.metrics,
            LoopClock(),
            claim_s=claim_s,
            kill=self._kill,
        )

    async def __aenter__(self) -> Self:
        await self.pool.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.stop(workers="leave")

    def link(self, slot: int) -> FakeLink:
        return self.factory.links[slot]

    def states(self) -> dict[int, str]:
        return {view.slot: view.state for view in self.pool.snapshot()}

    def used(self) -> dict[int, int]:
        return {view.slot: view.legs_used for view in self.pool.snapshot()}

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"onekey_pool_{name}", labels)

    def _kill(self, pid: int) -> None:
        self.killed.append(pid)
        next(link for link in self.factory.links.values() if link.pid == pid).die()


def leg(call: str, number: int, state: LegState = LegState.ANSWERED) -> LegSnapshot:
    return LegSnapshot(call=CallId(call), leg=LegId(f"{call}.{number}"), state=state, uri="sip:a@b")


def carrying(
    *legs: LegSnapshot, recordings: Sequence[str] = (), carried: int = 1
) -> WorkerSnapshot:
    return WorkerSnapshot(
        legs=legs,
        bridges=(),
        recordings={CallId(call): Path("/rec") / call for call in recordings},
        calls_carried=carried,
    )


def request(leg_id: str) -> DialRequest:
    return DialRequest(leg=LegId(leg_id), uri="sip:agent@example.org")
