import pytest

from drivers.api.legs import LegOutcome
from drivers.sip.outcomes import Ending, outcome_of, quoted, reason_header

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
