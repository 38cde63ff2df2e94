"""What each metric is called and how it is cut up; that series stay few is tests/e2e's."""

import pytest
from prometheus_client import CollectorRegistry

from gateway.metrics import ANSWER_EDGES, REACTION_EDGES, Metrics


def edges(metrics: Metrics, name: str) -> list[float]:
    (family,) = [one for one in metrics.registry.collect() if one.name == name]
    found = [s.labels["le"] for s in family.samples if s.name == f"{name}_bucket"]
    return [float(edge) for edge in found if edge != "+Inf"]


@pytest.mark.parametrize(
    "name",
    [
        "onekey_press_ack_seconds",
        "onekey_press_invite_seconds",
        "onekey_press_answer_seconds",
        "onekey_receipt_answer_seconds",
    ],
)
def test_the_published_answer_times_are_edges_of_every_latency(name: str) -> None:
    assert {10.0, 15.0, 20.0, 60.0, 180.0} <= set(edges(Metrics(), name))


def test_edges_grow() -> None:
    for found in (ANSWER_EDGES, REACTION_EDGES):
        assert list(found) == sorted(set(found))


def test_two_daemons_in_one_process_do_not_share_numbers() -> None:
    one, two = Metrics(), Metrics()
    one.unknown_terminal.inc()
    assert one.registry.get_sample_value("onekey_events_unknown_terminal_total") == 1
    assert two.registry.get_sample_value("onekey_events_unknown_terminal_total") == 0


def test_every_name_has_the_prefix_and_a_help() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    families = list(registry.collect())
    assert len(families) > 30
    for family in families:
        assert family.name.startswith("onekey_")
        assert family.documentation.endswith(".")
