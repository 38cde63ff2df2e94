"""What an incident is, and the calls by which the rest of the gateway works on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from drivers.api.events import AnyTerminalEvent, ReceiptOutcome
from drivers.api.ids import CallId, EventId, IncidentId, LegId, TerminalId
from gateway.incidents.states import IncidentState, Trigger

Scalar = str | int | float | bool | None


class Flag(StrEnum):
    """What is special about an incident; closed, a metric label."""

    DELAYED = "delayed"  # the press was old when it arrived
    QUARANTINE = "quarantine"  # the terminal is not registered
    TRAINING = "training"  # an exercise; no real rescuer


class Outcome(StrEnum):
    """How an incident was closed; closed, a metric label."""

    HELPED = "helped"
    REFERRED = "referred"
    FALSE_ALARM = "false_alarm"
    CANCELLED = "cancelled"
    UNREACHABLE = "unreachable"
    TEST = "test"
    OTHER = "other"
    EXPIRED = "expired"  # nobody gave an outcome in time


class Source(StrEnum):
    """Who says a line of the timeline."""

    TERMINAL = "terminal"
    GATEWAY = "gateway"
    TELEPHONY = "telephony"
    PERSON = "person"  # an agent or an operator, through the API


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a timeline. `what` is a word of the field in snake_case (`press_received`, …)."""

    at: float
    source: Source
    what: str
    call: CallId | None = None
    leg: LegId | None = None
    data: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """The case that a press, an alarm or a call opens: one id from press to closure."""

    id: IncidentId
    terminal: TerminalId
    kind: str  # the key that was pressed or the name of the alarm
    event: str  # "press" or "alarm"
    state: IncidentState
    flags: frozenset[Flag]
    site: str | None
    event_id: EventId  # the event that opened it
    pressed_at: float  # the terminal's clock where plausible, else received_at
    received_at: float
    opened_at: float
    presses: int = 1  # how many events joined, the first included
    answered_at: float | None = None
    answered_by: str | None = None  # target name
    closed_at: float | None = None
    outcome: Outcome | None = None
    note: str = ""
    revision: int = 1  # grows with every change


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One run of a flow; `state` is the policy's state as JSON, enough to go on after a restart."""

    id: CallId
    incident: IncidentId
    flow: str
    started_at: float
    state: bytes
    ended_at: float | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRecord:
    """One leg, written when it ends (the seed of the CDR)."""

    id: LegId
    call: CallId
    incident: IncidentId
    role: str  # "terminal" or "target"
    party: str  # terminal id or target name; never a person's number
    started_at: float
    answered_at: float | None
    ended_at: float
    outcome: str
    code: int | None
    reason: str
    stats: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """An event, identified, on its way into the journal."""

    event: AnyTerminalEvent
    opens: bool  # whether it opens or joins an incident
    kind: str  # key or alarm name; "" when it opens nothing
    flags: frozenset[Flag]
    site: str | None
    pressed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the journal did with an event."""

    outcome: ReceiptOutcome
    incident: Incident | None
    opened: bool = False  # this event opened the incident
    joined: bool = False  # it joined one that was open


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One committed step of an incident: lines, at most one trigger, records that belong to it."""

    incident: IncidentId
    at: float
    entries: Sequence[Entry] = ()
    trigger: Trigger | None = None
    answered_by: str | None = None  # with Trigger.ANSWER
    call: CallRecord | None = None  # inserted or replaced
    leg: LegRecord | None = None


class IncidentDesk(Protocol):
    """The incidents, committed. All raise StoreUnavailable when nothing was committed."""

    async def take(self, intake: Intake) -> Taken:
        """Journal an event and open or join its incident, in one transaction; idempotent."""
        ...

    async def apply(self, change: Change) -> Incident:
        """Commit a step; raises LookupError for an unknown incident, WrongTransition.

        Changes of one incident are committed in the order of the calls.
        """
        ...

    async def close(
        self, incident: IncidentId, *, outcome: Outcome, note: str, by: str, at: float
    ) -> Incident:
        """Close with an outcome; closing a closed one returns it unchanged."""
        ...

    async def show(self, incident: IncidentId) -> Incident | None:
        """Return an incident."""
        ...

    async def timeline(self, incident: IncidentId) -> Sequence[Entry]:
        """Return the lines of an incident in the order they were committed."""
        ...

    async def find(
        self,
        *,
        states: frozenset[IncidentState] = frozenset(),
        terminal: TerminalId | None = None,
        before: IncidentId | None = None,
        limit: int = 50,
    ) -> Sequence[Incident]:
        """Return incidents, newest first; `before` is the last id of the page before."""
        ...

    async def events_of(self, incident: IncidentId) -> Sequence[EventId]:
        """Return the ids of the terminal's events that opened or joined it, in order."""
        ...

    async def calls_of(self, incident: IncidentId) -> Sequence[CallRecord]:
        """Return the runs of flows of an incident, oldest first."""
        ...

    async def legs_of(self, incident: IncidentId) -> Sequence[LegRecord]:
        """Return the legs of an incident that have ended, oldest first."""
        ...

    async def running_calls(self) -> Sequence[CallRecord]:
        """Return the calls without an end, for the start of the daemon."""
        ...
