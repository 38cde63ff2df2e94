"""What happens to an agent's standing. Pure: a standing and the time in, the next one out."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

from drivers.api.ids import CallId, IncidentId
from gateway.agents.model import MISSES, Agent, Cause, Offer, OfferOutcome, Standing
from gateway.agents.states import AgentState, NotAllowed, Trigger, advance
from gateway.config import AgentsConfig

# The bounds of AgentsConfig, in seconds: what is due later than that is due by a clock that was set
# back since, and nothing may stick for it.
LEASE_MOST_S: Final = 300.0
WRAP_UP_MOST_S: Final = 3600.0
GAP_MOST_S: Final = 300.0
# A lease is renewed when so much of it is left; what remains bears two sweeps that failed.
_RENEW_AT: Final = 2 / 3
# Expire, then lose the registration, is the longest way a standing goes in one sweep.
_STEPS_MOST: Final = 4
_AT_REST: Final = frozenset({AgentState.READY, AgentState.PAUSED, AgentState.WRAP_UP})
_DETACHED: Final[dict[str, Any]] = {
    "owner": None, "lease_until": None, "offer": None, "call": None, "incident": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a standing is judged by: time, the calls alive here, who is registered (None: unknown).

    `registered` must hold the users of every edge: daemons that disagree would fight.
    """

    now: float
    instance: str
    living: AbstractSet[CallId]
    registered: AbstractSet[str] | None
    config: AgentsConfig


def reachable(agent: Agent, registered: AbstractSet[str] | None) -> bool:
    """Tell whether its phone can be rung, as far as known: unknown is not absent."""
    return agent.static or registered is None or agent.sip_user in registered


def barred(s: Standing, now: float) -> bool:
    """Tell whether a missed offer is so recent that no other may follow yet."""
    return now < s.offer_after <= now + GAP_MOST_S


def logged_in(agent: Agent, s: Standing, around: Around, reason: str) -> Standing:
    """Begin to take calls; raises NotAllowed."""
    return _to_ready(agent, s, around, Trigger.LOG_IN, reason)


def readied(agent: Agent, s: Standing, around: Around, reason: str) -> Standing:
    """End a pause or the wrap-up; raises NotAllowed."""
    return _to_ready(agent, s, around, Trigger.READY, reason)


def paused(s: Standing, now: float, reason: str) -> Standing:
    """Take no calls for a while; raises NotAllowed."""
    return _move(s, Trigger.PAUSE, now, **_DETACHED, cause=Cause.PERSON, reason=reason)


def logged_out(s: Standing, now: float, reason: str) -> Standing:
    """Go. A call in progress stays attached until it ends."""
    attached = {} if s.call is not None else _DETACHED
    return _move(s, Trigger.LOG_OUT, now, **attached, cause=Cause.PERSON, reason=reason)


def offered(s: Standing, around: Around, call: CallId, incident: IncidentId | None) -> Standing:
    """Offer a call; raises NotAllowed unless ready."""
    return _move(
        s, Trigger.OFFER, around.now, owner=around.instance, offer=s.version + 1, call=call,
        incident=incident, lease_until=around.now + around.config.lease_s,
    )  # fmt: skip


def is_of(s: Standing, offer: Offer) -> bool:
    """Tell whether the standing still is about that offer."""
    return s.offer == offer.version and s.call == offer.call


def answered(s: Standing, offer: Offer, around: Around) -> Standing | None:
    """Take the call; None when the offer is no longer this agent's.

    Who logged out while the phone rang and answers nevertheless keeps the call but stays offline.
    """
    if not is_of(s, offer):
        return None
    if s.state is AgentState.BUSY:
        return s
    if s.state is AgentState.OFFLINE and s.cause is not Cause.REGISTRATION_LOST:
        return s
    lease = around.now + around.config.lease_s
    return _move(
        s, Trigger.ANSWER, around.now,
        owner=around.instance, lease_until=lease, missed=0, cause=Cause.NONE, reason="",
    )  # fmt: skip


def missed(s: Standing, offer: Offer, outcome: OfferOutcome, around: Around) -> Standing | None:
    """End an offer without an answer; None when it is no longer this agent's."""
    if not is_of(s, offer):
        return None
    now = around.now
    if s.state is AgentState.OFFLINE:
        return _change(s, **_DETACHED)
    if outcome not in MISSES:
        return _move(s, Trigger.WITHDRAW, now, **_DETACHED)
    count = s.missed + 1
    rested = {**_DETACHED, "idle_since": now, "offer_after": now + around.config.reoffer_gap_s}
    if 0 < around.config.missed_to_pause <= count:
        return _move(s, Trigger.GIVE_UP, now, **rested, missed=0, cause=Cause.MISSED, reason="")
    return _move(s, Trigger.MISS, now, **rested, missed=count)


def released(s: Standing, call: CallId, around: Around) -> Standing | None:
    """End whatever binds the agent to `call`; None when nothing does."""
    if s.call != call:
        return None
    if s.state is AgentState.OFFLINE:
        return _change(s, **_DETACHED)
    if s.state is AgentState.OFFERED:
        return _move(s, Trigger.WITHDRAW, around.now, **_DETACHED)
    return _wrap_up(s, Trigger.END, around)


def settle(agent: Agent, s: Standing, around: Around) -> Standing:
    """Return the standing after all that time, calls and registrations ask for."""
    for _ in range(_STEPS_MOST):
        after = _due(agent, s, around)
        if after is None:
            return s
        s = after
    raise RuntimeError(f"agent {agent.id} does not settle: {s}")


def _due(agent: Agent, s: Standing, around: Around) -> Standing | None:
    if s.call is not None:
        due = _lease_due(s, around)
        if due is not None:
            return due
    elif s.state is AgentState.WRAP_UP and _over(s.lease_until, around.now, WRAP_UP_MOST_S):
        return _move(s, Trigger.EXPIRE, around.now, **_DETACHED, idle_since=around.now)
    return _presence_due(agent, s, around)


def _lease_due(s: Standing, around: Around) -> Standing | None:
    """Renew the lease while the call lives here; free the agent when it ran out."""
    lease_s, over = around.config.lease_s, _over(s.lease_until, around.now, LEASE_MOST_S)
    if s.call in around.living and (over or s.owner == around.instance) and not _stale(s, around):
        left = 0.0 if over or s.lease_until is None else s.lease_until - around.now
        if left >= lease_s * _RENEW_AT:
            return None
        return _change(s, owner=around.instance, lease_until=around.now + lease_s)
    if not over:
        return None
    if s.state is AgentState.OFFLINE:
        return _change(s, **_DETACHED)
    if s.state is AgentState.OFFERED:
        return _move(s, Trigger.EXPIRE, around.now, **_DETACHED)
    return _wrap_up(s, Trigger.EXPIRE, around)


def _stale(s: Standing, around: Around) -> bool:
    """Tell whether an offer rings longer than any may: whoever made it has forgotten it."""
    ringing = around.now - s.since
    return s.state is AgentState.OFFERED and ringing > around.config.offer_s + around.config.lease_s


def _presence_due(agent: Agent, s: Standing, around: Around) -> Standing | None:
    now = around.now
    if not agent.enabled:
        if s.state in _AT_REST:
            return _move(s, Trigger.LOG_OUT, now, **_DETACHED, cause=Cause.DISABLED, reason="")
        return None
    if s.state in {AgentState.READY, AgentState.OFFERED}:
        if reachable(agent, around.registered):
            return None
        return _move(s, Trigger.LOSE, now, cause=Cause.REGISTRATION_LOST, reason="")
    known = around.registered is not None or agent.static
    if (
        s.state is AgentState.OFFLINE
        and s.cause is Cause.REGISTRATION_LOST
        and s.call is None
        and known
        and reachable(agent, around.registered)
    ):
        return _move(s, Trigger.RETURN, now, idle_since=now, cause=Cause.NONE, reason="")
    return None


def _to_ready(agent: Agent, s: Standing, around: Around, trigger: Trigger, reason: str) -> Standing:
    after = _move(
        s, trigger, around.now, **_DETACHED,
        idle_since=around.now, missed=0, offer_after=0.0, cause=Cause.PERSON, reason=reason,
    )  # fmt: skip
    if s.call is not None:
        raise NotAllowed(s.state, "the call it left has not ended")
    if not agent.enabled:
        raise NotAllowed(s.state, "the agent is disabled")
    if not reachable(agent, around.registered):
        raise NotAllowed(s.state, "its phone is not registered")
    return after


def _wrap_up(s: Standing, trigger: Trigger, around: Around) -> Standing:
    detached = {**_DETACHED, "incident": s.incident}
    detached["lease_until"] = around.now + around.config.wrap_up_s
    return _move(s, trigger, around.now, **detached)


def _over(until: float | None, now: float, most_s: float) -> bool:
    """Tell whether `until` has passed, or lies so far off that a clock must have been set back."""
    return until is None or until <= now or until > now + most_s


def _move(s: Standing, trigger: Trigger, now: float, **changes: Any) -> Standing:
    state = advance(s.state, trigger)
    changes["since"] = now if state is not s.state else s.since
    return _change(s, state=state, **changes)


def _change(s: Standing, **changes: Any) -> Standing:
    return replace(s, version=s.version + 1, **changes)
