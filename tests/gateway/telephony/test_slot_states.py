import itertools

import pytest

from gateway.telephony.slot_states import (
    TRANSITIONS,
    SlotEvent,
    SlotState,
    UndeclaredTransition,
    backoff_s,
    next_state,
)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(SlotState, SlotEvent)))
def test_only_declared_pairs_pass(state: SlotState, event: SlotEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(UndeclaredTransition, match=event):
            next_state(state, event)


def test_every_state_can_be_reached_and_left() -> None:
    assert {state for state, _ in TRANSITIONS} == set(SlotState)
    assert set(TRANSITIONS.values()) == set(SlotState)


def test_rests_grow_from_a_tenth_of_a_second_to_half_a_minute() -> None:
    rests = [backoff_s(failures) for failures in range(1, 12)]
    assert rests[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert rests[-1] == 30
    assert backoff_s(100_000) == 30
