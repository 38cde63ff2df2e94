"""What a driver says reaches the right part, counted under the driver's name."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from drivers.api.errors import StoreUnavailable
from drivers.api.events import (
    AnyTerminalEvent,
    KeyPressed,
    PresenceReported,
    Receipt,
    ReceiptOutcome,
    Refusal,
    TelemetryReported,
)
from drivers.api.ids import EventId, TerminalId
from gateway.clock import SystemClock
from gateway.driver_port import DriverPort
from gateway.metrics import Metrics

HOME = TerminalId("home")
PRESS = KeyPressed(terminal=HOME, event_id=EventId("e1"), received_at=12.0, boot=3, key="sos")


@dataclass
class Everything:
    """Pipeline, tracker and health board in one, writing down what they are told."""

    submitted: list[tuple[str, AnyTerminalEvent]] = field(default_factory=list)
    signs: list[tuple[str, float, int | None]] = field(default_factory=list)
    batches: list[Sequence[TelemetryReported]] = field(default_factory=list)
    reports: list[PresenceReported] = field(default_factory=list)
    links: list[tuple[str, str, bool]] = field(default_factory=list)
    down: bool = False

    async def take(self, driver: str, event: AnyTerminalEvent) -> Receipt:
        if self.down:
            raise StoreUnavailable("down")
        self.submitted.append((driver, event))
        return Receipt(outcome=ReceiptOutcome.ACCEPTED, incident=None)

    def telemetry(self, batch: Sequence[TelemetryReported]) -> None:
        self.batches.append(batch)

    def presence(self, report: PresenceReported) -> None:
        self.reports.append(report)

    def seen(self, terminal: TerminalId, at: float, boot: int | None) -> None:
        self.signs.append((terminal, at, boot))


@pytest.fixture
def house() -> Everything:
    return Everything()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def port(house: Everything, metrics: Metrics) -> DriverPort:
    return DriverPort(
        "mqtt",
        pipeline=house,  # type: ignore[arg-type] # its `take` is all that the port uses
        tracker=house,
        metrics=metrics,
        clock=SystemClock(),
        on_link=lambda driver, name, up: house.links.append((driver, name, up)),
    )


async def test_an_event_is_a_sign_of_life_and_goes_to_the_pipeline(
    port: DriverPort, house: Everything
) -> None:
    receipt = await port.submit(PRESS)
    assert receipt.outcome is ReceiptOutcome.ACCEPTED
    assert house.submitted == [("mqtt", PRESS)]
    assert house.signs == [(HOME, 12.0, 3)]


async def test_a_store_that_is_away_is_the_drivers_to_know(
    port: DriverPort, house: Everything
) -> None:
    house.down = True
    with pytest.raises(StoreUnavailable):
        await port.submit(PRESS)
    assert len(house.signs) == 1, "the terminal lives all the same"


def test_measurements_and_presence_go_to_the_tracker(
    port: DriverPort, house: Everything, metrics: Metrics
) -> None:
    batch = [TelemetryReported(terminal=HOME, received_at=1.0, battery=n) for n in range(3)]
    report = PresenceReported(terminal=HOME, received_at=1.0, online=True, boot=1)
    port.telemetry(batch)
    port.presence(report)
    assert house.batches == [batch]
    assert house.reports == [report]
    assert metrics.registry.get_sample_value(
        "onekey_telemetry_received_total", {"driver": "mqtt"}
    ) == len(batch)


@pytest.mark.parametrize("reason", Refusal)
def test_a_refusal_is_counted_by_its_reason_and_its_text_is_cleaned(
    port: DriverPort, metrics: Metrics, reason: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    port.refused(TerminalId("ho\x1bme"), reason, "line\r\nbreak")
    port.refused(None, reason, "")
    labels = {"driver": "mqtt", "reason": reason.value}
    assert metrics.registry.get_sample_value("onekey_messages_refused_total", labels) == 2
    said = capsys.readouterr().out
    assert "\x1bme" not in said
    assert "\nbreak" not in said


def test_a_link_is_shown_in_metrics_and_health(
    port: DriverPort, house: Everything, metrics: Metrics
) -> None:
    labels = {"driver": "mqtt", "link": "mqtt.events"}
    for up in (True, False):
        port.link("mqtt.events", up=up)
        value = metrics.registry.get_sample_value("onekey_driver_link_up", labels)
        assert value == float(up)
    assert house.links == [("mqtt", "mqtt.events", True), ("mqtt", "mqtt.events", False)]
