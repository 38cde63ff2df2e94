"""The states of an agent and the one table of its transitions."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class AgentState(StrEnum):
    """Where an agent stands; closed, a metric label."""

    OFFLINE = "offline"
    READY = "ready"
    OFFERED = "offered"  # its phone is being rung for one call
    BUSY = "busy"  # it answered, the call lives
    WRAP_UP = "wrap_up"  # the call is over; writes it down until the time is over
    PAUSED = "paused"


class Trigger(StrEnum):
    """What moves an agent."""

    LOG_IN = "log_in"
    READY = "ready"
    PAUSE = "pause"
    LOG_OUT = "log_out"
    OFFER = "offer"
    ANSWER = "answer"
    MISS = "miss"  # did not take the offer
    GIVE_UP = "give_up"  # did not take one offer too many
    WITHDRAW = "withdraw"  # the offer ended for no fault of the agent
    END = "end"  # the call ended
    EXPIRE = "expire"  # a lease or the time to wrap up is over
    LOSE = "lose"  # the registration of its phone is gone
    RETURN = "return"  # the registration is back


class NotAllowed(Exception):
    """That trigger means nothing in that state, or not now; `why` says it in a few words."""

    def __init__(self, state: AgentState, why: str) -> None:
        super().__init__(f"not in state {state.value!r}: {why}")
        self.state = state
        self.why = why


_S = AgentState
_T = Trigger

TRANSITIONS: Final = MappingProxyType(
    {
        (_S.OFFLINE, _T.LOG_IN): _S.READY,
        (_S.OFFLINE, _T.RETURN): _S.READY,
        (_S.OFFLINE, _T.ANSWER): _S.BUSY,  # the registration was lost while the phone rang
        (_S.OFFLINE, _T.LOG_OUT): _S.OFFLINE,  # whose registration returns stays away
        (_S.READY, _T.PAUSE): _S.PAUSED,
        (_S.READY, _T.OFFER): _S.OFFERED,
        (_S.READY, _T.LOSE): _S.OFFLINE,
        (_S.READY, _T.LOG_OUT): _S.OFFLINE,
        (_S.OFFERED, _T.ANSWER): _S.BUSY,
        (_S.OFFERED, _T.MISS): _S.READY,
        (_S.OFFERED, _T.GIVE_UP): _S.PAUSED,
        (_S.OFFERED, _T.WITHDRAW): _S.READY,
        (_S.OFFERED, _T.EXPIRE): _S.READY,
        (_S.OFFERED, _T.LOSE): _S.OFFLINE,
        (_S.OFFERED, _T.LOG_OUT): _S.OFFLINE,
        (_S.BUSY, _T.END): _S.WRAP_UP,
        (_S.BUSY, _T.EXPIRE): _S.WRAP_UP,
        (_S.BUSY, _T.LOG_OUT): _S.OFFLINE,
        (_S.WRAP_UP, _T.READY): _S.READY,
        (_S.WRAP_UP, _T.EXPIRE): _S.READY,
        (_S.WRAP_UP, _T.PAUSE): _S.PAUSED,
        (_S.WRAP_UP, _T.LOG_OUT): _S.OFFLINE,
        (_S.PAUSED, _T.READY): _S.READY,
        (_S.PAUSED, _T.LOG_OUT): _S.OFFLINE,
    }
)


def advance(state: AgentState, trigger: Trigger) -> AgentState:
    """Return the state after `trigger`; raises NotAllowed for a pair not in the table."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise NotAllowed(state, f"no transition for {trigger.value!r}") from None
