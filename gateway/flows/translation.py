"""Between the waist's words and a policy's. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from drivers.api import legs
from drivers.api.ids import CallId, LegId
from gateway.flows.model import (
    Advance,
    CallerArrived,
    Digit,
    FlowCommand,
    FlowEvent,
    LegAnswered,
    LegEnded,
    LegRinging,
    LivingLeg,
    MediaChanged,
    Note,
    PromptEnded,
    Role,
    role_of,
)
from gateway.incidents.model import Change, Entry, Incident, Source


def flow_event(event: legs.AnyLegEvent, name: str) -> FlowEvent | None:
    """Return what the policy is told about leg `name`; None when it is told nothing."""
    translate = _TOLD.get(type(event))
    return translate(event, name) if translate else None


# What is not here is for the ledger only.
_TOLD: Final[Mapping[type, Callable[[Any, str], FlowEvent]]] = {
    legs.LegOffered: lambda _, name: CallerArrived(name),
    legs.LegRinging: lambda _, name: LegRinging(name),
    legs.LegAnswered: lambda _, name: LegAnswered(name),
    legs.LegMedia: lambda event, name: MediaChanged(name, event.active, event.held),
    legs.LegDigit: lambda event, name: Digit(name, event.digit),
    legs.LegEnded: lambda event, name: LegEnded(name, event.outcome, event.by_us),
    legs.PromptEnded: lambda event, name: PromptEnded(name, event.prompt),
}


def leg_name(call: CallId, leg: LegId) -> str:
    """Return the policy's name of a leg."""
    return leg.removeprefix(f"{call}.")


def living_legs(
    call: CallId, snapshot: legs.WorkerSnapshot, target_of: Callable[[str], str]
) -> tuple[LivingLeg, ...]:
    """Return the legs of `call` in a worker's snapshot; `target_of` maps a URI to a target."""
    found = []
    for leg in snapshot.legs:
        if leg.call != call:
            continue
        name = leg_name(call, leg.leg)
        role = role_of(name)
        party = target_of(leg.uri) if role is Role.TARGET else ""
        found.append(LivingLeg(name=name, role=role, party=party, state=leg.state))
    return tuple(found)


def changes_of(
    commands: Sequence[FlowCommand], *, incident: Incident, call: CallId, now: float
) -> list[Change]:
    """Return the lines and triggers of a step as changes with one trigger each, in order."""
    changes: list[Change] = []
    entries: list[Entry] = []
    for command in commands:
        if isinstance(command, Note):
            entries.append(entry_of(command, call, now))
        elif isinstance(command, Advance):
            changes.append(
                Change(
                    incident=incident.id,
                    at=now,
                    entries=tuple(entries),
                    trigger=command.trigger,
                    answered_by=command.answered_by,
                )
            )
            entries = []
    if entries:
        changes.append(Change(incident=incident.id, at=now, entries=tuple(entries)))
    return changes


def entry_of(note: Note, call: CallId, now: float) -> Entry:
    """Return a note as a line of the timeline."""
    return Entry(
        at=now,
        source=Source.TELEPHONY if note.leg else Source.GATEWAY,
        what=note.what,
        call=call,
        leg=LegId(f"{call}.{note.leg}") if note.leg else None,
        data={key: value for key, value in note.data.items() if value is not None},
    )
