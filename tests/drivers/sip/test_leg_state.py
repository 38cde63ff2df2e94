from itertools import product

import pytest

from drivers.api.ids import CallId, LegId
from drivers.api.legs import LegOutcome, LegState, StreamStats
from drivers.sip.leg_state import (
    TRANSITIONS,
    LegRecord,
    Reception,
    Signal,
    UndeclaredTransition,
    step,
    total,
)
from drivers.sip.outcomes import Ending


def record() -> LegRecord:
    return LegRecord(call=CallId("c"), leg=LegId("c.1"), uri="sip:a@b")


def test_a_call() -> None:
    leg = record()
    assert leg.apply(Signal.ALERTING)
    assert not leg.apply(Signal.ALERTING)
    assert leg.apply(Signal.CONFIRMED)
    assert leg.apply(Signal.GONE)
    assert not leg.apply(Signal.GONE)
    end = leg.ended(at=1.0, code=200, reason="Bye\r\nnow", talk_s=3.0)
    assert (end.outcome, end.talk_s, end.by_us) == (LegOutcome.COMPLETED, 3.0, False)
    assert end.reason == "Bye  now"


def test_an_answer_that_crosses_our_cancel_does_not_count() -> None:
    leg = record()
    leg.ending = Ending.COMMAND
    assert leg.apply(Signal.CONFIRMED)
    leg.apply(Signal.GONE)
    end = leg.ended(at=1.0, code=200, reason="", talk_s=0.1)
    assert (end.outcome, end.talk_s, end.by_us) == (LegOutcome.CANCELLED, 0.0, True)


def test_undeclared_pairs_raise() -> None:
    undeclared = [p for p in product(LegState, Signal) if p not in TRANSITIONS]
    assert undeclared
    for state, signal in undeclared:
        with pytest.raises(UndeclaredTransition):
            step(state, signal)


def test_nothing_leaves_the_end() -> None:
    assert {to for (state, _), to in TRANSITIONS.items() if state is LegState.ENDED} == {
        LegState.ENDED
    }


def test_streams_add_up() -> None:
    first = StreamStats(codec="PCMA", rx_packets=10, rx_lost=1, tx_packets=9, jitter_ms=2, rtt_ms=5)
    second = StreamStats(rx_packets=5, tx_packets=4, tx_lost=2, jitter_ms=1)
    assert total(first, second) == StreamStats(
        codec="PCMA", rx_packets=15, rx_lost=1, tx_packets=13, tx_lost=2, jitter_ms=1, rtt_ms=5
    )


def test_reception_is_lost_and_found() -> None:
    look = Reception()
    assert not look.changed(10, 100.0, 5)
    assert not look.changed(10, 104.9, 5)
    assert look.changed(10, 105.0, 5)
    assert not look.receiving
    assert not look.changed(10, 106.0, 5)
    assert look.changed(11, 107.0, 5)
    assert look.receiving


def test_reception_waits_anew_after_a_hold() -> None:
    look = Reception()
    look.changed(10, 100.0, 5)
    look.restart()
    assert not look.changed(10, 110.0, 5)
