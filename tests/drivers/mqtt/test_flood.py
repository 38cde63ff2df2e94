from drivers.api.events import KeyPressed
from drivers.api.ids import EventId, TerminalId
from drivers.mqtt.config import FloodConfig
from drivers.mqtt.flood import FloodGuard

CONFIG = FloodConfig(burst=20, per_second=5, sos_burst=60, sos_per_second=10, terminals=100)


def press(n: int, *, key: str = "taxi", terminal: str = "T-1") -> KeyPressed:
    return KeyPressed(
        terminal=TerminalId(terminal), event_id=EventId(f"e{n}"), received_at=0.0, key=key
    )


def passed(guard: FloodGuard, count: int, now: float, *, key: str, start: int = 0) -> int:
    events = (press(n, key=key) for n in range(start, start + count))
    return sum(guard.admits(event, now, redelivered=False) for event in events)


def test_a_burst_passes_and_a_flood_does_not() -> None:
    guard = FloodGuard(CONFIG)
    assert passed(guard, 100, 0.0, key="taxi") == 20
    assert passed(guard, 100, 2.0, key="taxi") == 10
    assert passed(guard, 100, 1e6, key="taxi") == 20


def test_sos_passes_when_other_keys_no_longer_do() -> None:
    guard = FloodGuard(CONFIG)
    passed(guard, 100, 0.0, key="taxi")
    assert guard.admits(press(1000, key="sos"), 0.0, redelivered=False)
    assert passed(guard, 500, 0.0, key="sos", start=2000) == 59


def test_a_repeat_of_a_committed_sos_is_no_new_press() -> None:
    guard = FloodGuard(CONFIG)
    passed(guard, 100, 0.0, key="taxi")
    sos = press(1, key="sos")
    assert guard.admits(sos, 0.0, redelivered=False)
    assert guard.admits(sos, 0.0, redelivered=False)  # not committed yet: may be the only copy
    guard.committed(sos)
    assert not guard.admits(sos, 0.0, redelivered=False)
    assert guard.admits(press(2, key="sos"), 0.0, redelivered=False)


def test_a_redelivered_sos_always_passes() -> None:
    guard = FloodGuard(CONFIG)
    assert passed(guard, 500, 0.0, key="sos") == 80
    assert guard.admits(press(900, key="sos"), 0.0, redelivered=True)
    assert not guard.admits(press(901, key="taxi"), 0.0, redelivered=True)


def test_terminals_do_not_share() -> None:
    guard = FloodGuard(CONFIG)
    passed(guard, 100, 0.0, key="taxi")
    assert guard.admits(press(1, terminal="T-2"), 0.0, redelivered=False)


def test_it_forgets_the_longest_silent_terminal() -> None:
    guard = FloodGuard(CONFIG)
    for n in range(1000):
        guard.admits(press(1, terminal=f"T-{n}"), 0.0, redelivered=False)
        guard.admits(press(1, terminal="T-often"), 0.0, redelivered=False)
    assert len(guard) == 100
    assert not guard.admits(press(1, terminal="T-often"), 0.0, redelivered=False)
