"""Messages from the gateway, decoded as a terminal does."""

import msgspec

from protocols.mqtt_payload.topics import ROOT, Down
from protocols.mqtt_payload.v1 import MAX_PAYLOAD, Ack, Call, Command, Display, DownMessage, Voice


class BadDown(Exception):
    """The gateway sent something that the contract does not know."""


_DECODERS: dict[Down, msgspec.json.Decoder[DownMessage]] = {
    Down.ACK: msgspec.json.Decoder(Ack),
    Down.DISPLAY: msgspec.json.Decoder(Display),
    Down.VOICE: msgspec.json.Decoder(Voice),
    Down.CALL: msgspec.json.Decoder(Call),
    Down.COMMAND: msgspec.json.Decoder(Command),
}


def decode_down(topic: str, payload: bytes) -> tuple[Down, DownMessage]:
    """Return channel and message of `onekey/v1/{terminal}/down/{channel}`; raises BadDown."""
    parts = topic.removeprefix(ROOT + "/").split("/")
    if len(parts) != 3 or parts[1] != "down":
        raise BadDown(f"not a down topic: {topic[:80]!r}")
    try:
        channel = Down(parts[2])
        decoder = _DECODERS[channel]
    except (ValueError, KeyError):
        raise BadDown(f"no such down channel: {parts[2][:40]!r}") from None
    if len(payload) > MAX_PAYLOAD:
        raise BadDown(f"{len(payload)} bytes on {channel.value}")
    try:
        return channel, decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadDown(f"{channel.value}: {error}") from error
