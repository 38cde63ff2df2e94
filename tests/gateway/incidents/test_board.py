from dataclasses import replace

from drivers.api.ids import EventId, IncidentId, TerminalId
from gateway.incidents.board import OpenBoard
from gateway.incidents.ids import IncidentIds
from gateway.incidents.kinds import KindLabels
from gateway.incidents.model import Incident
from gateway.incidents.states import IncidentState
from gateway.metrics import Metrics
from tests.gateway.incidents.conftest import START, ManualClock

CASE = Incident(
    id=IncidentId("i"), terminal=TerminalId("t"), kind="sos", event="press",
    state=IncidentState.OPEN, flags=frozenset(), site=None, event_id=EventId("e"),
    pressed_at=START, received_at=START, opened_at=START,
)  # fmt: skip


def test_age_ends_with_the_answer_and_not_with_an_alarm() -> None:
    clock = ManualClock()
    board = OpenBoard(Metrics(), clock)
    assert board.oldest_unanswered_s() == 0
    board.see(CASE)
    clock.now += 7
    assert board.oldest_unanswered_s() == 7
    board.see(replace(CASE, state=IncidentState.UNANSWERED))
    assert board.oldest_unanswered_s() == 7
    board.see(replace(CASE, state=IncidentState.ANSWERED, answered_at=START))
    assert board.oldest_unanswered_s() == 0
    board.see(replace(CASE, state=IncidentState.ALERTING, answered_at=START))  # rung again
    assert board.oldest_unanswered_s() == 0


def test_age_is_never_negative() -> None:
    clock = ManualClock()
    board = OpenBoard(Metrics(), clock)
    board.see(CASE)
    clock.now -= 100
    assert board.oldest_unanswered_s() == 0


def test_kinds_are_a_closed_set() -> None:
    labels = KindLabels(["sos"], ["charging"])
    assert [labels.label(kind) for kind in ("sos", "fall", "charging", "x1", "")] == [
        "sos", "fall", "charging", "other", "other",
    ]  # fmt: skip


def test_ids_grow_even_when_the_clock_goes_back() -> None:
    ids = IncidentIds()
    made = [ids.make(START + offset) for offset in (0, 0, 5, -100, 6)]
    assert made == sorted(made)
    assert len(set(made)) == 5
