"""Payloads of the MQTT contract, version 1: UTF-8 JSON objects, unknown fields ignored.

Unknown fields are ignored so that a newer terminal works with an older gateway; a known field of
the wrong type is refused with a reason. Times are integers: milliseconds since 1970-01-01T00:00Z.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from protocols.errors import DecodeError, DecodeReason

# A press is about 200 bytes and telemetry with vitals and cells below 2 KiB; 16 KiB leaves room
# for a maker's own fields and bounds what a flood can cost.
MAX_PAYLOAD = 16 * 1024

# ULID (26) and UUID (36) fit; the pattern keeps ids safe in logs, SIP headers and URLs.
Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Word = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # year 9999
Boot = Annotated[int, Meta(ge=0, le=2**53)]  # grows with each start: a counter or Unix seconds
Text = Annotated[str, Meta(max_length=500)]


class Position(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the terminal is: degrees, metres. `datum` keeps GCJ-02 apart from WGS-84."""

    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    accuracy_m: Annotated[float, Meta(ge=0, le=1e7)] | None = None
    datum: Literal["wgs84", "gcj02"] = "wgs84"
    ts: Millis | None = None


class _UpEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    id: Id
    ts: Millis | None = None
    boot: Boot | None = None


class Press(_UpEvent, frozen=True, tag="press"):
    """A key was pressed: `sos`, `hospital`, `taxi`, `service`, …"""

    key: Word
    position: Position | None = None
    held_ms: Annotated[int, Meta(ge=0, le=600_000)] | None = None


class Alarm(_UpEvent, frozen=True, tag="alarm"):
    """The terminal noticed something by itself: `fall`, `low_battery`, `taken_off`, `smoke`, …"""

    alarm: Word
    code: Annotated[str, Meta(max_length=64)] = ""
    position: Position | None = None


class Cancel(_UpEvent, frozen=True, tag="cancel"):
    """The person took a press back (during or after the pre-alarm)."""

    of: Id


class Reply(_UpEvent, frozen=True, tag="reply"):
    """Answer to a `down/command`."""

    of: Id
    ok: bool
    detail: Text = ""
    position: Position | None = None


Event = Press | Alarm | Cancel | Reply


class Telemetry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A heartbeat with whatever the terminal measures. Battery in per cent, signal in dBm."""

    ts: Millis | None = None
    boot: Boot | None = None
    battery: Annotated[int, Meta(ge=0, le=100)] | None = None
    signal_dbm: Annotated[int, Meta(ge=-200, le=0)] | None = None
    position: Position | None = None
    vitals: Annotated[dict[Word, float], Meta(max_length=16)] = {}


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Birth (`online` true, retained) and will (`online` false) of a terminal's connection."""

    online: bool
    boot: Boot
    model: Annotated[str, Meta(max_length=64)] = ""
    firmware: Annotated[str, Meta(max_length=64)] = ""
    ts: Millis | None = None


class Ack(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the event `id`: committed → ringing → answered → closed, or refused."""

    id: str
    state: Literal["committed", "ringing", "answered", "waiting", "closed", "refused"]
    incident: str | None = None
    text: str = ""
    reason: str = ""
    ts: Millis | None = None


class Display(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Text to show until `expires`."""

    id: str
    text: str
    lang: str = "zh-CN"
    incident: str | None = None
    expires: Millis | None = None


class Voice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt to play, by name (stored on the terminal) or as text to speak."""

    id: str
    prompt: str = ""
    text: str = ""
    lang: str = "zh-CN"
    incident: str | None = None
    expires: Millis | None = None


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Expect a call: answer by yourself a call that arrives before `auto_answer_until`."""

    id: str
    incident: str
    auto_answer_until: Millis


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Do something now: `locate`, `ring`, `volume`, `config`, `reboot`. Answered by `reply`."""

    id: str
    name: str
    args: dict[str, Any] = {}
    expires: Millis | None = None


DownMessage = Ack | Display | Voice | Call | Command

T = TypeVar("T")
_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_telemetry_decoder = msgspec.json.Decoder(Telemetry)
_state_decoder = msgspec.json.Decoder(State)
_encoder = msgspec.json.Encoder()


def decode_event(payload: bytes) -> Event:
    """Decode an `up/event` payload; raises DecodeError and nothing else."""
    return _decode(_event_decoder, payload)


def decode_telemetry(payload: bytes) -> Telemetry:
    """Decode an `up/telemetry` payload; raises DecodeError and nothing else."""
    return _decode(_telemetry_decoder, payload)


def decode_state(payload: bytes) -> State:
    """Decode an `up/state` payload; raises DecodeError and nothing else."""
    return _decode(_state_decoder, payload)


def encode(message: DownMessage | Event | Telemetry | State) -> bytes:
    """Encode any message of the contract as UTF-8 JSON."""
    return _encoder.encode(message)


def _decode(decoder: "msgspec.json.Decoder[T]", payload: bytes) -> T:
    if len(payload) > MAX_PAYLOAD:
        raise DecodeError(DecodeReason.TOO_LARGE, f"{len(payload)} bytes")
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        text = str(error)
        unknown = text.startswith("Invalid value") and text.endswith("`$.type`")
        reason = DecodeReason.UNKNOWN_TYPE if unknown else DecodeReason.WRONG_SHAPE
        raise DecodeError(reason, text) from error
    except msgspec.DecodeError as error:
        raise DecodeError(DecodeReason.NOT_JSON, str(error)) from error
    except UnicodeDecodeError as error:
        raise DecodeError(DecodeReason.NOT_UTF8, str(error)) from error
    except RecursionError as error:
        raise DecodeError(DecodeReason.NOT_JSON, "nested too deeply") from error
