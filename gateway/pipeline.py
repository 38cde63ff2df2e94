"""The walk of one event: dedupe → identify → journal → acknowledge → route → act.

Everything a terminal says comes through `Pipeline.take`, whatever the driver. Read `_walk` first.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from drivers.api.clock import Clock
from drivers.api.commands import EventState, TellEventState
from drivers.api.errors import StoreUnavailable
from drivers.api.events import (
    AlarmRaised,
    AnyTerminalEvent,
    CommandReplied,
    KeyPressed,
    PressCancelled,
    Receipt,
    ReceiptOutcome,
)
from drivers.api.ids import CallId, EventId, IncidentId, TerminalId
from gateway.config import IncidentsConfig
from gateway.incidents.model import (
    Change,
    Entry,
    Flag,
    Incident,
    IncidentDesk,
    Intake,
    Source,
    Taken,
)
from gateway.incidents.states import IncidentState
from gateway.metrics import Metrics
from gateway.routing.model import Decision, Question
from gateway.terminals.model import Terminal, TerminalDirectory, TerminalMessenger

log = structlog.get_logger()

# Recent events answered without the store; a replay flood then costs memory reads only. 50,000
# entries are about 10 MB, two minutes of a storm of 400 events a second.
RECENT_EVENTS = 50_000
# A device clock further back than the longest broker session (a week) is wrong, not late.
PLAUSIBLE_AGE_S = 7 * 86_400.0

TELLS: dict[IncidentState, EventState] = {
    IncidentState.OPEN: EventState.COMMITTED,
    IncidentState.ALERTING: EventState.RINGING,
    IncidentState.ANSWERED: EventState.ANSWERED,
    IncidentState.UNANSWERED: EventState.WAITING,
    IncidentState.WRAP_UP: EventState.ANSWERED,
    IncidentState.CLOSED: EventState.CLOSED,
}


class Router(Protocol):
    """Routing rules."""

    def decide(self, question: Question) -> Decision:
        """Return where an incident goes."""
        ...


class Flows(Protocol):
    """Running calls."""

    def start(
        self,
        incident: Incident,
        decision: Decision,
        event: EventId | None = None,
        *,
        calling: bool = False,
    ) -> CallId:
        """Start a call for an incident, which `event` may have joined; never blocks."""
        ...

    def pressed_again(self, incident: IncidentId, event: EventId, *, calling: bool = False) -> bool:
        """Tell the incident's call of another press; False when no call runs."""
        ...

    def press_cancelled(self, incident: IncidentId) -> bool:
        """Tell the incident's call that the person took the press back; False when none runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the pipeline works with."""

    config: IncidentsConfig
    desk: IncidentDesk
    directory: TerminalDirectory
    messenger: TerminalMessenger
    router: Router
    flows: Flows
    metrics: Metrics
    clock: Clock


class Pipeline:
    """Takes events of all drivers."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._recent: OrderedDict[tuple[TerminalId, EventId], IncidentId | None] = OrderedDict()
        self._walks: set[asyncio.Task[Receipt]] = set()
        self._notes: set[asyncio.Task[None]] = set()
        self._closed = False
        # Shown to people, ring nobody by their rule; the recovery forgets the closed ones.
        self.needs_nobody: set[IncidentId] = set()

    async def take(self, driver: str, event: AnyTerminalEvent) -> Receipt:
        """Return the receipt of a committed event; raises StoreUnavailable when nothing was.

        The walk goes on when the caller is cancelled (its connection broke): between the commit
        and the call there must be no gap into which an SOS can fall.
        """
        if self._closed:
            raise StoreUnavailable("this gateway is ending")
        walk = asyncio.create_task(self._walk(driver, event))
        self._walks.add(walk)
        self._p.metrics.in_flight.inc()
        walk.add_done_callback(self._walked)
        return await asyncio.shield(walk)

    def close(self) -> None:
        """Take nothing more: it stays unacknowledged, for the next daemon."""
        self._closed = True

    async def drain(self) -> None:
        """Return when every walk that has begun has ended."""
        while pending := [*self._walks, *self._notes]:
            await asyncio.wait(pending)

    async def _walk(self, driver: str, event: AnyTerminalEvent) -> Receipt:
        taken = await self._dedupe(event)
        if taken is None:
            intake = self._identify(driver, event)
            taken = await self._p.desk.take(intake)  # the commit
            self._remember(event, taken)
        self._acknowledge(event, taken)
        self._count(driver, event, taken)
        if taken.outcome is ReceiptOutcome.ACCEPTED and taken.incident is not None:
            self._act(event, taken, taken.incident)
        incident = taken.incident.id if taken.incident else None
        return Receipt(outcome=taken.outcome, incident=incident)

    async def _dedupe(self, event: AnyTerminalEvent) -> Taken | None:
        """Answer an event that was committed a moment ago from memory; the store decides else."""
        key = (event.terminal, event.event_id)
        if key not in self._recent:
            return None
        self._recent.move_to_end(key)
        known = self._recent[key]
        incident = await self._p.desk.show(known) if known else None
        return Taken(outcome=ReceiptOutcome.DUPLICATE, incident=incident)

    def _identify(self, driver: str, event: AnyTerminalEvent) -> Intake:
        terminal = self._p.directory.get(event.terminal)
        if terminal is None:
            self._p.metrics.unknown_terminal.inc()
            self._p.messenger.remember(event.terminal, driver)
            log.warning("event_from_unknown_terminal", terminal=event.terminal)
        pressed_at, delayed = self._when(event)
        return Intake(
            event=event,
            opens=self._opens(event),
            kind=kind_of(event),
            flags=flags_of(terminal, delayed=delayed),
            site=terminal.site if terminal else None,
            pressed_at=pressed_at,
        )

    def _when(self, event: AnyTerminalEvent) -> tuple[float, bool]:
        """Return the time of the press and whether it is late; a wrong device clock is void."""
        device, received = event.device_time, event.received_at
        if device is None or device > received + self._p.config.future_tolerance_s:
            return received, False
        if received - device > PLAUSIBLE_AGE_S:
            return received, False
        return min(device, received), received - device > self._p.config.delayed_after_s

    def _opens(self, event: AnyTerminalEvent) -> bool:
        if isinstance(event, AlarmRaised):
            return event.alarm not in self._p.config.quiet_alarms
        return isinstance(event, KeyPressed)

    def _remember(self, event: AnyTerminalEvent, taken: Taken) -> None:
        incident = taken.incident.id if taken.incident else None
        self._recent[event.terminal, event.event_id] = incident
        while len(self._recent) > RECENT_EVENTS:
            self._recent.popitem(last=False)

    def _acknowledge(self, event: AnyTerminalEvent, taken: Taken) -> None:
        if isinstance(event, CommandReplied) or (isinstance(event, KeyPressed) and event.calling):
            return  # a call is acknowledged by being answered
        incident = taken.incident
        state = EventState.COMMITTED
        if incident is not None and not taken.opened:
            state = TELLS[incident.state]
        tell = TellEventState(
            event_id=event.event_id, state=state, incident=incident.id if incident else None
        )
        if state is not EventState.COMMITTED:  # a terminal waits for `committed` by contract
            self._p.messenger.tell(event.terminal, replace(tell, state=EventState.COMMITTED))
        self._p.messenger.tell(event.terminal, tell)
        if taken.outcome is ReceiptOutcome.ACCEPTED and isinstance(event, KeyPressed):
            self._p.metrics.press_ack.observe(max(0.0, self._p.clock.time() - event.received_at))

    def _count(self, driver: str, event: AnyTerminalEvent, taken: Taken) -> None:
        kind = type(event).__name__
        self._p.metrics.events.labels(driver, TYPE_LABELS[kind], taken.outcome.value).inc()

    def _act(self, event: AnyTerminalEvent, taken: Taken, incident: Incident) -> None:
        if isinstance(event, PressCancelled):
            self._p.flows.press_cancelled(incident.id)
            return
        calling = isinstance(event, KeyPressed) and event.calling
        again, flows = event.event_id, self._p.flows
        if taken.opened:
            self.begin(incident, calling=calling)
        elif taken.joined and not flows.pressed_again(incident.id, again, calling=calling):
            self.begin(incident, again, calling=calling)

    def begin(
        self, incident: Incident, joined: EventId | None = None, *, calling: bool = False
    ) -> Decision:
        """Route an incident and start its flow: at the press, and again after a restart."""
        terminal = self._p.directory.get(incident.terminal)
        question = Question(
            terminal=incident.terminal,
            kind=terminal.kind if terminal else None,
            site=incident.site,
            event=incident.event,
            key=incident.kind,
            flags=incident.flags,
            at=self._p.clock.time(),
        )
        decision = self._p.router.decide(question)
        log.info("incident_routed", incident=incident.id, rule=decision.rule, flow=decision.flow)
        if decision.flow == "none":
            self.needs_nobody.add(incident.id)
        else:
            self._p.flows.start(incident, decision, joined, calling=calling)
        self._note_routed(incident, decision)
        return decision

    def _note_routed(self, incident: Incident, decision: Decision) -> None:
        data = {"rule": decision.rule, "flow": decision.flow}
        now = self._p.clock.time()
        entry = Entry(at=now, source=Source.GATEWAY, what="routed", data=data)
        change = Change(incident=incident.id, at=now, entries=(entry,))
        note = asyncio.create_task(self._commit_note(change))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _commit_note(self, change: Change) -> None:
        try:
            await self._p.desk.apply(change)
        except StoreUnavailable as error:  # a line of the timeline, not the case: may be missing
            log.warning("timeline_line_lost", incident=change.incident, error=str(error))

    def _walked(self, walk: asyncio.Task[Receipt]) -> None:
        self._walks.discard(walk)
        self._p.metrics.in_flight.dec()
        error = None if walk.cancelled() else walk.exception()
        if error is not None and not isinstance(error, StoreUnavailable):
            log.error("pipeline_defect", exc_info=error)


TYPE_LABELS = {
    KeyPressed.__name__: "press",
    AlarmRaised.__name__: "alarm",
    PressCancelled.__name__: "cancel",
    CommandReplied.__name__: "reply",
}


def kind_of(event: AnyTerminalEvent) -> str:
    """Return the key of a press or the name of an alarm; "" for what opens nothing."""
    if isinstance(event, KeyPressed):
        return event.key
    return event.alarm if isinstance(event, AlarmRaised) else ""


def flags_of(terminal: Terminal | None, *, delayed: bool) -> frozenset[Flag]:
    """Return what is special about an event of `terminal` (None: not registered)."""
    flags = {Flag.DELAYED} if delayed else set()
    if terminal is None:
        flags.add(Flag.QUARANTINE)
    elif terminal.training:
        flags.add(Flag.TRAINING)
    return frozenset(flags)
