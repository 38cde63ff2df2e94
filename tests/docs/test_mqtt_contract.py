"""The examples of docs/terminals/mqtt-contract.md: decoded, and sent through a real broker."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest

from drivers.api.events import Refusal
from drivers.mqtt.config import FloodConfig
from protocols.mqtt_payload import v1
from protocols.mqtt_payload.asyncapi import CHANNELS
from protocols.mqtt_payload.topics import Down, Up, down_topic, parse_up
from sim.broker import Broker, acl_file
from sim.down import decode_down
from sim.pendant import REPEAT_S
from tests.docs.pages import DOCS, Block, blocks, markdown
from tests.waiting import free_port

PAGE = DOCS / "terminals" / "mqtt-contract.md"
JSON = [block for page in markdown() for block in blocks(page, "json") if block.label]
UP = {
    "up/event": v1.decode_event,
    "up/telemetry": v1.decode_telemetry,
    "up/state": v1.decode_state,
}


def decoded(block: Block) -> object:
    if block.label in UP:
        return UP[block.label](block.text.encode())
    channel = Down(block.label.removeprefix("down/"))
    return decode_down(down_topic("P-1", channel), block.text.encode())[1]


def assert_holds(message: object, written: dict[str, Any]) -> None:
    """Decoders ignore unknown fields, so a slip of the pen would go unseen without this."""
    for name, value in written.items():
        if name == "type":  # the tag; decoding has checked it
            continue
        assert hasattr(message, name), name
        own = getattr(message, name)
        if isinstance(own, msgspec.Struct):
            assert_holds(own, value)
        else:
            assert own == value, name


@pytest.mark.parametrize("block", JSON, ids=str)
def test_every_json_example_decodes_with_all_its_fields(block: Block) -> None:
    assert_holds(decoded(block), msgspec.json.decode(block.text))


def test_every_example_of_the_contract_says_where_it_is_sent() -> None:
    assert [str(block) for block in blocks(PAGE, "json") if not block.label] == []


def test_every_channel_has_an_example() -> None:
    channels = {f"{'up' if isinstance(key, Up) else 'down'}/{key.value}" for key in CHANNELS}
    assert {block.label for block in JSON} == channels


def test_the_numbers_are_those_of_the_code() -> None:
    text = PAGE.read_text("utf-8")
    flood = FloodConfig()
    assert f"again every {REPEAT_S:g} seconds" in text
    assert f"{v1.MAX_PAYLOAD // 1024} KiB" in text
    assert f"{flood.burst} events in a\nburst" in text or f"{flood.burst} events in a burst" in text
    assert f"{flood.per_second:g} a second after that" in text
    assert f"have {flood.sos_burst} more" in text
    assert f"{flood.sos_per_second:g} a second, so that a stuck key" in text
    for line in re.findall(r"`((?:read|write) onekey/v1/%u/[a-z]+/#)`", text):
        assert f"pattern {line}\n" in acl_file()


def test_every_state_of_an_event_is_explained() -> None:
    text = PAGE.read_text("utf-8")
    states = v1.Ack.__annotations__["state"].__args__
    assert [state for state in states if f"| `{state}` |" not in text] == []


def test_every_reason_of_a_refusal_is_explained() -> None:
    text = PAGE.read_text("utf-8").split("## What is refused")[1]
    ours = {Refusal.INTERNAL}  # a defect on our side, nothing that a terminal could mend
    assert [reason for reason in set(Refusal) - ours if f"`{reason.value}`" not in text] == []


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    users = {"P-0001": "secret"}
    async with Broker(tmp_path / "broker", port=free_port(), users=users) as running:
        yield running


def script(broker: Broker, number: int) -> str:
    """Return one of the shell blocks, behind the variables that the first one sets."""
    first, *others = (block.text for block in blocks(PAGE, "sh"))
    settings, count = re.subn(r"PORT=\d+", f"PORT={broker.port}", first)
    assert count == 1
    return settings + others[number]


async def test_the_lines_to_try_it_reach_the_gateway(broker: Broker) -> None:
    async with aiomqtt.Client(
        "127.0.0.1", broker.port, username="gateway", password=broker.gateway_password
    ) as gateway:
        await gateway.subscribe("onekey/v1/+/up/#", qos=1)
        said = await asyncio.create_subprocess_exec("bash", "-ec", script(broker, 1))
        assert await said.wait() == 0
        heard = []
        async with asyncio.timeout(5):
            async for message in gateway.messages:
                topic = parse_up(message.topic.value)
                assert isinstance(message.payload, bytes)
                heard.append(type(UP[f"up/{topic.channel.value}"](message.payload)))
                if len(heard) == 4:
                    break
    assert heard == [v1.State, v1.Telemetry, v1.Press, v1.Cancel]


async def test_the_line_to_listen_hears_what_the_gateway_says(broker: Broker) -> None:
    line = script(broker, 0).replace("mosquitto_sub", "exec stdbuf -oL mosquitto_sub")
    listener = await asyncio.create_subprocess_exec(
        "bash", "-ec", line, stdout=asyncio.subprocess.PIPE
    )
    assert listener.stdout is not None
    reading = asyncio.create_task(listener.stdout.readline())
    try:
        async with (
            aiomqtt.Client(
                "127.0.0.1", broker.port, username="gateway", password=broker.gateway_password
            ) as gateway,
            asyncio.timeout(5),
        ):
            while not reading.done():  # until it has subscribed, nobody hears it
                ack = v1.encode(v1.Ack(id="try-1", state="committed"))
                await gateway.publish("onekey/v1/P-0001/down/ack", ack, qos=1)
                await asyncio.wait({reading}, timeout=0.05)
        heard = reading.result()
        assert heard == b'onekey/v1/P-0001/down/ack {"id":"try-1","state":"committed"}\n'
    finally:
        listener.terminate()
        await listener.wait()
        await asyncio.gather(reading, return_exceptions=True)
