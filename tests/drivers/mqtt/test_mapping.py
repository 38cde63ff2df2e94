import json
from typing import Any

import msgspec
import pytest

from drivers.api.commands import (
    Command,
    DeviceCommand,
    EventState,
    ExpectCall,
    ShowText,
    Speak,
    TellEventState,
)
from drivers.api.events import (
    AlarmRaised,
    AnyTerminalEvent,
    CommandReplied,
    Datum,
    KeyPressed,
    Position,
    PresenceReported,
    PressCancelled,
    TelemetryReported,
)
from drivers.api.ids import EventId, IncidentId, TerminalId
from drivers.mqtt.mapping import expiry_s, to_down, to_event, to_presence, to_telemetry
from protocols.mqtt_payload import v1

T = TerminalId("T-1")
COMMON: dict[str, Any] = {"terminal": T, "event_id": EventId("e1"), "received_at": 9.0}
WHERE = v1.Position(lat=31.2, lon=121.5, accuracy_m=8, datum="gcj02", ts=1_500)
PLACE = Position(lat=31.2, lon=121.5, accuracy_m=8, datum=Datum.GCJ02, at=1.5)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (
            v1.Press(id="e1", ts=1_700_000_000_123, boot=4, key="sos", position=WHERE),
            KeyPressed(**COMMON, device_time=1_700_000_000.123, boot=4, key="sos", position=PLACE),
        ),
        (v1.Press(id="e1", key="taxi"), KeyPressed(**COMMON, key="taxi")),
        (
            v1.Alarm(id="e1", alarm="fall", code="A\r\n7", position=WHERE),
            AlarmRaised(**COMMON, alarm="fall", code="A  7", position=PLACE),
        ),
        (v1.Cancel(id="e1", of="e0"), PressCancelled(**COMMON, cancels=EventId("e0"))),
        (
            v1.Reply(id="e1", of="c1", ok=False, detail="no\u202egps"),
            CommandReplied(**COMMON, command_id="c1", ok=False, detail="nogps"),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_events(message: v1.Event, event: AnyTerminalEvent) -> None:
    assert to_event(T, message, received_at=9.0) == event


def test_telemetry() -> None:
    message = v1.Telemetry(ts=2_000, boot=1, battery=80, signal_dbm=-70, vitals={"pulse": 61.0})
    assert to_telemetry(T, message, received_at=9.0) == TelemetryReported(
        terminal=T,
        received_at=9.0,
        device_time=2.0,
        boot=1,
        battery=80,
        signal_dbm=-70,
        vitals={"pulse": 61.0},
    )


def test_presence() -> None:
    message = v1.State(online=False, boot=3, model="P1\x00")
    assert to_presence(T, message, received_at=9.0) == PresenceReported(
        terminal=T, received_at=9.0, online=False, boot=3, model="P1"
    )


@pytest.mark.parametrize(
    ("command", "channel", "payload", "expires_at"),
    [
        (
            TellEventState(
                event_id=EventId("e1"),
                state=EventState.COMMITTED,
                incident=IncidentId("i1"),
                text="收到",
            ),
            "ack",
            {"id": "e1", "state": "committed", "incident": "i1", "text": "收到", "ts": 100_500},
            None,
        ),
        (
            ShowText(message_id="m", text="x", expires_at=160.25),
            "display",
            {"id": "m", "text": "x", "expires": 160_250},
            160.25,
        ),
        (
            Speak(message_id="m", prompt="wait", lang="en", incident=IncidentId("i1")),
            "voice",
            {"id": "m", "prompt": "wait", "lang": "en", "incident": "i1"},
            None,
        ),
        (
            ExpectCall(message_id="m", incident=IncidentId("i1"), auto_answer_until=130.0),
            "call",
            {"id": "m", "incident": "i1", "auto_answer_until": 130_000},
            130.0,
        ),
        (
            DeviceCommand(command_id="c", name="volume", args={"level": 3}, expires_at=200.0),
            "command",
            {"id": "c", "name": "volume", "args": {"level": 3}, "expires": 200_000},
            200.0,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_commands(
    command: Command, channel: str, payload: dict[str, object], expires_at: float | None
) -> None:
    message = to_down(command, now=100.5)
    assert message.channel.value == channel
    sent = json.loads(message.payload)
    # The default language may be sent or left out: msgspec compares defaults by identity.
    assert {"lang": "zh-CN", **sent} == {"lang": "zh-CN", **payload}
    assert message.expires_at == expires_at


@pytest.mark.parametrize("state", list(EventState))
def test_every_state_is_in_the_contract(state: EventState) -> None:
    message = to_down(TellEventState(event_id=EventId("e1"), state=state), now=1.0)
    assert msgspec.json.decode(message.payload, type=v1.Ack).state == state.value


@pytest.mark.parametrize(
    ("expires_at", "seconds"), [(None, 3600), (110.2, 11), (99.0, 1), (1e12, 0xFFFFFFFF)]
)
def test_expiry(expires_at: float | None, seconds: int) -> None:
    assert expiry_s(expires_at, now=100.0, default_s=3600) == seconds
