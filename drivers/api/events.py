"""What terminals say, in one vocabulary for all drivers. Times are Unix seconds (float)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from drivers.api.ids import EventId, IncidentId, TerminalId


class Datum(StrEnum):
    """Coordinate system; GCJ-02 is what Chinese maps use and is up to 500 m off WGS-84."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"


# Positions and measurements are msgspec structs because they come by the ten thousand a second:
# a Position costs 0.9 µs to make as a frozen dataclass and 0.2 as a struct (docs/benchmarks.md).
class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Degrees and metres; `at` is the time of the fix if the terminal gave it."""

    lat: float
    lon: float
    accuracy_m: float | None = None
    datum: Datum = Datum.WGS84
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalEvent:
    """Common part: `event_id` is the terminal's own and unique per terminal."""

    terminal: TerminalId
    event_id: EventId
    received_at: float
    device_time: float | None = None
    boot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPressed(TerminalEvent):
    """A person pressed a key: `sos`, `hospital`, `taxi`, `service`, …"""

    key: str
    position: Position | None = None
    calling: bool = False  # the press is a call: the terminal's voice is on its way to us


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRaised(TerminalEvent):
    """The terminal noticed something by itself. `code` is the maker's own, for unmapped alarms."""

    alarm: str
    code: str = ""
    position: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PressCancelled(TerminalEvent):
    """The person took a press back; `cancels` is the event id of that press."""

    cancels: EventId


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReplied(TerminalEvent):
    """Answer to a DeviceCommand."""

    command_id: str
    ok: bool
    detail: str = ""
    position: Position | None = None


AnyTerminalEvent = KeyPressed | AlarmRaised | PressCancelled | CommandReplied


class TelemetryReported(msgspec.Struct, frozen=True, kw_only=True):
    """A heartbeat with whatever was measured; battery in per cent, signal in dBm."""

    terminal: TerminalId
    received_at: float
    device_time: float | None = None
    boot: int | None = None
    battery: int | None = None
    signal_dbm: int | None = None
    position: Position | None = None
    vitals: Mapping[str, float] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceReported:
    """Birth or will of a terminal. A will whose `boot` is older than the last birth is void."""

    terminal: TerminalId
    received_at: float
    online: bool
    boot: int
    model: str = ""


class Refusal(StrEnum):
    """Why a message was refused; closed, because it is a metric label."""

    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    UNKNOWN_TYPE = "unknown_type"
    WRONG_TOPIC = "wrong_topic"
    RETAINED = "retained"
    FLOOD = "flood"
    INTERNAL = "internal"  # a defect of ours: logged in full, and the terminal repeats


class ReceiptOutcome(StrEnum):
    """What the gateway did with an event; closed, a metric label."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Returned only after the commit: the driver may now acknowledge to the network."""

    outcome: ReceiptOutcome
    incident: IncidentId | None
