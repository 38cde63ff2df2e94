"""Topic names `onekey/v1/{terminal_id}/{direction}/{channel}`, built and parsed.

Terminal ids are restricted to characters that mean nothing to MQTT (OASIS MQTT 5.0 §4.7), SIP
(RFC 3261 §25.1 user part) or a file system.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from protocols.errors import DecodeError, DecodeReason, LocalUseError

ROOT = "onekey/v1"

# 64 covers an IMEI (15), a MAC (17), a UUID (36) and a maker's serial number with its prefix.
MAX_TERMINAL_ID = 64
_TERMINAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


class Up(StrEnum):
    """Channels a terminal writes."""

    EVENT = "event"
    TELEMETRY = "telemetry"
    STATE = "state"


class Down(StrEnum):
    """Channels the gateway writes."""

    ACK = "ack"
    DISPLAY = "display"
    VOICE = "voice"
    REQUEST = "request"
    CALL = "call"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class UpTopic:
    """A parsed `…/up/…` topic."""

    terminal: str
    channel: Up


def is_terminal_id(text: str) -> bool:
    """Tell whether `text` may name a terminal."""
    return _TERMINAL_ID.fullmatch(text) is not None


def up_filter(channel: Up) -> str:
    """Return the subscription that receives one channel of every terminal."""
    return f"{ROOT}/+/up/{channel.value}"


def up_topic(terminal: str, channel: Up) -> str:
    """Return the topic on which `terminal` publishes `channel`."""
    return f"{ROOT}/{_checked(terminal)}/up/{channel.value}"


def down_topic(terminal: str, channel: Down) -> str:
    """Return the topic on which `terminal` receives `channel`."""
    return f"{ROOT}/{_checked(terminal)}/down/{channel.value}"


def parse_up(topic: str) -> UpTopic:
    """Split a topic that a terminal wrote; raises DecodeError when it is not one of ours."""
    parts = topic.split("/")
    if len(parts) != 5 or parts[0] != "onekey" or parts[1] != "v1" or parts[3] != "up":
        raise DecodeError(DecodeReason.WRONG_TOPIC, "not onekey/v1/{terminal}/up/{channel}")
    if not is_terminal_id(parts[2]):
        raise DecodeError(
            DecodeReason.WRONG_TOPIC, "terminal id has characters that are not allowed"
        )
    try:
        channel = Up(parts[4])
    except ValueError as error:
        raise DecodeError(DecodeReason.WRONG_TOPIC, "no such up channel") from error
    return UpTopic(parts[2], channel)


def _checked(terminal: str) -> str:
    if not is_terminal_id(terminal):
        raise LocalUseError(f"not a terminal id: {terminal[:80]!r}")
    return terminal
