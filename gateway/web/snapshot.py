"""What a page is told first: everything it shows, as it is now."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from drivers.api.ids import IncidentId
from gateway.incidents.model import Entry, Incident
from gateway.incidents.states import IncidentState
from gateway.web.deps import WebDeps
from gateway.web.views import (
    agents_now,
    calls_now,
    entry_json,
    incident_json,
    iso,
    terminals_now,
    workers_now,
)

OPEN_MAX: Final = 1000  # a storm's presses; the page says when there are more
PAGE: Final = 200
LINES_OF: Final = 100  # so many cards the page draws; the others' lines it asks for
CLOSED: Final = 20
TERMINALS: Final = 100  # rows of the table

OPEN_STATES: Final = frozenset(IncidentState) - {IncidentState.CLOSED}
WAITING: Final = frozenset({IncidentState.OPEN, IncidentState.ALERTING, IncidentState.UNANSWERED})


def urgency(incident: Incident) -> tuple[bool, float]:
    """Return a sort key: who waits for an answer first, the longest wait first."""
    waiting = incident.state in WAITING
    return (not waiting, incident.received_at if waiting else -incident.received_at)


class Snapshots:
    """Makes snapshots one after the other: a hundred reloading pages must not storm the store."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps
        self._turn = asyncio.Lock()

    async def take(self) -> Mapping[str, object]:
        """Return the first message of the feed; raises StoreUnavailable."""
        async with self._turn:
            found = sorted(await self._open_incidents(), key=urgency)
            closed = await self._deps.desk.find(
                states=frozenset({IncidentState.CLOSED}), limit=CLOSED
            )
            lines = {i.id: await self._deps.desk.timeline(i.id) for i in found[:LINES_OF]}
        return {
            "type": "snapshot",
            "at": iso(self._deps.clock.time()),
            "complete": len(found) < OPEN_MAX,
            "incidents": [self._case(i, lines.get(i.id)) for i in (*found, *closed)],
            "calls": calls_now(self._deps.calls())["items"],
            "workers": workers_now(self._deps.workers())["items"],
            "agents": agents_now(self._deps.agents.view())["items"],
            "terminals": terminals(self._deps),
        }

    async def _open_incidents(self) -> Sequence[Incident]:
        found: list[Incident] = []
        before: IncidentId | None = None
        while len(found) < OPEN_MAX:
            page = await self._deps.desk.find(states=OPEN_STATES, before=before, limit=PAGE)
            found += page
            if len(page) < PAGE:
                break
            before = page[-1].id
        return found

    def _case(self, incident: Incident, lines: Sequence[Entry] | None) -> Mapping[str, object]:
        view = self._deps.terminals.view(incident.terminal)
        return {
            "incident": incident_json(incident, view.terminal if view else None),
            "entries": None if lines is None else [entry_json(entry) for entry in lines],
        }


def terminals(deps: WebDeps) -> Mapping[str, object]:
    """Return the numbers by presence and the first rows of the table."""
    first = deps.terminals.page(after=None, limit=TERMINALS, presence=None)
    return terminals_now(deps.terminals.count_by_presence(), first)
