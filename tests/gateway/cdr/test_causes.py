import pytest

from drivers.api.legs import LegOutcome
from gateway.cdr.causes import Side, ended_by, q850


@pytest.mark.parametrize(
    ("outcome", "code", "reason", "cause"),
    [
        ("completed", 200, "OK", 16),
        ("completed", 481, "", 16),
        ("busy", 486, "Busy Here", 17),
        ("busy", 600, "", 17),
        ("declined", 603, "Decline", 21),
        ("declined", 403, "", 21),
        ("unreachable", 404, "Not Found", 1),
        ("unreachable", 480, "", 18),
        ("unreachable", 503, "", 41),
        ("unreachable", None, "", 18),
        ("no_answer", 480, "", 19),
        ("no_answer", None, "", 19),
        ("cancelled", 487, "Request Terminated", 16),
        ("failed", 500, "", 41),
        ("failed", 488, "", 31),
        ("failed", 499, "", 31),
        ("lost", None, "", 41),
        ("failed", 500, 'Q.850;cause=27;text="x"', 27),
        ("failed", 500, "Q.850; cause=999", 41),
        ("failed", 500, "Q.850;cause=1277", 41),
        ("strange", None, "", None),
    ],
)
def test_causes(outcome: str, code: int | None, reason: str, cause: int | None) -> None:
    assert q850(outcome, code, reason) == cause


def test_every_outcome_has_a_cause() -> None:
    for outcome in LegOutcome:
        assert q850(outcome, None, "") is not None


@pytest.mark.parametrize(
    ("outcome", "code", "by_us", "side"),
    [
        ("completed", 200, True, Side.GATEWAY),
        ("completed", 200, False, Side.PEER),
        ("completed", 200, None, Side.UNKNOWN),
        ("busy", 486, None, Side.PEER),
        ("cancelled", None, None, Side.GATEWAY),
        ("no_answer", None, True, Side.GATEWAY),
        ("lost", 408, False, Side.NETWORK),
        ("no_answer", None, "yes", Side.UNKNOWN),
    ],
)
def test_sides(outcome: str, code: int | None, by_us: object, side: Side) -> None:
    assert ended_by(outcome, code, by_us) is side
