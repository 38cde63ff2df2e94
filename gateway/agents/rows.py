"""Agents and their standings to and from rows of the store."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from drivers.api.ids import CallId, IncidentId
from gateway.agents.model import Agent, AgentId, Cause, Standing
from gateway.agents.states import AgentState


def agent_of(row: Row[Any], groups: Mapping[str, int]) -> Agent:
    """Return the agent of a row of `agents`."""
    return Agent(
        id=AgentId(row.id),
        label=row.label,
        sip_user=row.sip_user,
        groups=groups,
        enabled=row.enabled,
    )


def standing_of(row: Row[Any]) -> Standing:
    """Return the standing of a row of `agent_states`."""
    return Standing(
        agent=AgentId(row.agent),
        state=AgentState(row.state),
        since=row.since,
        version=row.version,
        cause=Cause(row.cause),
        reason=row.reason,
        idle_since=row.idle_since,
        offer_after=row.offer_after,
        missed=row.missed,
        owner=row.owner,
        lease_until=row.lease_until,
        offer=row.offer,
        call=CallId(row.call) if row.call is not None else None,
        incident=IncidentId(row.incident) if row.incident is not None else None,
    )


def standing_values(s: Standing) -> dict[str, Any]:
    """Return the row of a standing."""
    return {
        "agent": s.agent,
        "state": s.state.value,
        "since": s.since,
        "version": s.version,
        "cause": s.cause.value,
        "reason": s.reason,
        "idle_since": s.idle_since,
        "offer_after": s.offer_after,
        "missed": s.missed,
        "owner": s.owner,
        "lease_until": s.lease_until,
        "offer": s.offer,
        "call": s.call,
        "incident": s.incident,
    }
