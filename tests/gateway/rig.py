"""The real incident desk on SQLite, with stand-ins for what lies round it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drivers.api.commands import Command, TellEventState
from drivers.api.ids import CallId, EventId, IncidentId, TerminalId
from gateway.incidents.model import CallRecord, Incident
from gateway.routing.model import Decision
from gateway.terminals.model import Terminal, TerminalView
from tests.gateway.incidents.conftest import Office

STORE = "store.sqlite"


@dataclass
class Terminals:
    """A directory of what a test registers."""

    known: dict[str, Terminal] = field(default_factory=dict)

    def register(self, *terminals: Terminal) -> None:
        self.known |= {terminal.id: terminal for terminal in terminals}

    def get(self, terminal: TerminalId) -> Terminal | None:
        return self.known.get(terminal)

    def view(self, terminal: TerminalId) -> TerminalView | None:
        raise NotImplementedError


@dataclass
class Told:
    """A messenger that writes down what it is told."""

    commands: list[tuple[str, Command]] = field(default_factory=list)
    strangers: dict[str, str] = field(default_factory=dict)

    def tell(self, terminal: TerminalId, command: Command) -> None:
        self.commands.append((terminal, command))

    def remember(self, terminal: TerminalId, driver: str) -> None:
        self.strangers[terminal] = driver

    def states(self, event: str) -> list[str]:
        """Return what the terminal was told of an event, in order."""
        tells = [one for _, one in self.commands if isinstance(one, TellEventState)]
        return [one.state.value for one in tells if one.event_id == event]


@dataclass
class Calls:
    """Running calls that a test starts and ends; `living` are those whose worker lives."""

    started: list[tuple[Incident, Decision, EventId | None]] = field(default_factory=list)
    again: list[tuple[IncidentId, EventId]] = field(default_factory=list)
    cancelled: list[IncidentId] = field(default_factory=list)
    resumed: list[CallRecord] = field(default_factory=list)
    ended: list[IncidentId] = field(default_factory=list)
    incidents: set[IncidentId] = field(default_factory=set)
    living: set[CallId] = field(default_factory=set)
    calling: list[bool] = field(default_factory=list)
    defect: Exception | None = None

    def start(
        self,
        incident: Incident,
        decision: Decision,
        event: EventId | None = None,
        *,
        calling: bool = False,
    ) -> CallId:
        if self.defect is not None:
            raise self.defect
        self.calling.append(calling)
        self.started.append((incident, decision, event))
        self.incidents.add(incident.id)
        return CallId(f"call-{len(self.started)}")

    def pressed_again(self, incident: IncidentId, event: EventId, *, calling: bool = False) -> bool:
        self.calling.append(calling)
        self.again.append((incident, event))
        return incident in self.incidents

    def press_cancelled(self, incident: IncidentId) -> bool:
        self.cancelled.append(incident)
        return incident in self.incidents

    def incident_closed(self, incident: IncidentId) -> bool:
        self.ended.append(incident)
        return incident in self.incidents

    async def resume(self, record: CallRecord, incident: Incident) -> bool:
        self.resumed.append(record)
        self.incidents.add(incident.id)
        return record.id in self.living


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of a store, so that nothing can be committed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


async def words(office: Office, incident: IncidentId) -> list[str]:
    """Return what the lines of an incident say, in order."""
    return [line.what for line in await office.desk.timeline(incident)]
