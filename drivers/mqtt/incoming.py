"""What every lane does with a message: read its topic, decode, or refuse with a reason."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from drivers.api.driver import DriverContext
from drivers.api.events import Refusal
from drivers.api.ids import TerminalId
from protocols.errors import DecodeError, DecodeReason
from protocols.mqtt_payload.topics import Up, parse_up
from protocols.text import clean_text

# Topics are parsed once per terminal, not once per message: 100,000 of them are 28 MB.
TOPICS_REMEMBERED = 100_000

T = TypeVar("T")


def read(
    ctx: DriverContext,
    channel: Up,
    topic: str | bytes | None,
    payload: bytes,
    decode: Callable[[bytes], T],
) -> tuple[TerminalId, T] | None:
    """Return terminal and decoded payload, or None after telling `ctx` why it was refused."""
    terminal: TerminalId | None = None
    try:
        terminal = _terminal(channel, topic)
        return terminal, decode(payload)
    except DecodeError as error:
        # The codec may quote the terminal's own words.
        ctx.refused(terminal, Refusal(error.reason.value), clean_text(error.detail))
        return None


@lru_cache(TOPICS_REMEMBERED)
def _terminal(channel: Up, topic: str | bytes | None) -> TerminalId:
    parsed = parse_up(_text(topic))
    if parsed.channel is not channel:
        raise DecodeError(DecodeReason.WRONG_TOPIC, f"not on {channel.value}")
    return TerminalId(parsed.terminal)


def _text(topic: str | bytes | None) -> str:
    try:
        text = topic.decode() if isinstance(topic, bytes) else topic
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise DecodeError(DecodeReason.WRONG_TOPIC, "topic is not UTF-8")
    return text
