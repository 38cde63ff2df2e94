"""What the HTTP surface is given: everything it reads, and the one thing it may do."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from drivers.api.clock import Clock
from drivers.api.ids import CallId, IncidentId, LegId, TerminalId
from gateway.agents.model import AgentId, AgentView, GroupView
from gateway.agents.states import AgentState
from gateway.cdr.book import CdrBook
from gateway.config import WebConfig
from gateway.feed import Feed
from gateway.health import Health
from gateway.incidents.model import Incident, IncidentDesk, Outcome
from gateway.metrics import Metrics
from gateway.tasks.desk import TaskDesk
from gateway.terminals.model import Presence, TerminalView


class LegView(Protocol):
    """A living leg, as shown."""

    @property
    def leg(self) -> LegId:
        """Return its id."""
        ...

    @property
    def role(self) -> str:
        """Return `terminal` or `target`."""
        ...

    @property
    def party(self) -> str:
        """Return the terminal's id or the target's name; never a person's number."""
        ...

    @property
    def state(self) -> str:
        """Return a word of drivers.api.legs.LegState."""
        ...


class CallView(Protocol):
    """A running call, as shown."""

    @property
    def call(self) -> CallId:
        """Return its id."""
        ...

    @property
    def incident(self) -> IncidentId:
        """Return the case it is for."""
        ...

    @property
    def flow(self) -> str:
        """Return the name of the flow."""
        ...

    @property
    def phase(self) -> str:
        """Return where the flow stands, in its own word."""
        ...

    @property
    def started_at(self) -> float:
        """Return when it began, Unix seconds."""
        ...

    @property
    def legs(self) -> Sequence[LegView]:
        """Return its living legs."""
        ...


class WorkerView(Protocol):
    """A worker process, as shown."""

    @property
    def slot(self) -> int:
        """Return its slot number."""
        ...

    @property
    def pid(self) -> int:
        """Return its process id."""
        ...

    @property
    def state(self) -> str:
        """Return where it stands, in the pool's word."""
        ...

    @property
    def legs_used(self) -> int:
        """Return how many legs are reserved."""
        ...

    @property
    def legs_limit(self) -> int:
        """Return how many legs it carries at most."""
        ...

    @property
    def calls(self) -> Collection[CallId]:
        """Return the calls it carries."""
        ...

    @property
    def calls_carried(self) -> int:
        """Return how many calls it has carried since its start."""
        ...

    @property
    def started_at(self) -> float:
        """Return when it was started or taken over, Unix seconds."""
        ...


class TerminalsRead(Protocol):
    """The registered terminals, in memory; none of these waits."""

    def page(
        self, *, after: TerminalId | None, limit: int, presence: Presence | None
    ) -> Sequence[TerminalView]:
        """Return up to `limit` terminals in the order of their ids, from behind `after`."""
        ...

    def view(self, terminal: TerminalId) -> TerminalView | None:
        """Return one terminal."""
        ...

    def count_by_presence(self) -> Mapping[Presence, int]:
        """Return how many terminals there are of each presence."""
        ...


class CloseIncident(Protocol):
    """Closes a case and whatever belongs to it; gateway.closing.Closer.close."""

    async def __call__(
        self, incident: IncidentId, *, outcome: Outcome, note: str, by: str
    ) -> Incident:
        """Close; raises LookupError, WrongTransition, StoreUnavailable. Twice is no error."""
        ...


class AgentsPort(Protocol):
    """The agents; gateway.agents.desk.AgentDesk."""

    def view(self) -> Sequence[AgentView]:
        """Return all agents by id; does not wait."""
        ...

    def groups(self) -> Sequence[GroupView]:
        """Return the configured groups; does not wait."""
        ...

    async def set_state(self, agent: AgentId, wanted: AgentState, reason: str = "") -> AgentView:
        """Bring an agent to ready, paused or offline.

        Raises LookupError, gateway.agents.states.NotAllowed, StoreUnavailable.
        """
        ...


class NoAgents:
    """Implements AgentsPort where no agents are kept: every target has a URI of its own."""

    def view(self) -> Sequence[AgentView]:
        """Return nobody."""
        return ()

    def groups(self) -> Sequence[GroupView]:
        """Return no group."""
        return ()

    async def set_state(self, agent: AgentId, wanted: AgentState, reason: str = "") -> AgentView:
        """Know nobody."""
        del wanted, reason
        raise LookupError(agent)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDeps:
    """Everything `make_app` needs."""

    config: WebConfig
    clock: Clock
    metrics: Metrics
    feed: Feed
    desk: IncidentDesk
    close: CloseIncident
    terminals: TerminalsRead
    calls: Callable[[], Sequence[CallView]]
    workers: Callable[[], Sequence[WorkerView]]
    health: Callable[[], Health]
    agents: AgentsPort = field(default_factory=NoAgents)
    cdr: CdrBook | None = None  # without it there are no records
    tasks: TaskDesk | None = None  # without it there are no call-backs
