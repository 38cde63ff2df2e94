"""The states of an incident and the one table of its transitions."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class IncidentState(StrEnum):
    """Where an incident stands; closed, a metric label."""

    OPEN = "open"  # committed; nobody has been rung yet
    ALERTING = "alerting"  # somebody is being rung
    ANSWERED = "answered"  # an agent has it
    UNANSWERED = "unanswered"  # the chain is through without an answer; a person was alarmed
    WRAP_UP = "wrap_up"  # the conversation is over; the outcome is missing
    CLOSED = "closed"


class Trigger(StrEnum):
    """What moves an incident."""

    RING = "ring"  # a target is being rung
    ANSWER = "answer"  # an agent answered
    EXHAUST = "exhaust"  # everybody was rung, nobody answered
    LOSE = "lose"  # the answered call broke off without an agent; ringing starts again
    HANG_UP = "hang_up"  # the conversation ended
    CLOSE = "close"  # a person or the clock closed it


class WrongTransition(Exception):
    """That trigger means nothing in that state: a defect or a race lost, never to be hidden."""

    def __init__(self, state: IncidentState, trigger: Trigger) -> None:
        super().__init__(f"no transition for {trigger.value!r} in state {state.value!r}")
        self.state = state
        self.trigger = trigger


_S = IncidentState
_T = Trigger

TRANSITIONS: Final = MappingProxyType(
    {
        (_S.OPEN, _T.RING): _S.ALERTING,
        (_S.OPEN, _T.EXHAUST): _S.UNANSWERED,  # nobody could be rung at all
        (_S.OPEN, _T.CLOSE): _S.CLOSED,
        (_S.ALERTING, _T.RING): _S.ALERTING,
        (_S.ALERTING, _T.ANSWER): _S.ANSWERED,
        (_S.ALERTING, _T.EXHAUST): _S.UNANSWERED,
        (_S.ALERTING, _T.LOSE): _S.ALERTING,
        (_S.ALERTING, _T.HANG_UP): _S.WRAP_UP,  # the person took it back while it rang
        (_S.ALERTING, _T.CLOSE): _S.CLOSED,
        (_S.UNANSWERED, _T.RING): _S.ALERTING,  # another round
        (_S.UNANSWERED, _T.EXHAUST): _S.UNANSWERED,
        (_S.UNANSWERED, _T.HANG_UP): _S.WRAP_UP,  # a caller who may leave has left
        (_S.UNANSWERED, _T.CLOSE): _S.CLOSED,
        (_S.ANSWERED, _T.ANSWER): _S.ANSWERED,  # a second agent joined
        (_S.ANSWERED, _T.LOSE): _S.ALERTING,
        (_S.ANSWERED, _T.HANG_UP): _S.WRAP_UP,
        (_S.ANSWERED, _T.CLOSE): _S.CLOSED,
        (_S.WRAP_UP, _T.RING): _S.ALERTING,  # pressed again before it was closed
        (_S.WRAP_UP, _T.EXHAUST): _S.UNANSWERED,
        (_S.WRAP_UP, _T.CLOSE): _S.CLOSED,
    }
)


def advance(state: IncidentState, trigger: Trigger) -> IncidentState:
    """Return the state after `trigger`; raises WrongTransition for a pair not in the table."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise WrongTransition(state, trigger) from None
