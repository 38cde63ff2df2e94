"""How the gateway's things look as JSON: ids and labels, never personal data; pure.

Times are ISO 8601 in UTC with milliseconds and `Z`. A position is personal data and stays out; so
does an agent's note, except where one incident is asked for.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.agents.model import AgentView, GroupView
from gateway.incidents.model import CallRecord, Entry, Incident, LegRecord, Scalar
from gateway.terminals.model import Presence, Terminal, TerminalView
from gateway.web.deps import CallView, WorkerView
from protocols.text import clean_text


class EntryJson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a timeline."""

    at: str
    source: str
    what: str
    call: str | None = None
    leg: str | None = None
    data: dict[str, Scalar] = {}


class IncidentJson(msgspec.Struct, frozen=True, kw_only=True):
    """A case without its note and lines."""

    id: str
    terminal: str
    label: str
    kind: str
    event: str
    state: str
    flags: list[str]
    site: str | None
    pressed_at: str
    received_at: str
    opened_at: str
    presses: int
    answered_at: str | None
    answered_by: str | None
    closed_at: str | None
    outcome: str | None
    revision: int


class PastLegJson(msgspec.Struct, frozen=True, kw_only=True):
    """A leg that has ended."""

    id: str
    role: str
    party: str
    started_at: str
    answered_at: str | None
    ended_at: str
    outcome: str
    code: int | None
    reason: str
    stats: dict[str, Scalar]


class PastCallJson(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a flow, with its ended legs."""

    id: str
    flow: str
    started_at: str
    ended_at: str | None
    outcome: str | None
    legs: list[PastLegJson]


class IncidentDetailJson(msgspec.Struct, frozen=True, kw_only=True):
    """A case with everything known of it."""

    incident: IncidentJson
    note: str
    timeline: list[EntryJson]
    calls: list[PastCallJson]
    cdr: list[dict[str, Any]]


class TerminalJson(msgspec.Struct, frozen=True, kw_only=True):
    """A terminal and its presence."""

    id: str
    kind: str
    model: str
    driver: str
    site: str | None
    label: str
    language: str
    training: bool
    presence: str
    last_seen_at: str | None
    battery: int | None
    signal_dbm: int | None


class LegJson(msgspec.Struct, frozen=True, kw_only=True):
    """A living leg."""

    id: str
    role: str
    party: str
    state: str


class CallJson(msgspec.Struct, frozen=True, kw_only=True):
    """A running call."""

    id: str
    incident: str
    flow: str
    phase: str
    started_at: str
    legs: list[LegJson]


class WorkerJson(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process."""

    slot: int
    pid: int
    state: str
    legs_used: int
    legs_limit: int
    calls: list[str]
    calls_carried: int
    started_at: str


class AgentJson(msgspec.Struct, frozen=True, kw_only=True):
    """An agent and where it stands."""

    id: str
    label: str
    enabled: bool
    groups: list[str]
    state: str
    since: str
    cause: str
    reason: str
    incident: str | None
    call: str | None


class GroupJson(msgspec.Struct, frozen=True, kw_only=True):
    """A group of agents."""

    name: str
    label: str
    strategy: str
    overflow_after_s: float
    overflow_to: str | None
    agents: dict[str, int]


def iso(seconds: float) -> str:
    """Return Unix `seconds` as `2026-01-31T23:59:59.123Z`; the nearest time that can be written."""
    # 253402300799 is the last second of the year 9999, the end of datetime's range.
    bounded = min(max(seconds, 0.0), 253_402_300_799.0) if math.isfinite(seconds) else 0.0
    moment = datetime.fromtimestamp(bounded, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_iso(seconds: float | None) -> str | None:
    """Return `iso(seconds)`, or None for None."""
    return None if seconds is None else iso(seconds)


def entry_json(entry: Entry) -> EntryJson:
    """Return a line of a timeline."""
    return EntryJson(
        at=iso(entry.at),
        source=entry.source.value,
        what=clean_text(entry.what),
        call=entry.call,
        leg=entry.leg,
        data=_scalars(entry.data),
    )


def incident_json(incident: Incident, terminal: Terminal | None = None) -> IncidentJson:
    """Return a case; `terminal` gives the label."""
    return IncidentJson(
        id=incident.id,
        terminal=incident.terminal,
        label=clean_text(terminal.label) if terminal else "",
        kind=clean_text(incident.kind),
        event=incident.event,
        state=incident.state.value,
        flags=sorted(flag.value for flag in incident.flags),
        site=incident.site,
        pressed_at=iso(incident.pressed_at),
        received_at=iso(incident.received_at),
        opened_at=iso(incident.opened_at),
        presses=incident.presses,
        answered_at=maybe_iso(incident.answered_at),
        answered_by=incident.answered_by,
        closed_at=maybe_iso(incident.closed_at),
        outcome=incident.outcome.value if incident.outcome else None,
        revision=incident.revision,
    )


def incident_detail(
    incident: Incident,
    *,
    terminal: Terminal | None,
    timeline: Sequence[Entry],
    calls: Sequence[CallRecord],
    legs: Sequence[LegRecord],
    cdr: Sequence[dict[str, Any]] = (),
) -> IncidentDetailJson:
    """Return a case with its note, its lines, and its calls with their ended legs."""
    return IncidentDetailJson(
        incident=incident_json(incident, terminal),
        note=incident.note,
        timeline=[entry_json(entry) for entry in timeline],
        calls=[_past_call(call, legs) for call in calls],
        cdr=list(cdr),
    )


def _past_call(call: CallRecord, legs: Sequence[LegRecord]) -> PastCallJson:
    return PastCallJson(
        id=call.id,
        flow=call.flow,
        started_at=iso(call.started_at),
        ended_at=maybe_iso(call.ended_at),
        outcome=call.outcome,
        legs=[_past_leg(leg) for leg in legs if leg.call == call.id],
    )


def _past_leg(leg: LegRecord) -> PastLegJson:
    return PastLegJson(
        id=leg.id,
        role=leg.role,
        party=leg.party,
        started_at=iso(leg.started_at),
        answered_at=maybe_iso(leg.answered_at),
        ended_at=iso(leg.ended_at),
        outcome=leg.outcome,
        code=leg.code,
        reason=clean_text(leg.reason),
        stats=_scalars(leg.stats),
    )


def terminal_json(view: TerminalView) -> TerminalJson:
    """Return a terminal and its presence."""
    terminal = view.terminal
    return TerminalJson(
        id=terminal.id,
        kind=terminal.kind,
        model=clean_text(terminal.model),
        driver=terminal.driver,
        site=terminal.site,
        label=clean_text(terminal.label),
        language=terminal.language,
        training=terminal.training,
        presence=view.presence.value,
        last_seen_at=maybe_iso(view.last_seen_at),
        battery=view.battery,
        signal_dbm=view.signal_dbm,
    )


def call_json(view: CallView) -> CallJson:
    """Return a running call with its legs."""
    legs = [
        LegJson(id=leg.leg, role=leg.role, party=clean_text(leg.party), state=str(leg.state))
        for leg in view.legs
    ]
    return CallJson(
        id=view.call,
        incident=view.incident,
        flow=view.flow,
        phase=str(view.phase),
        started_at=iso(view.started_at),
        legs=legs,
    )


def worker_json(view: WorkerView) -> WorkerJson:
    """Return a worker process."""
    return WorkerJson(
        slot=view.slot,
        pid=view.pid,
        state=str(view.state),
        legs_used=view.legs_used,
        legs_limit=view.legs_limit,
        calls=list(view.calls),
        calls_carried=view.calls_carried,
        started_at=iso(view.started_at),
    )


def agent_json(view: AgentView) -> AgentJson:
    """Return an agent and where it stands."""
    agent, standing = view.agent, view.standing
    return AgentJson(
        id=agent.id,
        label=clean_text(agent.label),
        enabled=agent.enabled,
        groups=sorted(agent.groups),
        state=standing.state.value,
        since=iso(standing.since),
        cause=standing.cause.value,
        reason=clean_text(standing.reason),
        incident=standing.incident,
        call=standing.call,
    )


def group_json(view: GroupView) -> GroupJson:
    """Return a group with the number of its agents by state."""
    return GroupJson(
        name=view.name,
        label=clean_text(view.label),
        strategy=view.strategy,
        overflow_after_s=view.overflow_after_s,
        overflow_to=view.overflow_to or None,
        agents={state.value: count for state, count in view.agents.items()},
    )


def agents_now(agents: Sequence[AgentView]) -> Mapping[str, object]:
    """Return the feed's message with all agents."""
    return {"type": "agents", "items": [agent_json(view) for view in agents]}


def incident_changed(
    incident: Incident, entries: Sequence[Entry], terminal: Terminal | None = None
) -> Mapping[str, object]:
    """Return the feed's message about a committed step: the case now, and its new lines."""
    return {
        "type": "incident",
        "incident": incident_json(incident, terminal),
        "entries": [entry_json(entry) for entry in entries],
    }


def calls_now(calls: Sequence[CallView]) -> Mapping[str, object]:
    """Return the feed's message with all running calls."""
    return {"type": "calls", "items": [call_json(call) for call in calls]}


def workers_now(workers: Sequence[WorkerView]) -> Mapping[str, object]:
    """Return the feed's message with all workers."""
    return {"type": "workers", "items": [worker_json(worker) for worker in workers]}


def terminals_now(
    counts: Mapping[Presence, int], first: Sequence[TerminalView]
) -> Mapping[str, object]:
    """Return the feed's message with the number of terminals by presence and the first of them."""
    return {
        "type": "terminals",
        "counts": {presence.value: counts.get(presence, 0) for presence in Presence},
        "items": [terminal_json(view) for view in first],
    }


def _scalars(data: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: clean_text(v) if isinstance(v, str) else v for key, v in data.items()}
