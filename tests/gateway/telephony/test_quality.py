from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api.legs import StreamStats
from gateway.telephony.quality import (
    CODECS,
    delay_impairment,
    estimate,
    mos_of,
    quality_heard_by_party,
    quality_heard_by_us,
)


@pytest.mark.parametrize(
    ("r", "mos"), [(0, 1.0), (50, 2.58), (60, 3.10), (70, 3.60), (80, 4.02), (90, 4.34), (100, 4.5)]
)
def test_mos_is_that_of_g107_table_b1(r: float, mos: float) -> None:
    assert mos_of(r) == pytest.approx(mos, abs=0.005)


def test_a_clean_g711_call_is_very_good() -> None:
    stats = StreamStats(codec="PCMA", rx_packets=1000, tx_packets=1000, rtt_ms=10, jitter_ms=1)
    heard = quality_heard_by_us(stats)
    assert heard is not None
    assert heard.mos == pytest.approx(4.38, abs=0.03)
    assert heard.delay_ms == pytest.approx(27)


@pytest.mark.parametrize(
    ("loss", "r"),
    [(0.0, 93.2), (1.0, 93.2 - 95 / 26.1), (5.0, 93.2 - 475 / 30.1), (10.0, 93.2 - 950 / 35.1)],
)
def test_loss_follows_the_formula(loss: float, r: float) -> None:
    assert estimate(codec="PCMU", loss=loss, delay_ms=0) == pytest.approx(r)


def test_delay_hurts_more_beyond_the_knee() -> None:
    assert delay_impairment(100) == pytest.approx(2.4)
    assert delay_impairment(277.3) == pytest.approx(0.024 * 277.3 + 11)
    assert delay_impairment(-5) == 0


def test_each_direction_has_its_own_loss() -> None:
    stats = StreamStats(codec="PCMA", rx_packets=95, rx_lost=5, tx_packets=100, tx_lost=10)
    us, party = quality_heard_by_us(stats), quality_heard_by_party(stats)
    assert us is not None
    assert party is not None
    assert us.loss == pytest.approx(5)
    assert party.loss == pytest.approx(10)
    assert us.mos > party.mos


@pytest.mark.parametrize(
    "stats",
    [
        StreamStats(),
        StreamStats(codec="PCMA"),
        StreamStats(codec="opus", rx_packets=10, tx_packets=10),
        StreamStats(codec="PCMA", rx_packets=5, rx_lost=-9, tx_packets=-1),
    ],
)
def test_nothing_is_said_of_what_is_not_known(stats: StreamStats) -> None:
    assert quality_heard_by_us(stats) is None
    assert quality_heard_by_party(stats) is None


@given(
    st.sampled_from(sorted(CODECS)),
    st.lists(st.floats(0, 100), min_size=2, max_size=6),
    st.floats(0, 2000),
)
def test_more_loss_never_sounds_better(codec: str, losses: list[float], delay_ms: float) -> None:
    ratings = [estimate(codec=codec, loss=loss, delay_ms=delay_ms) for loss in sorted(losses)]
    scores = [mos_of(r) for r in ratings if r is not None]
    assert len(scores) == len(losses)
    assert all(1.0 <= score <= 4.5 for score in scores)
    assert all(after <= before + 1e-9 for before, after in pairwise(scores))
