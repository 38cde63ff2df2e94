import itertools

import pytest

from gateway.incidents.states import TRANSITIONS, IncidentState, Trigger, WrongTransition, advance


@pytest.mark.parametrize(("state", "trigger"), list(itertools.product(IncidentState, Trigger)))
def test_every_pair_is_declared_or_raises(state: IncidentState, trigger: Trigger) -> None:
    if (state, trigger) in TRANSITIONS:
        assert advance(state, trigger) is TRANSITIONS[state, trigger]
    else:
        with pytest.raises(WrongTransition, match=f"{trigger.value}.*{state.value}"):
            advance(state, trigger)


def test_every_open_state_can_be_closed_and_nothing_leaves_closed() -> None:
    for state in IncidentState:
        closable = (state, Trigger.CLOSE) in TRANSITIONS
        assert closable == (state is not IncidentState.CLOSED)
    assert not [pair for pair in TRANSITIONS if pair[0] is IncidentState.CLOSED]
