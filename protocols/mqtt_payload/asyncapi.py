"""The MQTT contract as an AsyncAPI 3.0 document, made from the codec's own types. Pure.

The application that the document describes is a *terminal*: it sends on `up`, receives on `down`.
`make docs` writes it to `docs/asyncapi.yaml`; a test fails when the two differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from protocols.mqtt_payload import v1
from protocols.mqtt_payload.topics import MAX_TERMINAL_ID, ROOT, Down, Up

# https://github.com/asyncapi/bindings/tree/master/mqtt
BINDING_VERSION: Final = "0.2.0"
SCHEMAS: Final = "#/components/schemas/{name}"

_AT: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z, so that examples never change
_ID: Final = "01KDVDNA00M71DEW7239DTCWWN"
_INCIDENT: Final = "01KDVDNA0CE5K2H9VJ7N3D8FPA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel: its messages by type with an example of each, and how MQTT carries it."""

    summary: str
    examples: tuple[msgspec.Struct, ...]
    qos: tuple[int, ...] = (1,)
    retain: bool = False
    expires: bool = False

    @property
    def types(self) -> tuple[type[msgspec.Struct], ...]:
        """Return the types of the channel's messages."""
        return tuple(dict.fromkeys(type(example) for example in self.examples))


CHANNELS: Final[Mapping[Up | Down, Channel]] = {
    Up.EVENT: Channel(
        summary="Key presses, alarms, cancellations and replies. Repeated until acknowledged.",
        examples=(
            v1.Press(
                id=_ID,
                ts=_AT,
                boot=42,
                key="sos",
                position=v1.Position(lat=31.2304, lon=121.4737, accuracy_m=12.0, ts=_AT - 30_000),
            ),
            v1.Alarm(id="01KDVDNA00Q3T9Z6N1W8CX5R2B", ts=_AT, boot=42, alarm="fall"),
            v1.Cancel(id="01KDVDNDX0B7J4V2S8K1H6E3YF", ts=_AT + 4_000, boot=42, of=_ID),
            v1.Reply(id="01KDVDNDX1P5A9D3G7R2M4W8QT", of="cmd-7", ok=True, detail="volume 8"),
        ),
    ),
    Up.TELEMETRY: Channel(
        summary="Heartbeat with whatever the terminal measures. Never a press.",
        examples=(
            v1.Telemetry(ts=_AT, boot=42, battery=87, signal_dbm=-79, vitals={"heart_rate": 72.0}),
        ),
        qos=(0, 1),
    ),
    Up.STATE: Channel(
        summary="Birth after each connect, and the will. Retained.",
        examples=(
            v1.State(online=True, boot=42, model="SOS-100", firmware="1.4.2", ts=_AT),
            v1.State(online=False, boot=42),
        ),
        retain=True,
    ),
    Down.ACK: Channel(
        summary="What became of an event. Only `committed` (or later) ends the repeating.",
        examples=(
            v1.Ack(id=_ID, state="committed", incident=_INCIDENT, ts=_AT + 12),
            v1.Ack(id=_ID, state="answered", incident=_INCIDENT, ts=_AT + 6_000),
        ),
        expires=True,
    ),
    Down.DISPLAY: Channel(
        summary="Text to show until it expires.",
        examples=(
            v1.Display(
                id="msg-1",
                text="救护车四分钟到 / ambulance in 4 minutes",
                incident=_INCIDENT,
                expires=_AT + 300_000,
            ),
        ),
        expires=True,
    ),
    Down.VOICE: Channel(
        summary="A prompt to play, by name or as text to speak.",
        examples=(v1.Voice(id="msg-2", prompt="waiting", incident=_INCIDENT),),
        expires=True,
    ),
    Down.CALL: Channel(
        summary="Expect a call: answer by yourself until the given time.",
        examples=(v1.Call(id="msg-3", incident=_INCIDENT, auto_answer_until=_AT + 45_000),),
        expires=True,
    ),
    Down.COMMAND: Channel(
        summary="Do something now; answered by a `reply` on `up/event`.",
        examples=(v1.Command(id="cmd-7", name="volume", args={"level": 8}, expires=_AT + 60_000),),
        expires=True,
    ),
}

_DESCRIPTION: Final = f"""\
The contract for one-key terminals. In plain words, with the walk of a press and lines to try it
out: docs/terminals/mqtt-contract.md.

Payloads are UTF-8 JSON objects of at most {v1.MAX_PAYLOAD} bytes. Unknown fields are ignored, a
known field of the wrong type is refused. Times are milliseconds since 1970-01-01T00:00Z. The topic
`{ROOT}/{{terminalId}}/down/request` is reserved; nothing is sent there yet.
"""


def document() -> dict[str, Any]:
    """Return the document as plain JSON values, in the order in which it is to be written."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "One-key terminal",
            "version": "1.0.0",
            "description": _DESCRIPTION,
            "license": {"name": "GPL-2.0-or-later"},
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _server()},
        "channels": {name_of(key): _channel(key, of) for key, of in CHANNELS.items()},
        "operations": {_operation_name(key): _operation(key, of) for key, of in CHANNELS.items()},
        "components": {
            "messages": {
                kind.__name__: _message(kind, of) for of in CHANNELS.values() for kind in of.types
            },
            "schemas": schemas(),
            "parameters": {"terminalId": _terminal_id()},
            "securitySchemes": {
                "password": {
                    "type": "userPassword",
                    "description": "The user name is the terminal's id.",
                }
            },
        },
    }


def schemas() -> dict[str, Any]:
    """Return the JSON Schema of every type in the contract, by name."""
    kinds = [kind for of in CHANNELS.values() for kind in of.types]
    _, components = msgspec.json.schema_components(kinds, ref_template=SCHEMAS)
    return components


def name_of(key: Up | Down) -> str:
    """Return a channel's name in the document, such as `upEvent`."""
    return f"{_direction(key)}{key.value.capitalize()}"


def address_of(key: Up | Down) -> str:
    """Return a channel's topic with the terminal's id as a parameter."""
    return f"{ROOT}/{{terminalId}}/{_direction(key)}/{key.value}"


def _direction(key: Up | Down) -> str:
    return "up" if isinstance(key, Up) else "down"


def _operation_name(key: Up | Down) -> str:
    return f"{_action(key)}{key.value.capitalize()}"


def _action(key: Up | Down) -> str:
    return "send" if isinstance(key, Up) else "receive"


def _channel(key: Up | Down, of: Channel) -> dict[str, Any]:
    return {
        "address": address_of(key),
        "summary": of.summary,
        "parameters": {"terminalId": {"$ref": "#/components/parameters/terminalId"}},
        "messages": {
            kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in of.types
        },
    }


def _terminal_id() -> dict[str, Any]:
    return {
        "description": (
            f"The terminal's id, at most {MAX_TERMINAL_ID} characters: letters, digits, `_`, `.` "
            "and `-`, the first a letter or digit. Also its MQTT user name."
        ),
        "examples": ["P-0001"],
    }


def _operation(key: Up | Down, of: Channel) -> dict[str, Any]:
    channel = f"#/channels/{name_of(key)}"
    binding: dict[str, Any] = {"qos": of.qos[0], "retain": of.retain}
    if of.expires:
        # The seconds differ from message to message; the property says that there are some.
        binding["messageExpiryInterval"] = {"type": "integer", "minimum": 1}
    levels = " or ".join(str(level) for level in of.qos)
    return {
        "action": _action(key),
        "channel": {"$ref": channel},
        "summary": of.summary,
        "description": f"QoS {levels}, {'' if of.retain else 'never '}retained.",
        "messages": [{"$ref": f"{channel}/messages/{kind.__name__}"} for kind in of.types],
        "bindings": {"mqtt": {**binding, "bindingVersion": BINDING_VERSION}},
    }


def _message(kind: type[msgspec.Struct], of: Channel) -> dict[str, Any]:
    examples = [example for example in of.examples if type(example) is kind]
    return {
        "name": kind.__name__,
        "title": kind.__name__,
        "summary": (kind.__doc__ or "").strip(),
        "contentType": "application/json",
        "payload": {"$ref": SCHEMAS.format(name=kind.__name__)},
        "examples": [{"payload": msgspec.to_builtins(example)} for example in examples],
    }


def _server() -> dict[str, Any]:
    will = msgspec.json.encode(v1.State(online=False, boot=42)).decode()
    return {
        "host": "broker.example:8883",
        "protocol": "secure-mqtt",
        "protocolVersion": "5.0",
        "description": "The operator's broker; MQTT 3.1.1 works without expiry of messages.",
        "security": [{"$ref": "#/components/securitySchemes/password"}],
        "bindings": {
            "mqtt": {
                "clientId": "P-0001",
                "cleanSession": False,
                "lastWill": {
                    "topic": f"{ROOT}/P-0001/up/state",
                    "qos": 1,
                    "message": will,
                    "retain": True,
                },
                "keepAlive": 60,
                "sessionExpiryInterval": 3600,
                "bindingVersion": BINDING_VERSION,
            }
        },
    }
