"""Rows to frozen records and back."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row

from drivers.api.events import (
    AlarmRaised,
    AnyTerminalEvent,
    CommandReplied,
    KeyPressed,
    Position,
    PressCancelled,
)
from drivers.api.ids import CallId, EventId, IncidentId, LegId, TerminalId
from gateway.incidents.model import (
    CallRecord,
    Entry,
    Flag,
    Incident,
    Intake,
    LegRecord,
    Outcome,
    Scalar,
    Source,
)
from gateway.incidents.states import IncidentState

Values = dict[str, Any]

# How the journal names the types of events.
EVENT_TYPES: Mapping[type[AnyTerminalEvent], str] = {
    KeyPressed: "press",
    AlarmRaised: "alarm",
    PressCancelled: "cancel",
    CommandReplied: "reply",
}


def json_text(value: object) -> str:
    """Return compact JSON."""
    return msgspec.json.encode(value).decode()


def event_values(event: AnyTerminalEvent, incident: IncidentId | None) -> Values:
    """Return the journal's row of an event."""
    return {
        "terminal": event.terminal,
        "event_id": event.event_id,
        "type": EVENT_TYPES[type(event)],
        "received_at": event.received_at,
        "device_time": event.device_time,
        "boot": event.boot,
        "incident": incident,
        "payload": json_text(_payload(event)),
    }


def _payload(event: AnyTerminalEvent) -> Values:
    """Return what the columns do not hold, without what is empty."""
    match event:
        case KeyPressed():
            own: Values = {"key": event.key, "position": _position(event.position)}
        case AlarmRaised():
            own = {"alarm": event.alarm, "code": event.code, "position": _position(event.position)}
        case PressCancelled():
            own = {"cancels": event.cancels}
        case CommandReplied():
            own = {"command_id": event.command_id, "ok": event.ok, "detail": event.detail}
            own["position"] = _position(event.position)
    return {name: value for name, value in own.items() if value not in (None, "")}


def _position(position: Position | None) -> Values | None:
    if position is None:
        return None
    fix: Values = {"lat": position.lat, "lon": position.lon, "datum": position.datum.value}
    if position.accuracy_m is not None:
        fix["accuracy_m"] = position.accuracy_m
    if position.at is not None:
        fix["at"] = position.at
    return fix


def opening(intake: Intake, incident: IncidentId, now: float) -> Incident:
    """Return the incident that an event opens."""
    event = intake.event
    return Incident(
        id=incident,
        terminal=event.terminal,
        kind=intake.kind,
        event=EVENT_TYPES[type(event)],
        state=IncidentState.OPEN,
        flags=intake.flags,
        site=intake.site,
        event_id=event.event_id,
        pressed_at=intake.pressed_at,
        received_at=event.received_at,
        opened_at=now,
    )


def incident_values(incident: Incident, *, state_at: float, lines: int) -> Values:
    """Return the row of a new incident."""
    return {
        "id": incident.id,
        "terminal": incident.terminal,
        "kind": incident.kind,
        "event": incident.event,
        "state": incident.state.value,
        "state_at": state_at,
        "flags": ",".join(sorted(incident.flags)),
        "site": incident.site,
        "event_id": incident.event_id,
        "pressed_at": incident.pressed_at,
        "received_at": incident.received_at,
        "opened_at": incident.opened_at,
        "presses": incident.presses,
        "note": incident.note,
        "revision": incident.revision,
        "lines": lines,
    }


def incident_of(row: Row[Any]) -> Incident:
    """Return the incident of a whole row."""
    return Incident(
        id=IncidentId(row.id),
        terminal=TerminalId(row.terminal),
        kind=row.kind,
        event=row.event,
        state=IncidentState(row.state),
        flags=frozenset(Flag(flag) for flag in row.flags.split(",") if flag),
        site=row.site,
        event_id=EventId(row.event_id),
        pressed_at=row.pressed_at,
        received_at=row.received_at,
        opened_at=row.opened_at,
        presses=row.presses,
        answered_at=row.answered_at,
        answered_by=row.answered_by,
        closed_at=row.closed_at,
        outcome=Outcome(row.outcome) if row.outcome is not None else None,
        note=row.note,
        revision=row.revision,
    )


def entry_values(incident: IncidentId, seq: int, entry: Entry) -> Values:
    """Return the row of a line."""
    return {
        "incident": incident,
        "seq": seq,
        "at": entry.at,
        "source": entry.source.value,
        "what": entry.what,
        "call": entry.call,
        "leg": entry.leg,
        "data": json_text(entry.data),
    }


def entry_of(row: Row[Any]) -> Entry:
    """Return the line of a row."""
    return Entry(
        at=row.at,
        source=Source(row.source),
        what=row.what,
        call=CallId(row.call) if row.call is not None else None,
        leg=LegId(row.leg) if row.leg is not None else None,
        data=_scalars(row.data),
    )


def call_values(call: CallRecord) -> Values:
    """Return the row of a run of a flow."""
    return {
        "id": call.id,
        "incident": call.incident,
        "flow": call.flow,
        "started_at": call.started_at,
        "state": call.state,
        "ended_at": call.ended_at,
        "outcome": call.outcome,
    }


def call_of(row: Row[Any]) -> CallRecord:
    """Return the run of a flow of a row."""
    return CallRecord(
        id=CallId(row.id),
        incident=IncidentId(row.incident),
        flow=row.flow,
        started_at=row.started_at,
        state=bytes(row.state),
        ended_at=row.ended_at,
        outcome=row.outcome,
    )


def leg_values(leg: LegRecord) -> Values:
    """Return the row of a leg that has ended."""
    return {
        "id": leg.id,
        "call": leg.call,
        "incident": leg.incident,
        "role": leg.role,
        "party": leg.party,
        "started_at": leg.started_at,
        "answered_at": leg.answered_at,
        "ended_at": leg.ended_at,
        "outcome": leg.outcome,
        "code": leg.code,
        "reason": leg.reason,
        "stats": json_text(leg.stats),
    }


def leg_of(row: Row[Any]) -> LegRecord:
    """Return the leg of a row."""
    return LegRecord(
        id=LegId(row.id),
        call=CallId(row.call),
        incident=IncidentId(row.incident),
        role=row.role,
        party=row.party,
        started_at=row.started_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        code=row.code,
        reason=row.reason,
        stats=_scalars(row.stats),
    )


def _scalars(text: str) -> dict[str, Scalar]:
    return msgspec.json.decode(text, type=dict[str, Scalar])
