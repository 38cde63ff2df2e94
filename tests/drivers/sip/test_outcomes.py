import pytest

from drivers.api.legs import LegOutcome
from drivers.sip.outcomes import (
    REJECTIONS,
    Ending,
    inbound_outcome_of,
    outcome_of,
    q850_of,
    quoted,
    reason_header,
)

O, E = LegOutcome, Ending  # noqa: E741  short names keep the table readable


@pytest.mark.parametrize(
    ("code", "answered", "rang", "ending", "outcome"),  # answered, rang: 0 or 1
    [
        (200, 1, 1, E.PEER, O.COMPLETED),
        (200, 1, 1, E.COMMAND, O.COMPLETED),
        (None, 1, 1, E.COMMAND, O.COMPLETED),
        (408, 1, 1, E.PEER, O.LOST),
        (481, 1, 0, E.PEER, O.LOST),
        (408, 1, 1, E.COMMAND, O.COMPLETED),  # our BYE was not answered
        (486, 0, 1, E.PEER, O.BUSY),
        (600, 0, 0, E.PEER, O.BUSY),
        (603, 0, 1, E.PEER, O.DECLINED),
        (403, 0, 0, E.PEER, O.DECLINED),
        (404, 0, 0, E.PEER, O.UNREACHABLE),
        (410, 0, 0, E.PEER, O.UNREACHABLE),
        (502, 0, 0, E.PEER, O.UNREACHABLE),
        (503, 0, 0, E.PEER, O.UNREACHABLE),
        (480, 0, 0, E.PEER, O.UNREACHABLE),
        (480, 0, 1, E.PEER, O.NO_ANSWER),
        (408, 0, 0, E.PEER, O.UNREACHABLE),
        (408, 0, 1, E.PEER, O.NO_ANSWER),
        (487, 0, 1, E.COMMAND, O.CANCELLED),
        (200, 0, 1, E.COMMAND, O.CANCELLED),  # the 200 crossed our CANCEL
        (487, 0, 1, E.RING_TIMEOUT, O.NO_ANSWER),
        (487, 0, 0, E.RING_TIMEOUT, O.UNREACHABLE),
        (None, 0, 0, E.NO_REPLY, O.UNREACHABLE),
        (487, 0, 1, E.PEER, O.FAILED),
        (488, 0, 0, E.PEER, O.FAILED),
        (500, 0, 0, E.PEER, O.FAILED),
        (302, 0, 0, E.PEER, O.FAILED),
        (None, 0, 0, E.PEER, O.FAILED),
    ],
)
def test_table(
    code: int | None, answered: int, rang: int, ending: Ending, outcome: LegOutcome
) -> None:
    got = outcome_of(code, answered=bool(answered), rang=bool(rang), ending=ending)
    assert got is outcome


def test_reason_header_cannot_be_broken_out_of() -> None:
    text = reason_header('a"b\\c\r\nX-Evil: 1', answered=True)
    assert text == 'Q.850;cause=16;text="a\\"b\\\\c  X-Evil: 1"'
    assert reason_header("x", answered=False) == 'SIP;cause=487;text="x"'


def test_quoted_is_cut_before_it_is_escaped() -> None:
    assert quoted('"' * 100, limit=3) == '"\\"\\"\\""'


@pytest.mark.parametrize(
    ("code", "ending", "verdict", "outcome"),
    [
        (487, E.PEER, None, O.CANCELLED),
        (488, E.PEER, None, O.FAILED),
        (None, E.PEER, None, O.FAILED),
        (486, E.REJECTION, O.BUSY, O.BUSY),
        (603, E.REJECTION, O.DECLINED, O.DECLINED),
        (480, E.UNDECIDED, None, O.NO_ANSWER),
        (503, E.DESERTED, None, O.UNREACHABLE),
        (480, E.COMMAND, None, O.CANCELLED),
    ],
)
def test_callers_who_were_not_answered(
    code: int | None, ending: Ending, verdict: LegOutcome | None, outcome: LegOutcome
) -> None:
    assert inbound_outcome_of(code, ending=ending, verdict=verdict) is outcome


def test_an_answer_nobody_confirmed_is_a_loss() -> None:
    assert outcome_of(200, answered=True, rang=False, ending=E.NO_ACK) is O.LOST


def test_every_rejection_has_a_code_of_its_own() -> None:
    assert len(set(REJECTIONS.values())) == len(REJECTIONS)
    assert all(400 <= code < 700 for code in REJECTIONS.values())


@pytest.mark.parametrize(
    ("reasons", "cause"),
    [
        ((), None),
        (["Q.850;cause=16"], 16),
        (['q.850 ; text="x" ; cause = 31'], 31),
        (['SIP;cause=200;text="answered elsewhere"'], None),
        (['SIP;cause=200;text="a", Q.850;cause=26'], 26),
        (["SIP;cause=487", 'Q.850;cause=17;text="busy"'], 17),
        (["Q.850;cause=128"], None),
        (["Q.850;cause=0"], None),
        (["Q.850;cause=1600"], None),
        (["Q.850"], None),
        ([";" * 100_000], None),
    ],
)
def test_causes_of_the_peer(reasons: list[str], cause: int | None) -> None:
    assert q850_of(reasons) == cause


def test_a_cause_of_ours() -> None:
    assert reason_header("", answered=False, cause=26) == "Q.850;cause=26"
    assert reason_header("x", answered=True, cause=31) == 'Q.850;cause=31;text="x"'
    assert reason_header("", answered=True) == "Q.850;cause=16"
