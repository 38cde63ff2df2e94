from gateway.flows.timers import Timers
from tests.gateway.flows.fakes import ManualClock


def test_timers_fire_once_in_their_order() -> None:
    clock, fired = ManualClock(), list[str]()
    timers = Timers(clock.schedule, fired.append)
    timers.start("b", 2)
    timers.start("a", 1)
    clock.pass_by(5)
    assert fired == ["a", "b"]
    clock.pass_by(5)
    assert fired == ["a", "b"]


def test_a_timer_that_is_started_again_is_replaced() -> None:
    clock, fired = ManualClock(), list[str]()
    timers = Timers(clock.schedule, fired.append)
    timers.start("a", 1)
    timers.start("a", 3)
    clock.pass_by(2)
    assert fired == []
    clock.pass_by(1)
    assert fired == ["a"]


def test_stopped_timers_do_not_fire() -> None:
    clock, fired = ManualClock(), list[str]()
    timers = Timers(clock.schedule, fired.append)
    for name in "abc":
        timers.start(name, 1)
    timers.stop("a")
    timers.stop("unknown")
    timers.clear()
    clock.pass_by(2)
    assert fired == []
