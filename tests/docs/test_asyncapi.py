"""docs/asyncapi.yaml: AsyncAPI's own rules (what of them needs no network), and ours."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml

from protocols.mqtt_payload import v1
from protocols.mqtt_payload.asyncapi import CHANNELS, address_of, name_of
from protocols.mqtt_payload.topics import Down, Up, down_topic, up_topic
from sim.down import decode_down
from tests.docs.pages import DOCS

DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text("utf-8"))
UP = {
    Up.EVENT: v1.decode_event,
    Up.TELEMETRY: v1.decode_telemetry,
    Up.STATE: v1.decode_state,
}


def at(reference: str) -> Any:
    assert reference.startswith("#/"), reference
    found: Any = DOCUMENT
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def examples(key: Up | Down) -> list[dict[str, Any]]:
    channel = DOCUMENT["channels"][name_of(key)]
    messages = [at(message["$ref"]) for message in channel["messages"].values()]
    return [example["payload"] for message in messages for example in message["examples"]]


def test_the_root_has_what_asyncapi_3_asks_for() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    known = {
        "asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations",
        "components",
    }  # fmt: skip
    assert set(DOCUMENT) <= known


def test_servers_have_host_and_protocol() -> None:
    for server in DOCUMENT["servers"].values():
        assert {"host", "protocol"} <= set(server)
        assert server["bindings"]["mqtt"]["lastWill"]["retain"] is True
        will = v1.decode_state(server["bindings"]["mqtt"]["lastWill"]["message"].encode())
        assert will.online is False


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert len(found) > 30
    for reference in found:
        assert isinstance(at(reference), dict), reference


def test_names_are_those_that_asyncapi_allows() -> None:
    names = [*DOCUMENT["channels"], *DOCUMENT["operations"]]
    names += [name for part in DOCUMENT["components"].values() for name in part]
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)] == []


def test_parameters_of_an_address_are_declared() -> None:
    for channel in DOCUMENT["channels"].values():
        named = set(re.findall(r"{(\w+)}", channel["address"]))
        assert named == set(channel["parameters"]) == {"terminalId"}


def test_operations_use_messages_of_their_own_channel() -> None:
    used = []
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"]
        used.append(channel)
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{channel}/messages/")
    assert sorted(used) == sorted(f"#/channels/{name}" for name in DOCUMENT["channels"])


def test_bindings_are_those_of_mqtt() -> None:
    known = {"qos", "retain", "messageExpiryInterval", "bindingVersion"}
    for operation in DOCUMENT["operations"].values():
        binding = operation["bindings"]["mqtt"]
        assert set(binding) <= known
        assert binding["qos"] in {0, 1}
        assert isinstance(binding["retain"], bool)


def test_only_states_are_retained() -> None:
    retained = {
        name
        for name, operation in DOCUMENT["operations"].items()
        if operation["bindings"]["mqtt"]["retain"]
    }
    assert retained == {"sendState"}


def test_every_channel_of_the_code_is_described() -> None:
    assert set(CHANNELS) == {*Up, *Down} - {Down.REQUEST}
    for key in CHANNELS:
        topic = up_topic("P-1", key) if isinstance(key, Up) else down_topic("P-1", key)
        assert address_of(key).replace("{terminalId}", "P-1") == topic
        assert DOCUMENT["channels"][name_of(key)]["address"] == address_of(key)


def test_every_message_is_of_the_codec() -> None:
    types = {kind.__name__ for channel in CHANNELS.values() for kind in channel.types}
    spoken = {*v1.Event.__args__, *v1.DownMessage.__args__, v1.Telemetry, v1.State}
    assert types == {kind.__name__ for kind in spoken} == set(DOCUMENT["components"]["messages"])


@pytest.mark.parametrize("key", UP, ids=str)
def test_what_terminals_say_decodes(key: Up) -> None:
    assert examples(key)
    for payload in examples(key):
        message = UP[key](msgspec.json.encode(payload))
        assert msgspec.to_builtins(message) == payload


@pytest.mark.parametrize("key", [key for key in CHANNELS if isinstance(key, Down)], ids=str)
def test_what_terminals_hear_decodes(key: Down) -> None:
    assert examples(key)
    for payload in examples(key):
        channel, message = decode_down(down_topic("P-1", key), msgspec.json.encode(payload))
        assert channel is key
        assert msgspec.to_builtins(message) == payload


def test_schemas_say_what_the_codec_checks() -> None:
    press = DOCUMENT["components"]["schemas"]["Press"]
    assert set(press["required"]) == {"type", "id", "key"}
    assert press["properties"]["type"] == {"enum": ["press"]}
    assert press["properties"]["id"]["pattern"] == "^[A-Za-z0-9_.:-]+$"
    assert press["properties"]["id"]["maxLength"] == 64
