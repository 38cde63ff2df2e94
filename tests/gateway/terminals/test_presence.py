import pytest

from drivers.api.events import PresenceReported, TelemetryReported
from drivers.api.ids import TerminalId
from gateway.config import PresenceConfig
from gateway.terminals.model import Presence
from gateway.terminals.presence import (
    Patience,
    Signs,
    after_report,
    after_telemetry,
    patience,
    presence,
)

LIMITS = Patience(late_s=600, offline_s=1500)
T = TerminalId("t")


def birth(boot: int, at: float = 100.0) -> PresenceReported:
    return PresenceReported(terminal=T, received_at=at, online=True, boot=boot)


def will(boot: int, at: float = 100.0) -> PresenceReported:
    return PresenceReported(terminal=T, received_at=at, online=False, boot=boot)


def measured(boot: int | None, at: float = 100.0) -> TelemetryReported:
    return TelemetryReported(terminal=T, received_at=at, boot=boot)


@pytest.mark.parametrize(
    ("signs", "now", "expected"),
    [
        (Signs(), 0, Presence.NEVER_SEEN),
        (Signs(0.0), 0, Presence.ONLINE),
        (Signs(0.0), 600, Presence.ONLINE),
        (Signs(0.0), 601, Presence.LATE),
        (Signs(0.0), 1500, Presence.LATE),
        (Signs(0.0), 1501, Presence.OFFLINE),
        (Signs(0.0, 1, gone=True), 1, Presence.OFFLINE),
        (Signs(None, 1, gone=True), 1, Presence.OFFLINE),
        (Signs(100.0), 0, Presence.ONLINE),  # the clock was set back
    ],
)
def test_presence_by_silence_and_will(signs: Signs, now: float, expected: Presence) -> None:
    assert presence(signs, LIMITS, now) is expected


def test_patience_is_in_heartbeats_of_the_model() -> None:
    config = PresenceConfig(heartbeat_s=300, models={"band": 60}, late_after=2, offline_after=5)
    assert patience(config, "band") == Patience(120, 300)
    assert patience(config, "unheard of") == Patience(600, 1500)


def test_will_of_the_same_boot_takes_it_offline_and_birth_brings_it_back() -> None:
    signs = after_report(after_report(Signs(), birth(7)), will(7))
    assert signs.gone
    assert not after_report(signs, birth(8)).gone


def test_will_of_an_older_boot_is_void() -> None:
    born = after_report(Signs(), birth(7))
    assert after_report(born, will(6)) == born


def test_will_before_any_birth_counts() -> None:
    assert after_report(Signs(), will(3)) == Signs(None, 3, gone=True)


def test_birth_with_a_reset_counter_is_life() -> None:
    assert after_report(Signs(50.0, 900), birth(1)) == Signs(100.0, 1)


def test_measurement_proves_life_even_after_a_will() -> None:
    gone = Signs(50.0, 7, gone=True)
    assert after_telemetry(gone, measured(7)) == Signs(100.0, 7)
    assert after_telemetry(gone, measured(None)) == Signs(100.0, 7)
    assert after_telemetry(gone, measured(8)) == Signs(100.0, 8)


def test_measurement_of_an_older_boot_proves_nothing() -> None:
    gone = Signs(50.0, 7, gone=True)
    assert after_telemetry(gone, measured(6)) == gone


def test_last_sign_never_goes_back() -> None:
    assert after_telemetry(Signs(500.0), measured(None)).last_seen_at == 500.0
