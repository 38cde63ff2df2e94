"""Call-backs that follow from the timelines: who was not answered must be called by a person."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import structlog

from drivers.api.errors import StoreUnavailable
from gateway.incidents.messages import IncidentMessage
from gateway.incidents.model import Entry, Incident
from gateway.incidents.states import IncidentState
from gateway.tasks.desk import TaskDesk
from gateway.tasks.model import TaskKind

log = structlog.get_logger()

# Lines of the timeline that make a person owe a call. A task is one per call: repeating is safe.
OWING: Final[Mapping[str, TaskKind]] = MappingProxyType(
    {"chain_exhausted": TaskKind.MISSED, "call_back_due": TaskKind.ABANDONED}
)
BRIDGED: Final = "bridged"
AGAIN_S: Final = 2.0


class FollowUp:
    """Reads committed changes and keeps the call-back tasks true."""

    def __init__(self, tasks: TaskDesk) -> None:
        self._tasks = tasks
        self._waiting: asyncio.Queue[tuple[Incident, Entry | None]] = asyncio.Queue()

    def see(self, message: IncidentMessage) -> None:
        """Take a committed change; never blocks."""
        incident = message.incident
        for entry in message.entries:
            if entry.what in OWING or entry.what == BRIDGED:
                self._waiting.put_nowait((incident, entry))
        if incident.state is IncidentState.CLOSED:
            self._waiting.put_nowait((incident, None))

    async def run(self) -> None:
        """Open and settle tasks, until cancelled."""
        while True:
            incident, entry = await self._waiting.get()
            while True:
                try:
                    await self._do(incident, entry)
                    break
                except StoreUnavailable as error:
                    log.warning("task_postponed", incident=incident.id, error=str(error))
                    await asyncio.sleep(AGAIN_S)

    async def _do(self, incident: Incident, entry: Entry | None) -> None:
        if entry is None or entry.what == BRIDGED:
            await self._tasks.settle(incident.id, by="gateway", note="")
        elif entry.call is not None:
            await self._tasks.open(
                call=entry.call,
                incident=incident.id,
                terminal=incident.terminal,
                kind=OWING[entry.what],
            )
