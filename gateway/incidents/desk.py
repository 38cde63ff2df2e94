"""The incident desk on the store."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Connection, Row, Select, select

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import EventId, IncidentId, TerminalId
from gateway.config import IncidentsConfig
from gateway.incidents import journal
from gateway.incidents.board import OpenBoard
from gateway.incidents.ids import IncidentIds
from gateway.incidents.kinds import KindLabels
from gateway.incidents.messages import IncidentMessage
from gateway.incidents.model import (
    CallRecord,
    Change,
    Entry,
    Incident,
    Intake,
    LegRecord,
    Outcome,
    Source,
    Taken,
)
from gateway.incidents.rows import call_of, entry_of, incident_of, leg_of
from gateway.incidents.states import IncidentState
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.schema import CALLS, EVENTS, INCIDENTS, LEGS, TIMELINE

_log = structlog.get_logger()

R = TypeVar("R")

# Closures by the clock are minutes after the call, so seconds more do not matter.
_SWEEP_EVERY: Final = 15.0
# A page of the API; more is asked for with `before`.
_MOST: Final = 500


class SqlIncidentDesk:
    """Implements gateway.incidents.model.IncidentDesk; one per daemon.

    `publish` is called on the loop after each commit, in the order of the commits. All writes go
    through the store's urgent lane, so that one terminal's events keep their order.
    """

    def __init__(
        self,
        db: Database,
        metrics: Metrics,
        clock: Clock,
        publish: Callable[[IncidentMessage], None],
        *,
        config: IncidentsConfig,
    ) -> None:
        self._db = db
        self._metrics = metrics
        self._clock = clock
        self._publish = publish
        self._config = config
        self._ids = IncidentIds()
        self._kinds = KindLabels(config.keys, config.quiet_alarms)
        self._board = OpenBoard(metrics, clock)

    async def run(self) -> None:
        """Restore the gauges, then close incidents left in wrap-up; until cancelled."""
        pause = min(_SWEEP_EVERY, self._config.auto_close_after_s / 2)
        while True:
            try:
                await self.sweep()
            except StoreUnavailable as error:
                _log.warning("incident_sweep_postponed", error=str(error))
            await asyncio.sleep(pause)

    async def sweep(self) -> None:
        """Close what waits too long for its outcome and count anew; raises StoreUnavailable."""
        run = partial(
            journal.sweep,
            now=self._clock.time(),
            auto_close_after_s=self._config.auto_close_after_s,
        )
        await self._db.write(run, then=self._swept)

    async def take(self, intake: Intake) -> Taken:
        """Journal an event and open or join its incident; see IncidentDesk."""
        run = partial(journal.take, intake=intake, now=self._clock.time(), make_id=self._ids.make)
        step = await self._db.write(run, urgent=True, then=self._committed)
        return Taken(
            outcome=step.outcome, incident=step.incident, opened=step.opened, joined=step.joined
        )

    async def apply(self, change: Change) -> Incident:
        """Commit a step; see IncidentDesk. `answered_by` is who answered last."""
        step = await self._db.write(
            partial(journal.apply, change=change), urgent=True, then=self._committed
        )
        return _present(step)

    async def close(
        self, incident: IncidentId, *, outcome: Outcome, note: str, by: str, at: float
    ) -> Incident:
        """Close with an outcome; see IncidentDesk. Raises LookupError for an unknown one."""
        line = journal.closing_line(Source.PERSON, by, outcome, at)
        run = partial(journal.close, incident=incident, outcome=outcome, note=note, entry=line)
        return _present(await self._db.write(run, urgent=True, then=self._committed))

    async def show(self, incident: IncidentId) -> Incident | None:
        """Return an incident."""
        query = select(INCIDENTS).where(INCIDENTS.c.id == incident)
        found = await self._rows(query, incident_of)
        return found[0] if found else None

    async def timeline(self, incident: IncidentId) -> Sequence[Entry]:
        """Return the lines of an incident in the order they were committed."""
        query = select(TIMELINE).where(TIMELINE.c.incident == incident).order_by(TIMELINE.c.seq)
        return await self._rows(query, entry_of)

    async def find(
        self,
        *,
        states: frozenset[IncidentState] = frozenset(),
        terminal: TerminalId | None = None,
        before: IncidentId | None = None,
        limit: int = 50,
    ) -> Sequence[Incident]:
        """Return incidents, newest first; `before` is the last id of the page before."""
        query = select(INCIDENTS).order_by(INCIDENTS.c.id.desc()).limit(min(limit, _MOST))
        if states:
            query = query.where(INCIDENTS.c.state.in_(sorted(state.value for state in states)))
        if states and IncidentState.CLOSED not in states:
            query = query.where(INCIDENTS.c.closed_at.is_(None))  # has an index
        if terminal is not None:
            query = query.where(INCIDENTS.c.terminal == terminal)
        if before is not None:
            query = query.where(INCIDENTS.c.id < before)
        return await self._rows(query, incident_of)

    async def events_of(self, incident: IncidentId) -> Sequence[EventId]:
        """Return the ids of the presses and alarms that opened or joined it, in order."""
        query = (
            select(EVENTS.c.event_id)
            .where(EVENTS.c.incident == incident, EVENTS.c.type.in_(("press", "alarm")))
            .order_by(EVENTS.c.received_at, EVENTS.c.event_id)
        )
        return await self._rows(query, lambda row: EventId(row.event_id))

    async def calls_of(self, incident: IncidentId) -> Sequence[CallRecord]:
        """Return the runs of flows of an incident, oldest first."""
        query = select(CALLS).where(CALLS.c.incident == incident)
        return await self._rows(query.order_by(CALLS.c.started_at, CALLS.c.id), call_of)

    async def legs_of(self, incident: IncidentId) -> Sequence[LegRecord]:
        """Return the legs of an incident that have ended, oldest first."""
        query = select(LEGS).where(LEGS.c.incident == incident)
        return await self._rows(query.order_by(LEGS.c.started_at, LEGS.c.id), leg_of)

    async def running_calls(self) -> Sequence[CallRecord]:
        """Return the calls without an end, oldest first."""
        query = select(CALLS).where(CALLS.c.ended_at.is_(None)).order_by(CALLS.c.started_at)
        return await self._rows(query, call_of)

    async def _rows(self, query: Select[Any], make: Callable[[Row[Any]], R]) -> list[R]:
        def run(connection: Connection) -> list[R]:
            return [make(row) for row in connection.execute(query)]

        return await self._db.read(run)

    def _swept(self, result: tuple[list[journal.Step], list[Incident]]) -> None:
        steps, still_open = result
        self._board.reset(still_open)
        for step in steps:
            self._committed(step)

    def _committed(self, step: journal.Step) -> None:
        """Count and publish what a commit changed."""
        incident = step.incident
        if incident is None or not step.changed:
            return
        self._board.see(incident)
        kind = self._kinds.label(incident.kind)
        if step.opened:
            self._metrics.incidents_opened.labels(kind).inc()
            for flag in incident.flags:
                self._metrics.incidents_flagged.labels(flag.value).inc()
        if step.closed and incident.outcome is not None:
            self._metrics.incidents_closed.labels(kind, incident.outcome.value).inc()
        self._publish(
            IncidentMessage(
                incident=incident,
                entries=step.entries,
                first_line=step.first_line,
                opened=step.opened,
            )
        )


def _present(step: journal.Step) -> Incident:
    assert step.incident is not None, "a change has an incident"
    return step.incident
