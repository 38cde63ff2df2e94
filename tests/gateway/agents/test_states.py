import pytest

from gateway.agents.states import TRANSITIONS, AgentState, NotAllowed, Trigger, advance


@pytest.mark.parametrize("state", AgentState)
@pytest.mark.parametrize("trigger", Trigger)
def test_every_pair_is_declared_or_raises(state: AgentState, trigger: Trigger) -> None:
    if (state, trigger) in TRANSITIONS:
        assert advance(state, trigger) is TRANSITIONS[state, trigger]
        return
    with pytest.raises(NotAllowed) as caught:
        advance(state, trigger)
    assert caught.value.state is state
    assert trigger.value in caught.value.why


def test_every_state_can_be_reached_and_left_for_offline() -> None:
    assert set(TRANSITIONS.values()) == set(AgentState)
    for state in AgentState:
        assert advance(state, Trigger.LOG_OUT) is AgentState.OFFLINE


def test_only_the_ready_are_offered_a_call() -> None:
    assert {s for s, t in TRANSITIONS if t is Trigger.OFFER} == {AgentState.READY}


def test_every_state_with_a_clock_runs_out() -> None:
    held = {AgentState.OFFERED, AgentState.BUSY, AgentState.WRAP_UP}
    assert {s for s, t in TRANSITIONS if t is Trigger.EXPIRE} == held
