"""What a new daemon does about the cases of the old one, and about a press that fell in a gap.

At start: calls whose worker lives are taken over; open incidents without a call are begun again.
While running: an incident that is open and has no call (the process was cut off between the commit
and the call, or a call ended by a defect) is begun again after a moment.
"""

import asyncio
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Protocol

import structlog

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import IncidentId
from gateway.incidents.model import CallRecord, Change, Incident, IncidentDesk
from gateway.incidents.states import IncidentState
from gateway.routing.model import Decision

log = structlog.get_logger()

# States in which somebody must be rung or be talking.
NEED_A_CALL = frozenset(
    {
        IncidentState.OPEN,
        IncidentState.ALERTING,
        IncidentState.ANSWERED,
        IncidentState.UNANSWERED,
    }
)
SWEEP_S = 5.0
# Time between the commit and the first step of its call on a busy machine; beyond it is a gap.
GRACE_S = 3.0
PAGE = 200


class Calls(Protocol):
    """Running calls."""

    @property
    def incidents(self) -> Container[IncidentId]:
        """Return the incidents that have a running call."""
        ...

    async def resume(self, record: CallRecord, incident: Incident) -> bool:
        """Take a call over from its worker; False when the worker is gone."""
        ...


class Recovery:
    """Sees to it that every open incident has a call."""

    def __init__(
        self,
        desk: IncidentDesk,
        calls: Calls,
        begin: Callable[[Incident], Decision],
        clock: Clock,
        needs_nobody: set[IncidentId] | None = None,
    ) -> None:
        """`needs_nobody`: incidents that `begin` found a rule for that rings nobody; shared."""
        self._desk = desk
        self._calls = calls
        self._begin = begin
        self._clock = clock
        self._needs_nobody: set[IncidentId] = needs_nobody if needs_nobody is not None else set()

    async def at_start(self) -> None:
        """Take over living calls, begin the rest again; raises StoreUnavailable."""
        for record in await self._desk.running_calls():
            incident = await self._desk.show(record.incident)
            if incident is None or incident.state is IncidentState.CLOSED:
                await self._end(record)
                continue
            taken_over = await self._calls.resume(record, incident)
            log.info(
                "call_taken_over" if taken_over else "call_lost",
                call=record.id,
                incident=record.incident,
            )
        await self._sweep(grace_s=0.0)

    async def _end(self, record: CallRecord) -> None:
        """End the record of a call whose incident was closed while its end was not committed."""
        now = self._clock.time()
        ended = replace(record, ended_at=now, outcome="closed")
        await self._desk.apply(Change(incident=record.incident, at=now, call=ended))

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._sweep(grace_s=GRACE_S)
            except StoreUnavailable as error:  # readiness says so; the next sweep tries again
                log.warning("recovery_sweep_failed", error=str(error))

    async def _sweep(self, *, grace_s: float) -> None:
        before: IncidentId | None = None
        seen: set[IncidentId] = set()
        known = set(self._needs_nobody)  # others may be added while we read
        while page := await self._desk.find(states=NEED_A_CALL, before=before, limit=PAGE):
            for incident in page:
                self._look_at(incident, grace_s)
                seen.add(incident.id)
            before = page[-1].id
            if len(page) < PAGE:
                break
        self._needs_nobody -= known - seen

    def _look_at(self, incident: Incident, grace_s: float) -> None:
        if incident.id in self._calls.incidents:
            return
        if self._clock.time() - incident.opened_at < grace_s:
            return
        if incident.id in self._needs_nobody:
            return
        log.warning("incident_without_call", incident=incident.id, state=incident.state.value)
        if self._begin(incident).flow == "none":  # shown to people, rings nobody by its rule
            self._needs_nobody.add(incident.id)
