import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api.legs import StreamStats
from gateway.cdr.records import CallCdr, call_cdr, leg_cdr, loss_pct, stats_of, talk_s
from gateway.incidents.model import LegRecord
from tests.gateway.cdr.made import START, call, leg


def record(*legs: LegRecord) -> CallCdr:
    return call_cdr(call(), legs, terminal="pendant-1", kind="sos")


def test_a_call_that_was_answered() -> None:
    made = record(
        leg("target-2", started_at=START + 22, answered_at=START + 25),
        leg("target-1", answered_at=None, ended_at=START + 21, outcome="no_answer", code=None),
        leg("terminal-1", answered_at=START + 10),
        leg("target-9", of="other"),
    )
    assert [one.leg for one in made.legs] == ["c1.target-1", "c1.terminal-1", "c1.target-2"]
    assert (made.direction, made.answered_at, made.setup_s) == ("out", START + 25, 25.0)
    assert made.talk_s == 25.0  # from the agent's answer to the end
    assert (made.terminal, made.kind, made.outcome) == ("pendant-1", "sos", "completed")


def test_a_call_that_came_in_and_nobody_took() -> None:
    made = record(leg("caller-1"), leg("target-1", answered_at=None, outcome="busy", code=486))
    assert (made.direction, made.answered_at, made.setup_s, made.talk_s) == ("in", None, None, 0.0)
    assert [one.direction for one in made.legs] == ["in", "out"]


def test_a_leg() -> None:
    heard: list[StreamStats] = []

    def mos(stats: StreamStats) -> float:
        heard.append(stats)
        return 4.1234

    made = leg_cdr(leg("target-1"), mos)
    assert (made.setup_s, made.talk_s, made.code, made.q850) == (4.0, 45.0, 200, 16)
    assert (made.rx_loss_pct, made.tx_loss_pct, made.jitter_ms) == (5.0, 1.0, 4.3)
    assert (made.codec, made.mos) == ("PCMA", 4.12)
    assert heard[0].rx_lost == 100


def test_a_leg_without_audio_has_no_quality() -> None:
    made = leg_cdr(leg("target-1", answered_at=None, stats={}), lambda _: 4.5)
    assert (made.mos, made.rx_loss_pct, made.tx_loss_pct, made.talk_s) == (None, None, None, 0.0)


def test_two_agents_talk_once() -> None:
    spoken = talk_s(
        [
            leg("terminal-1", answered_at=START, ended_at=START + 100),
            leg("target-1", answered_at=START + 10, ended_at=START + 40),
            leg("target-2", answered_at=START + 30, ended_at=START + 50),
            leg("target-3", answered_at=START + 90, ended_at=START + 200),
        ]
    )
    assert spoken == 50.0


@pytest.mark.parametrize(
    ("packets", "lost", "sent", "expected"),
    [(0, 0, False, None), (90, 10, False, 10.0), (100, 10, True, 10.0), (1, 500, True, 100.0)],
)
def test_loss(packets: int, lost: int, sent: bool, expected: float | None) -> None:  # noqa: FBT001 - a table's column
    assert loss_pct(packets, lost, sent=sent) == expected


@given(
    st.dictionaries(
        st.sampled_from(["codec", "rx_packets", "rx_lost", "tx_packets", "jitter_ms", "x"]),
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(-5, 10**12),
    )
)
def test_whatever_was_kept_is_readable(kept: dict[str, str | int | float | bool | None]) -> None:
    stats = stats_of(kept)
    assert stats.rx_packets >= 0
    assert stats.jitter_ms >= 0
    assert isinstance(stats.codec, str)


times = st.floats(START, START + 100)


@given(st.lists(st.tuples(st.booleans(), times, times), max_size=6))
def test_talk_is_never_longer_than_the_call(legs: list[tuple[bool, float, float]]) -> None:
    made = [
        leg("terminal-1" if ours else "target-1", answered_at=begin, ended_at=end)
        for ours, begin, end in legs
    ]
    assert 0 <= talk_s(made) <= 100
