"""MQTT payloads version 1 to and from the gateway's vocabulary. Pure.

Milliseconds on the wire, seconds inside. Free text of a terminal is cleaned here, at the border.
"""

import math
from typing import NamedTuple

from drivers.api.commands import (
    Command,
    DeviceCommand,
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
from drivers.api.ids import EventId, TerminalId
from protocols.mqtt_payload import v1
from protocols.mqtt_payload.topics import Down
from protocols.text import clean_text

# As long as the contract allows `detail` to be.
MAX_DETAIL = 500


class DownMessage(NamedTuple):
    """What to publish: channel, payload, and when it loses its sense (Unix seconds) if it does."""

    channel: Down
    payload: bytes
    expires_at: float | None


def to_event(terminal: TerminalId, message: v1.Event, *, received_at: float) -> AnyTerminalEvent:
    """Return the event that `message` tells of."""
    event_id = EventId(message.id)
    at = _seconds(message.ts)
    match message:
        case v1.Press():
            return KeyPressed(
                terminal=terminal,
                event_id=event_id,
                received_at=received_at,
                device_time=at,
                boot=message.boot,
                key=message.key,
                position=_position(message.position),
            )
        case v1.Alarm():
            return AlarmRaised(
                terminal=terminal,
                event_id=event_id,
                received_at=received_at,
                device_time=at,
                boot=message.boot,
                alarm=message.alarm,
                code=clean_text(message.code),
                position=_position(message.position),
            )
        case v1.Cancel():
            return PressCancelled(
                terminal=terminal,
                event_id=event_id,
                received_at=received_at,
                device_time=at,
                boot=message.boot,
                cancels=EventId(message.of),
            )
        case v1.Reply():
            return CommandReplied(
                terminal=terminal,
                event_id=event_id,
                received_at=received_at,
                device_time=at,
                boot=message.boot,
                command_id=message.of,
                ok=message.ok,
                detail=clean_text(message.detail, limit=MAX_DETAIL),
                position=_position(message.position),
            )


def to_telemetry(
    terminal: TerminalId, message: v1.Telemetry, *, received_at: float
) -> TelemetryReported:
    """Return the measurements in `message`."""
    return TelemetryReported(
        terminal=terminal,
        received_at=received_at,
        device_time=_seconds(message.ts),
        boot=message.boot,
        battery=message.battery,
        signal_dbm=message.signal_dbm,
        position=_position(message.position),
        vitals=message.vitals,
    )


def to_presence(terminal: TerminalId, message: v1.State, *, received_at: float) -> PresenceReported:
    """Return the birth or will in `message`."""
    return PresenceReported(
        terminal=terminal,
        received_at=received_at,
        online=message.online,
        boot=message.boot,
        model=clean_text(message.model),
    )


def to_down(command: Command, *, now: float) -> DownMessage:
    """Return what to publish for `command` at `now` (Unix seconds)."""
    match command:
        case TellEventState():
            return DownMessage(Down.ACK, v1.encode(_ack(command, now)), None)
        case ShowText():
            return DownMessage(Down.DISPLAY, v1.encode(_display(command)), command.expires_at)
        case Speak():
            return DownMessage(Down.VOICE, v1.encode(_voice(command)), command.expires_at)
        case ExpectCall():
            return DownMessage(Down.CALL, v1.encode(_call(command)), command.auto_answer_until)
        case DeviceCommand():
            return DownMessage(Down.COMMAND, v1.encode(_command(command)), command.expires_at)


def expiry_s(expires_at: float | None, *, now: float, default_s: int) -> int:
    """Return the Message Expiry Interval (MQTT 5.0 §3.3.2.3.3) in whole seconds, at least 1."""
    if expires_at is None:
        return default_s
    return min(max(1, math.ceil(expires_at - now)), 0xFFFFFFFF)


def _ack(command: TellEventState, now: float) -> v1.Ack:
    return v1.Ack(
        id=command.event_id,
        state=command.state.value,
        incident=command.incident,
        text=command.text,
        reason=command.reason,
        ts=_millis(now),
    )


def _display(command: ShowText) -> v1.Display:
    return v1.Display(
        id=command.message_id,
        text=command.text,
        lang=command.lang,
        incident=command.incident,
        expires=_optional_millis(command.expires_at),
    )


def _voice(command: Speak) -> v1.Voice:
    return v1.Voice(
        id=command.message_id,
        prompt=command.prompt,
        text=command.text,
        lang=command.lang,
        incident=command.incident,
        expires=_optional_millis(command.expires_at),
    )


def _call(command: ExpectCall) -> v1.Call:
    return v1.Call(
        id=command.message_id,
        incident=command.incident,
        auto_answer_until=_millis(command.auto_answer_until),
    )


def _command(command: DeviceCommand) -> v1.Command:
    return v1.Command(
        id=command.command_id,
        name=command.name,
        args=dict(command.args),
        expires=_optional_millis(command.expires_at),
    )


def _position(position: v1.Position | None) -> Position | None:
    if position is None:
        return None
    return Position(
        lat=position.lat,
        lon=position.lon,
        accuracy_m=position.accuracy_m,
        datum=Datum(position.datum),
        at=_seconds(position.ts),
    )


def _seconds(millis: int | None) -> float | None:
    return None if millis is None else millis / 1000


def _millis(seconds: float) -> int:
    return round(seconds * 1000)


def _optional_millis(seconds: float | None) -> int | None:
    return None if seconds is None else _millis(seconds)
