"""The life of a slot: one place in the pool, with its ports, where worker after worker may run."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

BACKOFF_FIRST_S = 0.1  # a crash by chance costs no more than this
BACKOFF_MAX_S = 30.0
HEALTHY_S = 60.0  # a worker that lived so long owes nothing to the one before


class SlotState(StrEnum):
    """Where a slot stands; closed, a metric label."""

    VACANT = "vacant"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # takes no new calls, ends with its last
    QUITTING = "quitting"  # asked to end
    RESTING = "resting"  # after a failure, until its back-off has passed


class SlotEvent(StrEnum):
    """What can happen to a slot."""

    START = "start"
    ATTACHED = "attached"
    ABSENT = "absent"  # nothing to adopt
    FAILED = "failed"
    DRAIN = "drain"
    QUIT = "quit"
    CLOSED = "closed"
    RESTED = "rested"


TRANSITIONS: Final[Mapping[tuple[SlotState, SlotEvent], SlotState]] = {
    (SlotState.VACANT, SlotEvent.START): SlotState.STARTING,
    (SlotState.STARTING, SlotEvent.ATTACHED): SlotState.READY,
    (SlotState.STARTING, SlotEvent.ABSENT): SlotState.VACANT,
    (SlotState.STARTING, SlotEvent.FAILED): SlotState.RESTING,
    (SlotState.READY, SlotEvent.DRAIN): SlotState.DRAINING,
    (SlotState.READY, SlotEvent.QUIT): SlotState.QUITTING,
    (SlotState.READY, SlotEvent.CLOSED): SlotState.RESTING,
    (SlotState.DRAINING, SlotEvent.QUIT): SlotState.QUITTING,
    (SlotState.DRAINING, SlotEvent.CLOSED): SlotState.RESTING,
    (SlotState.QUITTING, SlotEvent.CLOSED): SlotState.VACANT,
    (SlotState.RESTING, SlotEvent.RESTED): SlotState.VACANT,
}


class UndeclaredTransition(RuntimeError):
    """A defect of ours: the table has no such pair."""


def next_state(state: SlotState, event: SlotEvent) -> SlotState:
    """Return the state after `event`; raises UndeclaredTransition for a pair not in the table."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise UndeclaredTransition(f"{event} in state {state}") from None


def backoff_s(failures: int) -> float:
    """Return the rest after the `failures`-th failure in a row (1, 2, …), in seconds."""
    # The exponent is bounded so that a slot that fails for weeks overflows no float.
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
