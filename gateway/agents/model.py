"""Agents, where they stand, and the offers made to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from drivers.api.ids import CallId, IncidentId
from gateway.agents.states import AgentState

AgentId = NewType("AgentId", str)

# An agent whose phone is at another exchange has its address in place of a user here.
_SCHEMES: Final = ("sip:", "sips:")


class Cause(StrEnum):
    """Why an agent is in its state, where the state does not say it."""

    NONE = ""
    PERSON = "person"  # somebody asked for it
    MISSED = "missed"  # too many offers in a row were not taken
    REGISTRATION_LOST = "registration_lost"
    DISABLED = "disabled"  # taken off the list of agents


class OfferOutcome(StrEnum):
    """What became of an offer; closed, a metric label."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    DECLINED = "declined"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"  # the caller left, another agent was quicker, or the agent logged out
    EXPIRED = "expired"  # its lease ran out: the daemon that made it is gone, or forgot it
    LOST = "lost"  # the phone's registration was lost meanwhile


# Offers that the agent did not take; only these count towards a pause.
MISSES: Final = frozenset(
    {
        OfferOutcome.NO_ANSWER,
        OfferOutcome.BUSY,
        OfferOutcome.DECLINED,
        OfferOutcome.UNREACHABLE,
        OfferOutcome.FAILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent as the operator registered it; `groups` maps a group's name to the rank in it.

    Lower ranks are rung first; among equals the one who has been idle longest.
    """

    id: AgentId
    label: str = ""
    sip_user: str = ""  # a user that registers at our edge, or a whole SIP URI
    groups: Mapping[str, int]
    enabled: bool = True

    @property
    def static(self) -> bool:
        """Tell whether it is rung at an address of another exchange, which registers nowhere."""
        return self.sip_user.startswith(_SCHEMES)

    def uri(self, domain: str) -> str:
        """Return where it is rung; `domain` is the edge's."""
        return self.sip_user if self.static else f"sip:{self.sip_user}@{domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An agent's row of `agent_states`. Times are Unix seconds.

    `lease_until`: until when owner and call hold without renewal; in wrap-up, its end. `offer` is
    the version at which the present offer was made; with the agent it names the offer for ever.
    A call stays attached when an agent logs out in the middle of it, so that nobody can be drawn
    into a second one by logging in again.
    """

    agent: AgentId
    state: AgentState
    since: float
    version: int
    cause: Cause = Cause.NONE
    reason: str = ""  # what the person said who asked for the state
    idle_since: float | None = None
    offer_after: float = 0.0
    missed: int = 0  # offers in a row that were not taken
    owner: str | None = None  # instance of the daemon that renews the lease
    lease_until: float | None = None
    offer: int | None = None
    call: CallId | None = None
    incident: IncidentId | None = None  # stays through wrap-up


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One call offered to one agent. Ring `uri` for at most `ring_s` seconds."""

    agent: AgentId
    version: int
    call: CallId
    incident: IncidentId | None
    label: str
    uri: str
    ring_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent and where it stands, for the API and the page."""

    agent: Agent
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group of the configuration with the number of its enabled agents by state."""

    name: str
    label: str
    strategy: str
    overflow_after_s: float
    overflow_to: str
    agents: Mapping[AgentState, int]
