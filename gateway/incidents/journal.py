"""What a transaction does with an event or a change. Runs in the writer's thread.

Nothing here remembers anything: a function may run twice, the first time rolled back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from drivers.api.events import AlarmRaised, KeyPressed, PressCancelled, ReceiptOutcome
from drivers.api.ids import EventId, IncidentId, TerminalId
from gateway.incidents.model import Change, Entry, Incident, Intake, Outcome, Scalar, Source
from gateway.incidents.rows import (
    call_values,
    entry_values,
    event_values,
    incident_of,
    incident_values,
    leg_values,
    opening,
)
from gateway.incidents.states import IncidentState, Trigger, advance
from gateway.store.schema import CALLS, EVENTS, INCIDENTS, LEGS, TIMELINE
from gateway.store.upsert import insert_new
from gateway.store.upsert import replace as replace_row

MakeId = Callable[[float], IncidentId]

# Another daemon may close the open incident between our two statements; twice in a row is luck,
# more is a defect.
_JOIN_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A committed step: the incident after it, what it added and what was done with the event."""

    incident: Incident | None
    entries: tuple[Entry, ...] = ()
    first_line: int = 0
    outcome: ReceiptOutcome = ReceiptOutcome.ACCEPTED
    opened: bool = False
    joined: bool = False
    closed: bool = False
    changed: bool = True  # False when the incident is shown as it was


_JOIN = (
    update(INCIDENTS)
    .where(INCIDENTS.c.terminal == bindparam("its_terminal"), INCIDENTS.c.closed_at.is_(None))
    .values(
        presses=INCIDENTS.c.presses + 1,
        revision=INCIDENTS.c.revision + 1,
        lines=INCIDENTS.c.lines + 1,
    )
    .returning(*INCIDENTS.c)
)
_ADD_LINE = (
    update(INCIDENTS)
    .where(INCIDENTS.c.id == bindparam("its_id"))
    .values(revision=INCIDENTS.c.revision + 1, lines=INCIDENTS.c.lines + 1)
    .returning(*INCIDENTS.c)
)
_SET = update(INCIDENTS).where(INCIDENTS.c.id == bindparam("its_id"))
# FOR UPDATE exists on PostgreSQL only; SQLite's writer is alone anyway.
_LOCK = select(INCIDENTS).where(INCIDENTS.c.id == bindparam("its_id")).with_for_update()
_OF_EVENT = select(EVENTS.c.incident).where(
    EVENTS.c.terminal == bindparam("its_terminal"), EVENTS.c.event_id == bindparam("its_event")
)
_BY_EVENT = (
    select(INCIDENTS)
    .join(EVENTS, EVENTS.c.incident == INCIDENTS.c.id)
    .where(
        EVENTS.c.terminal == bindparam("its_terminal"), EVENTS.c.event_id == bindparam("its_event")
    )
)
_MOVE_EVENT = (
    update(EVENTS)
    .where(
        EVENTS.c.terminal == bindparam("its_terminal"), EVENTS.c.event_id == bindparam("its_event")
    )
    .values(incident=bindparam("to_incident"))
)
_ADD_TIMELINE = insert(TIMELINE)
_EXPIRED = select(INCIDENTS.c.id).where(
    INCIDENTS.c.closed_at.is_(None),
    INCIDENTS.c.state == IncidentState.WRAP_UP.value,
    INCIDENTS.c.state_at <= bindparam("until"),
)
_ALL_OPEN = select(INCIDENTS).where(INCIDENTS.c.closed_at.is_(None))


def take(connection: Connection, intake: Intake, now: float, make_id: MakeId) -> Step:
    """Journal an event and open or join its incident; `now` in Unix seconds."""
    event = intake.event
    if isinstance(event, PressCancelled):
        return _take_cancel(connection, event)
    incident = make_id(now) if intake.opens else None
    if not _journal(connection, intake, incident):
        return _duplicate(connection, event.terminal, event.event_id)
    if incident is None:
        return Step(incident=None)
    return _open_or_join(connection, intake, opening(intake, incident, now))


def _journal(connection: Connection, intake: Intake, incident: IncidentId | None) -> bool:
    """Return False when the journal has the event already."""
    values = event_values(intake.event, incident)
    return connection.execute(insert_new(connection, EVENTS), values).rowcount == 1


def _duplicate(connection: Connection, terminal: TerminalId, event: EventId) -> Step:
    found = connection.execute(_BY_EVENT, {"its_terminal": terminal, "its_event": event}).first()
    incident = incident_of(found) if found is not None else None
    return Step(incident=incident, outcome=ReceiptOutcome.DUPLICATE, changed=False)


def _open_or_join(connection: Connection, intake: Intake, new: Incident) -> Step:
    # A new incident always begins with one line, so its row can say so at once.
    values = incident_values(new, state_at=new.opened_at, lines=1)
    for _ in range(_JOIN_ATTEMPTS):
        if connection.execute(insert_new(connection, INCIDENTS), values).rowcount == 1:
            entries = (_line(intake, again=False),)
            _write_lines(connection, new.id, 1, entries)
            return Step(incident=new, entries=entries, first_line=1, opened=True)
        row = connection.execute(_JOIN, {"its_terminal": new.terminal}).first()
        if row is not None:
            return _joined(connection, intake, row)
    raise RuntimeError(f"terminal {new.terminal}: neither opened nor joined")


def _joined(connection: Connection, intake: Intake, row: Row[Any]) -> Step:
    incident = incident_of(row)
    event = intake.event
    key = {"its_terminal": event.terminal, "its_event": event.event_id}
    connection.execute(_MOVE_EVENT, {**key, "to_incident": incident.id})
    entries = (_line(intake, again=True),)
    _write_lines(connection, incident.id, row.lines, entries)
    return Step(incident=incident, entries=entries, first_line=row.lines, joined=True)


def _line(intake: Intake, *, again: bool) -> Entry:
    event = intake.event
    data: dict[str, Scalar] = {"event": event.event_id}
    if isinstance(event, AlarmRaised):
        what = "alarm_again" if again else "alarm_received"
        data["alarm"] = event.alarm
        data["code"] = event.code
    else:
        what = "press_again" if again else "press_received"
        data["key"] = intake.kind
    data["pressed_at"] = intake.pressed_at
    if isinstance(event, (KeyPressed, AlarmRaised)) and event.position is not None:
        data["lat"], data["lon"] = event.position.lat, event.position.lon
        data["datum"] = event.position.datum.value
    return Entry(at=event.received_at, source=Source.TERMINAL, what=what, data=data)


def _take_cancel(connection: Connection, event: PressCancelled) -> Step:
    """Journal it and write it on the incident; whether that ends it, an agent decides."""
    key = {"its_terminal": event.terminal, "its_event": event.cancels}
    incident: IncidentId | None = connection.execute(_OF_EVENT, key).scalar()
    values = event_values(event, incident)
    if connection.execute(insert_new(connection, EVENTS), values).rowcount != 1:
        return _duplicate(connection, event.terminal, event.event_id)
    if incident is None:
        return Step(incident=None)
    row = connection.execute(_ADD_LINE, {"its_id": incident}).first()
    if row is None:
        return Step(incident=None)
    entry = Entry(
        at=event.received_at,
        source=Source.TERMINAL,
        what="press_cancelled",
        data={"event": event.event_id, "cancels": event.cancels},
    )
    _write_lines(connection, incident, row.lines, (entry,))
    return Step(incident=incident_of(row), entries=(entry,), first_line=row.lines)


def apply(connection: Connection, change: Change) -> Step:
    """Write a change; raises LookupError for an unknown incident, WrongTransition."""
    before, lines = _locked(connection, change.incident)
    after = _advanced(before, change)
    entries = tuple(change.entries)
    _update(connection, before, after, change.at, lines + len(entries))
    _write_lines(connection, change.incident, lines + 1, entries)
    if change.call is not None:
        connection.execute(replace_row(connection, CALLS), call_values(change.call))
    if change.leg is not None:
        connection.execute(insert_new(connection, LEGS), leg_values(change.leg))
    closed = after.closed_at is not None and before.closed_at is None
    return Step(incident=after, entries=entries, first_line=lines + 1, closed=closed)


def close(
    connection: Connection, incident: IncidentId, outcome: Outcome, note: str, entry: Entry
) -> Step:
    """Close at `entry.at`; a closed one stays as it is. Raises LookupError."""
    before, lines = _locked(connection, incident)
    if before.state is IncidentState.CLOSED:
        return Step(incident=before, changed=False)
    after = replace(
        before,
        state=advance(before.state, Trigger.CLOSE),
        closed_at=entry.at,
        outcome=outcome,
        note=note,
        revision=before.revision + 1,
    )
    _update(connection, before, after, entry.at, lines + 1)
    _write_lines(connection, incident, lines + 1, (entry,))
    return Step(incident=after, entries=(entry,), first_line=lines + 1, closed=True)


def closing_line(source: Source, by: str, outcome: Outcome, at: float) -> Entry:
    """Return the line that a closure adds."""
    data: dict[str, Scalar] = {"by": by, "outcome": outcome.value}
    return Entry(at=at, source=source, what="closed", data=data)


def sweep(
    connection: Connection, now: float, auto_close_after_s: float
) -> tuple[list[Step], list[Incident]]:
    """Close what waits for its outcome too long; return the closures and all that stay open."""
    expired = connection.execute(_EXPIRED, {"until": now - auto_close_after_s}).scalars().all()
    line = closing_line(Source.GATEWAY, "gateway", Outcome.EXPIRED, now)
    steps = [close(connection, IncidentId(one), Outcome.EXPIRED, "", line) for one in expired]
    return steps, [incident_of(row) for row in connection.execute(_ALL_OPEN)]


def _locked(connection: Connection, incident: IncidentId) -> tuple[Incident, int]:
    """Return an incident and the number of its lines, with its row locked."""
    row = connection.execute(_LOCK, {"its_id": incident}).first()
    if row is None:
        raise LookupError(f"no incident {incident}")
    return incident_of(row), row.lines


def _advanced(before: Incident, change: Change) -> Incident:
    trigger = change.trigger
    after = replace(before, revision=before.revision + 1)
    if trigger is None:
        return after
    after = replace(after, state=advance(before.state, trigger))
    if trigger is Trigger.ANSWER:
        first = before.answered_at if before.answered_at is not None else change.at
        return replace(
            after, answered_at=first, answered_by=change.answered_by or before.answered_by
        )
    if trigger is Trigger.CLOSE:
        return replace(after, closed_at=change.at, outcome=Outcome.OTHER)
    return after


def _update(
    connection: Connection, before: Incident, after: Incident, at: float, lines: int
) -> None:
    values = {
        "its_id": after.id,
        "state": after.state.value,
        "revision": after.revision,
        "answered_at": after.answered_at,
        "answered_by": after.answered_by,
        "closed_at": after.closed_at,
        "outcome": after.outcome,
        "note": after.note,
        "lines": lines,
    }
    if after.state is not before.state:
        values["state_at"] = at
    connection.execute(_SET, values)


def _write_lines(
    connection: Connection, incident: IncidentId, first: int, entries: Sequence[Entry]
) -> None:
    if entries:
        rows = [entry_values(incident, first + i, entry) for i, entry in enumerate(entries)]
        connection.execute(_ADD_TIMELINE, rows)
