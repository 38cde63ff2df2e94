"""The agents in memory: what the last commits and the last look at the store said."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from drivers.api.clock import Clock
from gateway.agents import steps
from gateway.agents.model import Agent, AgentId, AgentView, Standing
from gateway.agents.states import AgentState
from gateway.metrics import Metrics

# Agents of groups that are not configured; the label of the metric must stay a closed set.
OTHER = "other"


class AgentBoard:
    """Keeps the view, the gauges, and tells when agents of a group can be drawn again."""

    def __init__(
        self,
        metrics: Metrics,
        clock: Clock,
        groups: Collection[str],
        available: Callable[[frozenset[str]], None],
    ) -> None:
        self._gauge = metrics.agents
        self._clock = clock
        self._groups = tuple(groups)
        self._available = available
        self._views: dict[AgentId, AgentView] = {}
        self._drawable: set[AgentId] = set()

    def get(self, agent: AgentId) -> AgentView | None:
        """Return one agent."""
        return self._views.get(agent)

    def all(self) -> Sequence[AgentView]:
        """Return all agents in the order of their ids."""
        return [self._views[name] for name in sorted(self._views)]

    def see(self, found: Iterable[tuple[Agent, Standing]]) -> None:
        """Take agents as the store has them; an older standing than the known one is not taken.

        A look at the store may have begun before a commit that was heard of first.
        """
        for agent, standing in found:
            known = self._views.get(agent.id)
            if known is not None and known.standing.version > standing.version:
                standing = known.standing  # noqa: PLW2901 - the newer of the two
            self._views[agent.id] = AgentView(agent=agent, standing=standing)
        self.tell()

    def tell(self) -> None:
        """Set the gauges, and tell of the groups whose agents can be drawn again."""
        counts = self.counts()
        for group in (*self._groups, OTHER):
            for state in AgentState:
                self._gauge.labels(state.value, group).set(counts.get((group, state), 0))
        drawable = {view.agent.id for view in self._views.values() if self._is_drawable(view)}
        fresh, self._drawable = drawable - self._drawable, drawable
        groups = frozenset(g for agent in fresh for g in self._views[agent].agent.groups)
        if groups:
            self._available(groups)

    def counts(self) -> Mapping[tuple[str, AgentState], int]:
        """Return how many enabled agents each group has in each state."""
        return Counter(
            (group, view.standing.state)
            for view in self._views.values()
            if view.agent.enabled
            for group in self._shown_groups(view.agent)
        )

    def drawable_in(self, group: str) -> int:
        """Return how many agents of `group` a call could be offered to now."""
        views = self._views.values()
        return sum(group in view.agent.groups and self._is_drawable(view) for view in views)

    def _shown_groups(self, agent: Agent) -> set[str]:
        return {group if group in self._groups else OTHER for group in agent.groups} or {OTHER}

    def _is_drawable(self, view: AgentView) -> bool:
        standing = view.standing
        ready = standing.state is AgentState.READY and view.agent.enabled
        return ready and not steps.barred(standing, self._clock.time())
