"""Closing an incident: by a person through the API, or by the clock; the terminal is told."""

import asyncio
from collections.abc import Callable

import structlog

from drivers.api.clock import Clock
from drivers.api.commands import EventState, TellEventState
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import IncidentId
from gateway.incidents.model import Incident, IncidentDesk, Outcome
from gateway.terminals.model import TerminalMessenger

log = structlog.get_logger()


class Closer:
    """Ends the case, its call, and the terminal's waiting."""

    def __init__(
        self,
        desk: IncidentDesk,
        end_call: Callable[[IncidentId], object],
        messenger: TerminalMessenger,
        clock: Clock,
    ) -> None:
        self._desk = desk
        self._end_call = end_call
        self._messenger = messenger
        self._clock = clock
        self._closed: asyncio.Queue[Incident] = asyncio.Queue()

    async def close(
        self, incident: IncidentId, *, outcome: Outcome, note: str, by: str
    ) -> Incident:
        """Close; raises LookupError, WrongTransition or StoreUnavailable; twice is no error."""
        return await self._desk.close(
            incident, outcome=outcome, note=note, by=by, at=self._clock.time()
        )

    def closed(self, incident: Incident) -> None:
        """Note that a closure was committed, whoever closed; never blocks."""
        self._end_call(incident.id)
        self._closed.put_nowait(incident)

    async def run(self) -> None:
        """Tell the terminals, until cancelled."""
        while True:
            incident = await self._closed.get()
            try:
                events = await self._desk.events_of(incident.id)
            except StoreUnavailable as error:  # the repeat of any of its events gets the answer
                log.warning("closure_not_told", incident=incident.id, error=str(error))
                events = [incident.event_id]
            for event_id in events:
                self._messenger.tell(
                    incident.terminal,
                    TellEventState(
                        event_id=event_id, state=EventState.CLOSED, incident=incident.id
                    ),
                )
