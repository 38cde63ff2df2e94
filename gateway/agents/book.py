"""What a transaction does with agents. Runs in the writer's thread.

Nothing here remembers anything: a function may run twice, the first time rolled back. Each change
names the version it was made from; who comes second reads again.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from drivers.api.ids import CallId, IncidentId
from gateway.agents import steps
from gateway.agents.model import Agent, AgentId, OfferOutcome, Standing
from gateway.agents.rows import agent_of, standing_of, standing_values
from gateway.agents.states import AgentState
from gateway.store.schema import AGENT_GROUPS, AGENT_STATES, AGENTS
from gateway.store.upsert import insert_new, replace

# Each lost race means that another daemon's change went through; more is a defect.
_ATTEMPTS: Final = 8
# Candidates read beyond those wanted, for the ones that another daemon draws meanwhile.
_SPARE: Final = 8

Step = Callable[[Agent, Standing], Standing | None]


class UnknownAgent(LookupError):
    """No such agent is registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A committed change of one agent; `outcome` is set when an offer ended or was answered."""

    agent: Agent
    before: Standing
    after: Standing
    outcome: OfferOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whom to offer a call: ready agents of a group, at most so many, none of `exclude`."""

    group: str
    call: CallId
    incident: IncidentId | None
    exclude: AbstractSet[AgentId]
    most: int


_AGENT = select(AGENTS).where(AGENTS.c.id == bindparam("its_id"))
_GROUPS = select(AGENT_GROUPS).where(AGENT_GROUPS.c.agent == bindparam("its_id"))
_STANDING = select(AGENT_STATES).where(AGENT_STATES.c.agent == bindparam("its_id"))
_OF_CALL = select(AGENT_STATES.c.agent).where(AGENT_STATES.c.call == bindparam("its_call"))
_SAVE = update(AGENT_STATES).where(
    AGENT_STATES.c.agent == bindparam("its_id"),
    AGENT_STATES.c.version == bindparam("its_version"),
)
_CANDIDATES = (
    select(AGENT_STATES)
    .join(AGENTS, AGENTS.c.id == AGENT_STATES.c.agent)
    .join(AGENT_GROUPS, AGENT_GROUPS.c.agent == AGENT_STATES.c.agent)
    .where(
        AGENT_GROUPS.c.group == bindparam("its_group"),
        AGENT_STATES.c.state == AgentState.READY.value,
        AGENTS.c.enabled.is_(True),
        # Not steps.barred: neither within a gap, nor kept by a clock that was set back.
        (AGENT_STATES.c.offer_after <= bindparam("soon"))
        | (AGENT_STATES.c.offer_after > bindparam("late")),
    )
    .order_by(AGENT_GROUPS.c.rank, AGENT_STATES.c.idle_since, AGENT_STATES.c.agent)
)


def everybody(connection: Connection) -> list[tuple[Agent, Standing]]:
    """Return all agents with their standings."""
    groups: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(AGENT_GROUPS)):
        groups.setdefault(row.agent, {})[row.group] = row.rank
    standings = {row.agent: standing_of(row) for row in connection.execute(select(AGENT_STATES))}
    agents = connection.execute(select(AGENTS).order_by(AGENTS.c.id))
    return [(agent_of(row, groups.get(row.id, {})), standings[row.id]) for row in agents]


def held_by(connection: Connection, call: CallId) -> list[tuple[Agent, Standing]]:
    """Return the agents that `call` is offered to or who talk in it."""
    return [_read(connection, AgentId(one)) for one in _agents_of(connection, call)]


def change(
    connection: Connection, agent: AgentId, step: Step, outcome: OfferOutcome | None = None
) -> Moved | None:
    """Take a step with an agent; None when the step has nothing to do.

    `outcome` is what a step that ends an offer makes of it. Raises UnknownAgent, and what the
    step raises.
    """
    for _ in range(_ATTEMPTS):
        found, before = _read(connection, agent)
        after = step(found, before)
        if after is None:
            return None
        if after == before:
            return Moved(agent=found, before=before, after=after)
        if _save(connection, before, after):
            ended = _outcome(before, after, outcome)
            return Moved(agent=found, before=before, after=after, outcome=ended)
    raise RuntimeError(f"agent {agent}: another daemon is always quicker")


def pick(connection: Connection, wanted: Wanted, around: steps.Around) -> list[Moved]:
    """Offer the call to ready agents, the lowest rank and then the longest idle first."""
    drawn: list[Moved] = []
    tried = set(wanted.exclude)
    while len(drawn) < wanted.most:
        candidates = _candidates(connection, wanted, tried, around.now)
        if not candidates:
            break
        for row in candidates:
            tried.add(AgentId(row.agent))
            moved = _draw(connection, standing_of(row), wanted, around)
            if moved is not None:
                drawn.append(moved)
            if len(drawn) == wanted.most:
                break
    return drawn


def release(connection: Connection, call: CallId, around: steps.Around) -> list[Moved]:
    """Free all agents of a call."""
    found = []
    for agent in _agents_of(connection, call):
        moved = change(
            connection, agent, lambda _, s: steps.released(s, call, around), OfferOutcome.WITHDRAWN
        )
        found += [moved] if moved is not None else []
    return found


def settle(connection: Connection, agents: Iterable[AgentId], around: steps.Around) -> list[Moved]:
    """Do what time, calls and registrations ask for; see steps.settle."""
    found = []
    for agent in agents:
        moved = change(connection, agent, lambda a, s: steps.settle(a, s, around))
        found += [moved] if moved is not None else []
    return found


def register(connection: Connection, agents: Sequence[Agent], now: float) -> None:
    """Insert or replace agents with their groups; new ones are offline."""
    for agent in agents:
        row = {
            "id": agent.id,
            "label": agent.label,
            "sip_user": agent.sip_user,
            "enabled": agent.enabled,
        }
        connection.execute(replace(connection, AGENTS), row)
        connection.execute(delete(AGENT_GROUPS).where(AGENT_GROUPS.c.agent == agent.id))
        ranks = [
            {"agent": agent.id, "group": name, "rank": rank} for name, rank in agent.groups.items()
        ]
        if ranks:
            connection.execute(insert(AGENT_GROUPS), ranks)
        new = Standing(agent=agent.id, state=AgentState.OFFLINE, since=now, version=1)
        connection.execute(insert_new(connection, AGENT_STATES), standing_values(new))


def _candidates(
    connection: Connection, wanted: Wanted, tried: Collection[AgentId], now: float
) -> Sequence[Row[Any]]:
    query = _CANDIDATES.where(AGENT_STATES.c.agent.not_in(sorted(tried)))
    bounds = {"its_group": wanted.group, "soon": now, "late": now + steps.GAP_MOST_S}
    return connection.execute(query.limit(wanted.most + _SPARE), bounds).all()


def _draw(
    connection: Connection, before: Standing, wanted: Wanted, around: steps.Around
) -> Moved | None:
    """Offer to one candidate; None when another daemon was quicker or its phone is away."""
    agent = _agent(connection, before.agent)
    if not steps.reachable(agent, around.registered):
        return None
    after = steps.offered(before, around, wanted.call, wanted.incident)
    return (
        Moved(agent=agent, before=before, after=after) if _save(connection, before, after) else None
    )


def _agents_of(connection: Connection, call: CallId) -> list[AgentId]:
    return [AgentId(one) for one in connection.execute(_OF_CALL, {"its_call": call}).scalars()]


def _read(connection: Connection, agent: AgentId) -> tuple[Agent, Standing]:
    found = _agent(connection, agent)
    return found, standing_of(connection.execute(_STANDING, {"its_id": agent}).one())


def _agent(connection: Connection, agent: AgentId) -> Agent:
    key = {"its_id": agent}
    row = connection.execute(_AGENT, key).first()
    if row is None:
        raise UnknownAgent(agent)
    return agent_of(row, {one.group: one.rank for one in connection.execute(_GROUPS, key)})


def _save(connection: Connection, before: Standing, after: Standing) -> bool:
    """Compare and set; False when the row is no longer the one that was read."""
    key = {"its_id": before.agent, "its_version": before.version}
    return connection.execute(_SAVE, {**standing_values(after), **key}).rowcount == 1


def _outcome(before: Standing, after: Standing, given: OfferOutcome | None) -> OfferOutcome | None:
    if before.state is not AgentState.OFFERED or after.state is AgentState.OFFERED:
        return None
    if given is not None:
        return given
    return OfferOutcome.LOST if after.state is AgentState.OFFLINE else OfferOutcome.EXPIRED
