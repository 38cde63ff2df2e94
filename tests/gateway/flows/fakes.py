"""A pool, a desk and a clock that a test owns: nothing happens unless the test lets it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from drivers.api.commands import Command
from drivers.api.errors import NoCapacity, StoreUnavailable
from drivers.api.ids import CallId, EventId, IncidentId, LegId, TerminalId
from drivers.api.legs import (
    AnyLegEvent,
    CallEvent,
    DialRequest,
    LegAnswered,
    LegDialled,
    LegEnded,
    LegMedia,
    LegOffered,
    LegOutcome,
    LegRinging,
    LegSnapshot,
    LegState,
    PromptEnded,
    StreamStats,
    WorkerLost,
    WorkerSnapshot,
)
from gateway.incidents.model import (
    CallRecord,
    Change,
    Entry,
    Incident,
    Intake,
    LegRecord,
    Outcome,
    Taken,
)
from gateway.incidents.states import IncidentState, Trigger, advance
from gateway.terminals.model import Terminal, TerminalView

NOW = 1_700_000_000.0


class ManualClock:
    """Time and timers that move when told."""

    def __init__(self) -> None:
        self.now = NOW
        self.timers: list[ManualTimer] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def schedule(self, seconds: float, call: Callable[[], None]) -> "ManualTimer":
        timer = ManualTimer(self, self.now + seconds, call)
        self.timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((t for t in self.timers if t.due <= end), key=lambda t: t.due):
            self.now = max(self.now, due[0].due)
            self.timers.remove(due[0])
            due[0].call()
        self.now = end


@dataclass(eq=False)
class ManualTimer:
    clock: ManualClock
    due: float
    call: Callable[[], None]

    def cancel(self) -> None:
        if self in self.clock.timers:
            self.clock.timers.remove(self)


class FakeLink:
    """A worker's link that writes down what it is told."""

    def __init__(self, snapshot: WorkerSnapshot | None = None) -> None:
        self.slot = 0
        self.pid = 1
        self.contact = "127.0.0.1:16000"
        self.legs_limit = 4
        self.snapshot = snapshot or WorkerSnapshot(
            legs=(), bridges=(), recordings={}, calls_carried=0
        )
        self.done: list[tuple[Any, ...]] = []
        self.failures: dict[str, Exception] = {}

    def _do(self, what: str, *args: Any) -> None:
        if what in self.failures:
            raise self.failures[what]
        self.done.append((what, *args))

    async def dial(self, call: CallId, request: DialRequest) -> None:
        self._do("dial", call, request)

    async def answer(self, leg: LegId) -> None:
        self._do("answer", leg)

    async def progress(self, leg: LegId) -> None:
        self._do("progress", leg)

    async def reject(self, leg: LegId, outcome: LegOutcome, *, retry_after_s: int = 0) -> None:
        self._do("reject", leg, outcome, retry_after_s)

    async def connect(self, source: LegId, sink: LegId) -> None:
        self._do("connect", source, sink)

    async def disconnect(self, source: LegId, sink: LegId) -> None:
        self._do("disconnect", source, sink)

    async def hold(self, leg: LegId) -> None:
        self._do("hold", leg)

    async def unhold(self, leg: LegId) -> None:
        self._do("unhold", leg)

    async def pause_recording(self, call: CallId) -> None:
        self._do("pause_recording", call)

    async def resume_recording(self, call: CallId) -> None:
        self._do("resume_recording", call)

    async def hang_up(self, leg: LegId, *, reason: str = "", cause: int | None = None) -> None:
        del cause
        self._do("hang_up", leg, reason)

    async def play(self, leg: LegId, prompt: str, path: Path, *, loop: bool) -> None:
        del path
        self._do("play", leg, prompt, loop)

    async def stop_playing(self, leg: LegId) -> None:
        self._do("stop_playing", leg)

    async def bridge(self, a: LegId, b: LegId) -> None:
        self._do("bridge", a, b)

    async def unbridge(self, a: LegId, b: LegId) -> None:
        self._do("unbridge", a, b)

    async def record(self, call: CallId, directory: Path, *, segment_s: float) -> None:
        self._do("record", call, directory, segment_s)

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        self._do("stop_recording", call)
        return ()

    async def send_digits(self, leg: LegId, digits: str) -> None:
        self._do("send_digits", leg, digits)

    async def statistics(self) -> Mapping[LegId, StreamStats]:
        return {}

    async def quit(self) -> None:
        self._do("quit")

    async def closed(self) -> None:
        await asyncio.Event().wait()


class FakeRoom:
    """Room in a FakeLink; the test plays the far ends."""

    def __init__(
        self, call: CallId, on_event: Callable[[CallEvent], None], link: FakeLink, at: ManualClock
    ) -> None:
        self.call = call
        self.link = link
        self.clock = at
        self.requests: list[DialRequest] = []
        self.released = False
        self.expected = 0
        self._on_event = on_event

    async def dial(self, request: DialRequest) -> None:
        await self.link.dial(self.call, request)
        self.requests.append(request)
        self.say(LegDialled(call=self.call, leg=request.leg, at=self.clock.time()))

    def expect(self, callers: int) -> None:
        self.expected = callers

    async def release(self) -> None:
        self.released = True

    def say(self, event: CallEvent) -> None:
        self._on_event(event)

    def leg(self, name: str) -> dict[str, Any]:
        return {"call": self.call, "leg": LegId(f"{self.call}.{name}"), "at": self.clock.time()}

    def offer(self, name: str) -> None:
        self.say(LegOffered(**self.leg(name), from_user="phone-1"))

    def ring(self, name: str) -> None:
        self.say(LegRinging(**self.leg(name)))

    def answer(self, name: str) -> None:
        self.say(LegAnswered(**self.leg(name)))

    def media(self, name: str, *, active: bool) -> None:
        self.say(LegMedia(**self.leg(name), active=active))

    def end(self, name: str, outcome: LegOutcome, *, by_us: bool = False) -> None:
        stats = StreamStats(codec="PCMA", rx_packets=50)
        self.say(LegEnded(**self.leg(name), outcome=outcome, by_us=by_us, code=486, stats=stats))

    def prompt_ended(self, name: str, prompt: str) -> None:
        self.say(PromptEnded(**self.leg(name), prompt=prompt))

    def die(self) -> None:
        self.say(WorkerLost(call=self.call, at=self.clock.time()))

    @property
    def dialled(self) -> list[str]:
        return [r.leg.removeprefix(f"{self.call}.") for r in self.requests]

    def did(self, what: str) -> list[tuple[Any, ...]]:
        """Return the arguments of each command `what`, leg ids cut to the policy's names."""
        cut = f"{self.call}."
        return [
            tuple(a.removeprefix(cut) if isinstance(a, str) else a for a in args)
            for name, *args in self.link.done
            if name == what
        ]


@dataclass
class FakeDialer:
    """A pool; `full` refuses rooms, `survivor` is what an earlier daemon left."""

    clock: ManualClock
    rooms: list[FakeRoom] = field(default_factory=list)
    asked: list[tuple[int, bool]] = field(default_factory=list)
    full: bool = False
    stillborn: bool = False  # the next worker dies before its room is handed over
    defect: Exception | None = None
    survivor: FakeLink | None = None
    kept: list[AnyLegEvent] = field(default_factory=list)

    async def room(
        self, call: CallId, *, legs: int, emergency: bool, on_event: Callable[[CallEvent], None]
    ) -> FakeRoom:
        self.asked.append((legs, emergency))
        if self.defect is not None:
            raise self.defect
        if self.full:
            raise NoCapacity("full")
        self.rooms.append(FakeRoom(call, on_event, FakeLink(), self.clock))
        if self.stillborn:
            self.stillborn = False
            self.rooms[-1].die()
        return self.rooms[-1]

    def adopted(self, call: CallId, on_event: Callable[[CallEvent], None]) -> FakeRoom | None:
        if self.survivor is None:
            return None
        room = FakeRoom(call, on_event, self.survivor, self.clock)
        self.rooms.append(room)
        for event in self.kept:
            asyncio.get_running_loop().call_soon(on_event, event)
        return room


class FakeDesk:
    """Incidents in memory, with the real table of transitions; `down` refuses commits."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self.changes: list[Change] = []
        self.down = False

    async def take(self, intake: Intake) -> Taken:
        raise NotImplementedError

    async def apply(self, change: Change) -> Incident:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("down")
        if change.incident != self.incident.id:
            raise LookupError(change.incident)
        if change.trigger is not None:
            state = advance(self.incident.state, change.trigger)
            self.incident = replace(self.incident, state=state)
        if change.trigger is Trigger.ANSWER:
            self.incident = replace(self.incident, answered_by=change.answered_by)
        self.changes.append(change)
        return self.incident

    async def close(
        self, incident: IncidentId, *, outcome: Outcome, note: str, by: str, at: float
    ) -> Incident:
        raise NotImplementedError

    async def show(self, incident: IncidentId) -> Incident | None:
        return self.incident if incident == self.incident.id else None

    async def timeline(self, incident: IncidentId) -> Sequence[Entry]:
        del incident
        return [entry for change in self.changes for entry in change.entries]

    async def find(
        self,
        *,
        states: frozenset[IncidentState] = frozenset(),
        terminal: TerminalId | None = None,
        before: IncidentId | None = None,
        limit: int = 50,
    ) -> Sequence[Incident]:
        raise NotImplementedError

    async def events_of(self, incident: IncidentId) -> Sequence[EventId]:
        raise NotImplementedError

    async def calls_of(self, incident: IncidentId) -> Sequence[CallRecord]:
        raise NotImplementedError

    async def legs_of(self, incident: IncidentId) -> Sequence[LegRecord]:
        raise NotImplementedError

    async def running_calls(self) -> Sequence[CallRecord]:
        raise NotImplementedError

    @property
    def words(self) -> list[str]:
        return [entry.what for change in self.changes for entry in change.entries]

    @property
    def legs(self) -> list[LegRecord]:
        return [change.leg for change in self.changes if change.leg is not None]

    @property
    def call(self) -> CallRecord:
        return next(c.call for c in reversed(self.changes) if c.call is not None)


class FakeMessenger:
    def __init__(self) -> None:
        self.told: list[Command] = []

    def tell(self, terminal: TerminalId, command: Command) -> None:
        del terminal
        self.told.append(command)

    def remember(self, terminal: TerminalId, driver: str) -> None:
        raise NotImplementedError


class OneTerminal:
    """A directory with at most one terminal."""

    def __init__(self, terminal: Terminal | None) -> None:
        self.terminal = terminal

    def get(self, terminal: TerminalId) -> Terminal | None:
        del terminal
        return self.terminal

    def view(self, terminal: TerminalId) -> TerminalView | None:
        raise NotImplementedError


class AllPrompts:
    """Every prompt but those in `missing`."""

    def __init__(self) -> None:
        self.missing: set[str] = set()

    def path(self, name: str, language: str | None = None) -> Path | None:
        return None if name in self.missing else Path(f"/prompts/{language or 'zh-CN'}/{name}.wav")


def an_incident(**changes: Any) -> Incident:
    values: dict[str, Any] = {
        "id": IncidentId("01JINCIDENT"),
        "terminal": TerminalId("pendant-1"),
        "kind": "sos",
        "event": "press",
        "state": IncidentState.OPEN,
        "flags": frozenset(),
        "site": None,
        "event_id": EventId("press-1"),
        "pressed_at": NOW - 2,
        "received_at": NOW - 1,
        "opened_at": NOW - 1,
    }
    return Incident(**{**values, **changes})


def a_snapshot(
    call: str, legs: Mapping[str, tuple[LegState, str]], *, recording: Path | None = None
) -> WorkerSnapshot:
    return WorkerSnapshot(
        legs=[
            LegSnapshot(call=CallId(call), leg=LegId(f"{call}.{name}"), state=state, uri=uri)
            for name, (state, uri) in legs.items()
        ],
        bridges=(),
        recordings={CallId(call): recording} if recording else {},
        calls_carried=1,
    )
