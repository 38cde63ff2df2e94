from drivers.api.ids import CallId, LegId
from drivers.api.legs import LegRinging
from drivers.sip.backlog import Backlog


def event(at: float) -> LegRinging:
    return LegRinging(call=CallId("c"), leg=LegId("c.1"), at=at)


def test_keeps_what_nobody_acknowledged() -> None:
    log = Backlog()
    assert [log.append(event(i)) for i in range(3)] == [1, 2, 3]
    log.acknowledge(2)
    assert [seq for seq, _ in log.pending()] == [3]
    log.acknowledge(1)  # late
    assert len(log.pending()) == 1


def test_is_bounded_and_counts_what_it_lost() -> None:
    log = Backlog(limit=2)
    for i in range(5):
        log.append(event(i))
    assert [seq for seq, _ in log.pending()] == [4, 5]
    assert log.dropped == 3
