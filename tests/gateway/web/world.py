"""A small call centre made of plain objects, for the HTTP surface to show."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from pydantic import SecretStr

from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId, EventId, IncidentId, LegId, TerminalId
from gateway.clock import SystemClock
from gateway.config import WebConfig
from gateway.feed import Feed
from gateway.health import Health
from gateway.incidents.model import (
    CallRecord,
    Entry,
    Flag,
    Incident,
    IncidentDesk,
    LegRecord,
    Outcome,
    Source,
)
from gateway.incidents.states import IncidentState, Trigger, WrongTransition
from gateway.metrics import Metrics
from gateway.terminals.model import Presence, Terminal, TerminalView
from gateway.web.app import WebServer
from gateway.web.deps import AgentsPort, NoAgents, WebDeps

TOKEN = "a-long+token/with=signs"


@dataclass
class ShownLeg:
    leg: LegId
    role: str
    party: str
    state: str


@dataclass
class ShownCall:
    call: CallId
    incident: IncidentId
    flow: str
    phase: str
    started_at: float
    legs: Sequence[ShownLeg]


@dataclass
class ShownWorker:
    slot: int
    pid: int
    state: str
    legs_used: int
    legs_limit: int
    calls: Sequence[CallId]
    calls_carried: int
    started_at: float


def incident(number: int, at: float, **changes: object) -> Incident:
    case = Incident(
        id=IncidentId(f"01JD{number:022d}"),
        terminal=TerminalId(f"pendant-{number}"),
        kind="sos",
        event="press",
        state=IncidentState.OPEN,
        flags=frozenset(),
        site=None,
        event_id=EventId(f"press-{number}"),
        pressed_at=at,
        received_at=at,
        opened_at=at,
    )
    return replace(case, **changes)  # type: ignore[arg-type]  # a test's shorthand


def line(at: float, what: str, source: Source = Source.TELEPHONY, **data: str | int) -> Entry:
    return Entry(at=at, source=source, what=what, data=data)


class Terminals:
    def __init__(self) -> None:
        self.views: dict[TerminalId, TerminalView] = {}

    def add(self, name: str, **changes: object) -> None:
        terminal = Terminal(id=TerminalId(name), label=str(changes.pop("label", "")))
        terminal = replace(terminal, kind=str(changes.pop("kind", "portable")))
        view = TerminalView(terminal=terminal, presence=Presence.ONLINE)
        self.views[terminal.id] = replace(view, **changes)  # type: ignore[arg-type]  # shorthand

    def page(
        self, *, after: TerminalId | None, limit: int, presence: Presence | None
    ) -> Sequence[TerminalView]:
        found = [
            self.views[name]
            for name in sorted(self.views)
            if (after is None or name > after)
            and (presence is None or self.views[name].presence is presence)
        ]
        return found[:limit]

    def view(self, terminal: TerminalId) -> TerminalView | None:
        return self.views.get(terminal)

    def count_by_presence(self) -> Mapping[Presence, int]:
        present = [view.presence for view in self.views.values()]
        return {presence: present.count(presence) for presence in Presence}


@dataclass
class Desk:
    """What the surface reads of gateway.incidents.model.IncidentDesk."""

    cases: dict[IncidentId, Incident] = field(default_factory=dict)
    lines: dict[IncidentId, list[Entry]] = field(default_factory=dict)
    calls: list[CallRecord] = field(default_factory=list)
    legs: list[LegRecord] = field(default_factory=list)
    broken: BaseException | None = None

    def add(self, case: Incident, *lines: Entry) -> Incident:
        self.cases[case.id] = case
        self.lines[case.id] = list(lines)
        return case

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken

    async def show(self, incident: IncidentId) -> Incident | None:
        self._check()
        return self.cases.get(incident)

    async def timeline(self, incident: IncidentId) -> Sequence[Entry]:
        self._check()
        return self.lines.get(incident, [])

    async def find(
        self,
        *,
        states: frozenset[IncidentState] = frozenset(),
        terminal: TerminalId | None = None,
        before: IncidentId | None = None,
        limit: int = 50,
    ) -> Sequence[Incident]:
        self._check()
        found = [
            self.cases[name]
            for name in sorted(self.cases, reverse=True)
            if (before is None or name < before)
            and (not states or self.cases[name].state in states)
            and (terminal is None or self.cases[name].terminal == terminal)
        ]
        return found[:limit]

    async def calls_of(self, incident: IncidentId) -> Sequence[CallRecord]:
        return [call for call in self.calls if call.incident == incident]

    async def legs_of(self, incident: IncidentId) -> Sequence[LegRecord]:
        return [leg for leg in self.legs if leg.incident == incident]


class World:
    """Everything the surface reads, and what was asked of it."""

    def __init__(self, *, token: str | None = None, feed_queue: int = 500) -> None:
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.feed = Feed(self.metrics, feed_queue)
        self.desk = Desk()
        self.terminals = Terminals()
        self.calls: list[ShownCall] = []
        self.workers: list[ShownWorker] = []
        self.agents: AgentsPort = NoAgents()
        self.parts = {"store": "ok", "mqtt.events": "ok"}
        self.closed_by: list[tuple[IncidentId, Outcome, str, str]] = []
        self.port = 0
        self.token = token

    async def close(
        self, incident: IncidentId, *, outcome: Outcome, note: str, by: str
    ) -> Incident:
        self.closed_by.append((incident, outcome, note, by))
        case = self.desk.cases[incident]
        if note == "lost race":
            raise WrongTransition(case.state, Trigger.CLOSE)
        if note == "store is gone":
            raise StoreUnavailable("no")
        if case.state is not IncidentState.CLOSED:
            self.desk.cases[incident] = replace(
                case,
                state=IncidentState.CLOSED,
                outcome=outcome,
                note=note,
                closed_at=self.clock.time(),
                revision=case.revision + 1,
            )
        return self.desk.cases[incident]

    def health(self) -> Health:
        return Health(
            ready=all(word == "ok" for word in self.parts.values()), parts=dict(self.parts)
        )

    def deps(self) -> WebDeps:
        config = WebConfig(port=self.port, token=SecretStr(self.token) if self.token else None)
        return WebDeps(
            config=config,
            clock=self.clock,
            metrics=self.metrics,
            feed=self.feed,
            desk=cast("IncidentDesk", self.desk),
            close=self.close,
            terminals=self.terminals,
            calls=lambda: self.calls,
            workers=lambda: self.workers,
            health=self.health,
            agents=self.agents,
        )

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[WebServer]:
        async with WebServer(self.deps()) as server:
            yield server


def furnish(world: World) -> None:
    """Fill the world with an ordinary, slightly bad minute."""
    now = world.clock.time()
    world.terminals.add("pendant-1", label="福寿里 3 号楼 502", battery=81, last_seen_at=now - 4)
    world.terminals.add(
        "pendant-2", label="南门微站点", battery=17, last_seen_at=now - 700, presence=Presence.LATE
    )
    world.terminals.add("pendant-3", label="桂花园 7-101", battery=64, last_seen_at=now - 42)
    world.terminals.add("pendant-4", label="<img src=x onerror=alert(1)>", last_seen_at=now - 90)
    world.terminals.add(
        "kiosk-north-gate", label="北门自助服务机", kind="kiosk", last_seen_at=now - 2, battery=None
    )
    world.terminals.add(
        "phone-0755-19",
        label="梅林一村 2-303",
        kind="phone",
        battery=100,
        presence=Presence.OFFLINE,
        last_seen_at=now - 86_400,
    )
    world.terminals.add("tv-881203", label="", kind="tv", presence=Presence.NEVER_SEEN)
    _talking(world, now - 34)
    _ringing(world, now - 7.4)
    _unanswered(world, now - 96)
    _wrapping_up(world, now - 400)
    for number in range(5, 9):
        world.desk.add(
            incident(
                number,
                now - 3600 - number * 900,
                state=IncidentState.CLOSED,
                kind=("sos", "taxi", "hospital", "fall")[number - 5],
                closed_at=now - 3000 - number * 700,
                outcome=list(Outcome)[number - 5],
                revision=9,
            )
        )
    world.workers += [
        ShownWorker(0, 4411, "ready", 4, 4, [CallId("c1"), CallId("c2")], 37, now - 5000),
        ShownWorker(1, 4412, "ready", 2, 4, [CallId("c3")], 12, now - 5000),
        ShownWorker(2, 4980, "ready", 0, 4, [], 0, now - 60),
    ]


def _talking(world: World, at: float) -> None:
    case = world.desk.add(
        incident(
            1,
            at,
            state=IncidentState.ANSWERED,
            answered_at=at + 5.21,
            answered_by="agent-li",
            presses=2,
            revision=12,
        ),
        line(at + 0.012, "press_received", Source.TERMINAL, key="sos"),
        line(at + 0.014, "terminal_told", Source.GATEWAY, state="committed"),
        line(at + 0.019, "routed", Source.GATEWAY, rule="day", flow="emergency"),
        line(at + 0.021, "call_started", Source.GATEWAY),
        line(at + 0.027, "target_dialled", target="agent-wang"),
        line(at + 0.029, "terminal_dialled"),
        line(at + 0.088, "target_ringing", target="agent-wang"),
        line(at + 0.131, "terminal_ringing"),
        line(at + 1.402, "press_again", Source.TERMINAL, key="sos"),
        line(at + 2.31, "target_failed", target="agent-wang", outcome="busy", code=486),
        line(at + 2.315, "target_dialled", target="agent-li"),
        line(at + 2.61, "terminal_answered"),
        line(at + 5.21, "target_answered", target="agent-li"),
        line(at + 5.223, "bridged"),
        line(at + 5.24, "recording_started"),
        line(at + 5.25, "terminal_told", Source.GATEWAY, state="answered"),
    )
    world.calls.append(
        ShownCall(
            CallId("c1"),
            case.id,
            "emergency",
            "bridged",
            at + 0.02,
            [
                ShownLeg(LegId("c1.1"), "terminal", "pendant-1", "answered"),
                ShownLeg(LegId("c1.3"), "target", "agent-li", "answered"),
            ],
        )
    )


def _ringing(world: World, at: float) -> None:
    case = world.desk.add(
        incident(4, at, state=IncidentState.ALERTING, revision=5, site="north-gate"),
        line(at + 0.009, "press_received", Source.TERMINAL, key="sos"),
        line(at + 0.016, "routed", Source.GATEWAY, rule="day", flow="emergency"),
        line(at + 0.024, "target_dialled", target="agent-zhou"),
        line(at + 0.081, "target_ringing", target="agent-zhou"),
        line(at + 0.120, "some_new_word", Source.GATEWAY),
    )
    world.calls.append(
        ShownCall(
            CallId("c2"),
            case.id,
            "emergency",
            "ringing",
            at + 0.02,
            [
                ShownLeg(LegId("c2.1"), "terminal", "pendant-4", "ringing"),
                ShownLeg(LegId("c2.2"), "target", "agent-zhou", "dialling"),
            ],
        )
    )


def _unanswered(world: World, at: float) -> None:
    world.desk.add(
        incident(
            2,
            at,
            state=IncidentState.UNANSWERED,
            kind="fall",
            event="alarm",
            revision=8,
            flags=frozenset({Flag.DELAYED}),
            pressed_at=at - 180,
        ),
        line(at + 0.008, "alarm_received", Source.TERMINAL, kind="fall"),
        line(at + 0.015, "routed", Source.GATEWAY, rule="night"),
        line(at + 0.022, "target_dialled", target="agent-li"),
        line(at + 20.03, "target_failed", target="agent-li", outcome="no_answer"),
        line(at + 20.04, "target_dialled", target="duty-phone"),
        line(at + 80.1, "target_failed", target="duty-phone", outcome="unreachable", code=480),
        line(at + 80.11, "chain_exhausted", Source.GATEWAY, round=1),
        line(at + 80.12, "alarm_raised", Source.GATEWAY, cause="unanswered"),
    )


def _wrapping_up(world: World, at: float) -> None:
    case = world.desk.add(
        incident(
            3,
            at,
            state=IncidentState.WRAP_UP,
            kind="taxi",
            answered_at=at + 4,
            answered_by="agent-wang",
            revision=9,
            flags=frozenset({Flag.TRAINING}),
        ),
        line(at + 0.01, "press_received", Source.TERMINAL, key="taxi"),
        line(at + 4.0, "target_answered", target="agent-wang"),
        line(at + 4.01, "bridged"),
        line(at + 95.2, "unbridged"),
        line(at + 95.9, "recording_finished", segments=2),
        line(at + 96.0, "call_ended", Source.GATEWAY, outcome="completed"),
    )
    call = CallId("c0")
    world.desk.calls.append(
        CallRecord(
            id=call,
            incident=case.id,
            flow="emergency",
            started_at=at,
            state=b"{}",
            ended_at=at + 96,
            outcome="completed",
        )
    )
    world.desk.legs.append(
        LegRecord(
            id=LegId("c0.1"),
            call=call,
            incident=case.id,
            role="target",
            party="agent-wang",
            started_at=at,
            answered_at=at + 4,
            ended_at=at + 95.2,
            outcome="completed",
            code=200,
            reason="Normal\r\nclearing",
            stats={"rx": 4711},
        )
    )
