from annotated_types import Le

from gateway.agents import steps
from gateway.config import AgentsConfig


def test_the_bounds_are_those_of_the_configuration() -> None:
    for name, most in (
        ("lease_s", steps.LEASE_MOST_S),
        ("wrap_up_s", steps.WRAP_UP_MOST_S),
        ("reoffer_gap_s", steps.GAP_MOST_S),
    ):
        assert Le(most) in AgentsConfig.model_fields[name].metadata
