"""The agent desk: who takes calls, and which agent is offered the next one."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Connection

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId, IncidentId
from gateway.agents import book, steps
from gateway.agents.board import AgentBoard
from gateway.agents.book import Moved, UnknownAgent, Wanted
from gateway.agents.model import (
    MISSES,
    Agent,
    AgentId,
    AgentView,
    GroupView,
    Offer,
    OfferOutcome,
    Standing,
)
from gateway.agents.states import AgentState, NotAllowed
from gateway.config import AgentsConfig, GroupConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from protocols.text import clean_text

_log = structlog.get_logger()

# The wrap-up and the leases are kept to the second; so is what other daemons changed.
_SWEEP_EVERY: Final = 1.0
# Standings changed in one transaction, so that a press never waits longer than some milliseconds.
_CHUNK: Final = 50
REASON_MAX: Final = 80  # characters of what a person says about a change of state


class AgentDesk:
    """One per daemon; several share a store. Times of leases are by the daemons' clocks.

    Methods that change something raise StoreUnavailable; a call in progress must then go on, the
    lease or the next sweep puts the agent right. Writes take the urgent lane.

    `instance` names this daemon; `domain` is the edge's, for the URIs of registered agents;
    `living` returns the calls alive here; `available` is called on the loop with the groups of
    agents that can be drawn again.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        metrics: Metrics,
        config: AgentsConfig,
        groups: Mapping[str, GroupConfig],
        *,
        instance: str,
        domain: str,
        living: Callable[[], Collection[CallId]],
        available: Callable[[frozenset[str]], None] = lambda _groups: None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._offers = metrics.offers
        self._config = config
        self._groups = groups
        self._instance = instance
        self._domain = domain
        self._living = living
        self._registered: frozenset[str] | None = None
        self._news = asyncio.Event()
        self._board = AgentBoard(metrics, clock, groups, available)

    async def load(self) -> None:
        """Read all agents from the store; raises StoreUnavailable."""
        self._board.see(await self._db.read(book.everybody))

    async def run(self) -> None:
        """Sweep every second, and at once when registrations changed; until cancelled."""
        while True:
            self._news.clear()
            try:
                await self.sweep()
            except StoreUnavailable as error:
                _log.warning("agent_sweep_postponed", error=str(error))
            try:
                async with asyncio.timeout(_SWEEP_EVERY):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> None:
        """Take what other daemons changed, then end, renew and free what is due.

        Writes only if there is something to write. Raises StoreUnavailable.
        """
        await self.load()
        around = self._around()
        due = [
            view.agent.id
            for view in self._board.all()
            if steps.settle(view.agent, view.standing, around) is not view.standing
        ]
        for begin in range(0, len(due), _CHUNK):
            run = partial(book.settle, agents=due[begin : begin + _CHUNK], around=around)
            await self._db.write(run, then=self._committed)

    def registrations(self, users: Collection[str]) -> None:
        """Take the users registered now, all of them, at every edge; never blocks.

        Until this was called first, nobody counts as absent. If several daemons share the store
        each must be told the same.
        """
        if self._registered != (found := frozenset(users)):
            self._registered = found
            self._news.set()

    async def log_in(self, agent: AgentId, reason: str = "") -> AgentView:
        """Begin to take calls; raises NotAllowed (not offline, phone not registered, …)."""
        return await self._ask(agent, steps.logged_in, reason)

    async def ready(self, agent: AgentId, reason: str = "") -> AgentView:
        """End a pause or the wrap-up; raises NotAllowed."""
        return await self._ask(agent, steps.readied, reason)

    async def pause(self, agent: AgentId, reason: str = "") -> AgentView:
        """Take no calls for a while; raises NotAllowed unless ready or in wrap-up."""

        def step(_: Agent, s: Standing, around: steps.Around, said: str) -> Standing:
            return steps.paused(s, around.now, said)

        return await self._ask(agent, step, reason)

    async def log_out(self, agent: AgentId, reason: str = "") -> AgentView:
        """Go; a call in progress is not ended and keeps the agent from the next until it is."""

        def step(_: Agent, s: Standing, around: steps.Around, said: str) -> Standing:
            return steps.logged_out(s, around.now, said)

        return await self._ask(agent, step, reason)

    async def set_state(self, agent: AgentId, wanted: AgentState, reason: str = "") -> AgentView:
        """Bring an agent to `ready`, `paused` or `offline`; being there already is no error.

        Raises NotAllowed with the present state, UnknownAgent, StoreUnavailable; ValueError for
        a state that nobody can ask for.
        """
        if wanted not in {AgentState.READY, AgentState.PAUSED, AgentState.OFFLINE}:
            raise ValueError(f"nobody can ask for {wanted.value}")

        def step(found: Agent, s: Standing, around: steps.Around, said: str) -> Standing:
            if wanted is AgentState.OFFLINE:
                return steps.logged_out(s, around.now, said)
            if s.state is wanted:
                return s
            if wanted is AgentState.PAUSED:
                return steps.paused(s, around.now, said)
            start = steps.logged_in if s.state is AgentState.OFFLINE else steps.readied
            return start(found, s, around, said)

        return await self._ask(agent, step, reason)

    async def pick(
        self,
        group: str,
        *,
        call: CallId,
        incident: IncidentId | None,
        exclude: Collection[AgentId] = (),
    ) -> Offer | None:
        """Offer a call to the agent of `group` who has been idle longest; None if none is ready.

        The offer ends with `answered`, `missed` or `release`; forgotten, it ends by itself.
        """
        found = await self.pick_all(group, call=call, incident=incident, exclude=exclude, most=1)
        return found[0] if found else None

    async def pick_all(
        self,
        group: str,
        *,
        call: CallId,
        incident: IncidentId | None,
        most: int,
        exclude: Collection[AgentId] = (),
    ) -> Sequence[Offer]:
        """Offer a call to up to `most` ready agents of `group`, to be rung together."""
        wanted = Wanted(
            group=group, call=call, incident=incident, exclude=frozenset(exclude), most=most
        )
        run = partial(book.pick, wanted=wanted, around=self._around())
        drawn = await self._db.write(run, urgent=True, then=self._committed)
        return [self._offer(moved.agent, moved.after) for moved in drawn]

    async def answered(self, offer: Offer) -> bool:
        """Note that the agent took the call; twice is no error.

        False: the offer had ended, the agent may be in another call by now: end this leg.
        """
        around = self._around()
        return await self._end(
            offer, lambda _, s: steps.answered(s, offer, around), OfferOutcome.ANSWERED
        )

    async def missed(self, offer: Offer, outcome: OfferOutcome) -> bool:
        """End an offer that was not taken; False when it had ended before.

        WITHDRAWN is for no fault of the agent: the caller left, or another agent won. Raises
        NotAllowed for an offer that was answered, ValueError for an outcome that is none.
        """
        if outcome not in MISSES and outcome is not OfferOutcome.WITHDRAWN:
            raise ValueError(f"{outcome.value} does not end an offer here")
        around = self._around()
        return await self._end(offer, lambda _, s: steps.missed(s, offer, outcome, around), outcome)

    async def ended(self, offer: Offer) -> bool:
        """Note that the agent's part in the call is over; False when it was before."""
        around = self._around()

        def step(_: Agent, s: Standing) -> Standing | None:
            return steps.released(s, offer.call, around) if steps.is_of(s, offer) else None

        return await self._end(offer, step, OfferOutcome.WITHDRAWN)

    async def release(self, call: CallId) -> int:
        """Free every agent of a call that has ended; returns how many there were."""
        run = partial(book.release, call=call, around=self._around())
        freed = await self._db.write(run, urgent=True, then=self._committed)
        return len(freed)

    async def offers_of(self, call: CallId) -> Sequence[Offer]:
        """Return the offers of a call that stand or were answered, for a daemon that resumes it."""
        found = await self._db.read(partial(book.held_by, call=call))
        return [self._offer(agent, standing) for agent, standing in found]

    def view(self) -> Sequence[AgentView]:
        """Return all agents by id, as of at most a second ago; does not wait."""
        return self._board.all()

    def show(self, agent: AgentId) -> AgentView | None:
        """Return one agent as `view` does."""
        return self._board.get(agent)

    def groups(self) -> Sequence[GroupView]:
        """Return the configured groups with their agents by state; does not wait."""
        counts = self._board.counts()
        return [
            GroupView(
                name=name,
                label=group.label,
                strategy=group.strategy,
                overflow_after_s=group.overflow_after_s,
                overflow_to=group.overflow_to,
                agents={state: counts.get((name, state), 0) for state in AgentState},
            )
            for name, group in self._groups.items()
        ]

    def drawable_in(self, group: str) -> int:
        """Return how many agents of `group` a call could be offered to now; does not wait."""
        return self._board.drawable_in(group)

    async def _ask(
        self,
        agent: AgentId,
        step: Callable[[Agent, Standing, steps.Around, str], Standing],
        reason: str,
    ) -> AgentView:
        around, said = self._around(), clean_text(reason, limit=REASON_MAX)

        def run(connection: Connection) -> list[Moved]:
            moved = book.change(
                connection, agent, lambda a, s: step(a, s, around, said), OfferOutcome.WITHDRAWN
            )
            assert moved is not None, "a person's step always has a result"
            return [moved]

        (moved,) = await self._db.write(run, urgent=True, then=self._committed)
        return AgentView(agent=moved.agent, standing=moved.after)

    async def _end(self, offer: Offer, step: book.Step, outcome: OfferOutcome) -> bool:
        def run(connection: Connection) -> list[Moved]:
            moved = book.change(connection, offer.agent, step, outcome)
            return [moved] if moved is not None else []

        found = await self._db.write(run, urgent=True, then=self._committed)
        if not found:
            _log.info("offer_had_ended", agent=offer.agent, call=offer.call, outcome=outcome.value)
        return bool(found)

    def _committed(self, moved: Sequence[Moved]) -> None:
        """Show, count and log what a commit changed; runs on the loop."""
        for one in moved:
            if one.outcome is not None:
                self._offers.labels(one.outcome.value).inc()
            if one.before.state is not one.after.state:
                _log.info(
                    "agent_moved",
                    agent=one.agent.id,
                    before=one.before.state.value,
                    after=one.after.state.value,
                    cause=one.after.cause.value,
                    call=one.after.call or one.before.call,
                )
        self._board.see((one.agent, one.after) for one in moved)

    def _offer(self, agent: Agent, standing: Standing) -> Offer:
        assert standing.call is not None, "an offer is of a call"
        assert standing.offer is not None, "an offer has a version"
        return Offer(
            agent=agent.id,
            version=standing.offer,
            call=standing.call,
            incident=standing.incident,
            label=agent.label,
            uri=agent.uri(self._domain),
            ring_s=self._config.offer_s,
        )

    def _around(self) -> steps.Around:
        return steps.Around(
            now=self._clock.time(),
            instance=self._instance,
            living=frozenset(self._living()),
            registered=self._registered,
            config=self._config,
        )


async def register(db: Database, clock: Clock, agents: Sequence[Agent]) -> None:
    """Insert or replace agents, in transactions of some; raises StoreUnavailable."""
    for begin in range(0, len(agents), _CHUNK):
        chunk = agents[begin : begin + _CHUNK]
        await db.write(partial(book.register, agents=chunk, now=clock.time()))


__all__ = ["AgentDesk", "NotAllowed", "UnknownAgent", "register"]
