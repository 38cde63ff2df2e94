"""The template's lines to and from the gateway's vocabulary. Pure: no socket, clock or logger.

A real wire format has its codec in `protocols/<name>/`, with golden bytes and a fuzz test; this
one is small enough to live here.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from drivers.api.commands import Command, ShowText, TellEventState
from drivers.api.errors import Unsupported
from drivers.api.events import KeyPressed, TelemetryReported
from drivers.api.ids import EventId, TerminalId
from protocols.errors import DecodeError, DecodeReason

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Word = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]


class Hello(Struct, frozen=True, tag="hello"):
    """The first line of a connection: who it is."""

    terminal: Id


class Press(Struct, frozen=True, tag="press"):
    """A key was pressed; `at` in Unix seconds."""

    id: Id
    key: Word
    at: float | None = None


class Beat(Struct, frozen=True, tag="beat"):
    """A sign of life; battery in per cent."""

    battery: Annotated[int, Meta(ge=0, le=100)] | None = None


Line = Hello | Press | Beat
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def decode(line: bytes) -> Line:
    """Decode one line without its end; raises DecodeError and nothing else."""
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError as error:
        unknown = str(error).endswith("`$.type`") and str(error).startswith("Invalid value")
        reason = DecodeReason.UNKNOWN_TYPE if unknown else DecodeReason.WRONG_SHAPE
        raise DecodeError(reason, str(error)) from error
    except msgspec.DecodeError as error:
        raise DecodeError(DecodeReason.NOT_JSON, str(error)) from error
    except UnicodeDecodeError as error:
        raise DecodeError(DecodeReason.NOT_UTF8, str(error)) from error
    except RecursionError as error:
        raise DecodeError(DecodeReason.NOT_JSON, "nested too deeply") from error


def to_press(terminal: TerminalId, press: Press, *, received_at: float) -> KeyPressed:
    """Return the event of a press."""
    return KeyPressed(
        terminal=terminal,
        event_id=EventId(press.id),
        received_at=received_at,
        device_time=press.at,
        key=press.key,
    )


def to_telemetry(terminal: TerminalId, beat: Beat, *, received_at: float) -> TelemetryReported:
    """Return the measurements of a beat."""
    return TelemetryReported(terminal=terminal, received_at=received_at, battery=beat.battery)


def encode_received(event_id: EventId) -> bytes:
    """Return the line that says: committed, do not repeat it."""
    return _line({"type": "received", "id": event_id})


def encode_command(command: Command) -> bytes:
    """Return the line for a command; raises Unsupported for what this terminal cannot do."""
    match command:
        case TellEventState():
            return _line({"type": "state", "id": command.event_id, "state": command.state.value})
        case ShowText():
            return _line({"type": "show", "text": command.text})
        case _:
            raise Unsupported(f"template terminals know no {type(command).__name__}")


def _line(fields: dict[str, str]) -> bytes:
    return msgspec.json.encode(fields) + b"\n"
