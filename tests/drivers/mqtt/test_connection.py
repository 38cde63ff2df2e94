"""What we take from inside aiomqtt and gmqtt; a new version that takes it away fails here."""

import asyncio
import socket
from pathlib import Path

import pytest

from drivers.mqtt.config import MqttConfig
from drivers.mqtt.connection import Delivery, EventConnection
from drivers.mqtt.ingest import IngestConnection
from drivers.mqtt.links import LinkLost
from tests.contract.harnesses import MqttHarness
from tests.waiting import free_port, wait_until


def config_for(harness: MqttHarness) -> MqttConfig:
    return MqttConfig.model_validate(
        {
            "port": harness.broker.port,
            "username": harness.broker.gateway_user,
            "password": harness.broker.gateway_password,
        }
    )


async def test_the_first_queued_message_is_not_acknowledged_by_the_library(
    tmp_path: Path,
) -> None:
    harness = MqttHarness(tmp_path)
    await harness.open()
    config = config_for(harness)

    async def deliveries(*, subscribe: bool, count: int) -> list[Delivery]:
        got: list[Delivery] = []
        connection = EventConnection(config, None, client_id="guard", on_delivery=got.append)
        async with connection:
            if subscribe:
                await connection.subscribe("onekey/v1/+/up/event")
            await wait_until(lambda: len(got) == count)
        return got

    try:
        await deliveries(subscribe=True, count=0)
        for n in range(10):
            await harness.press("T-1", f"e{n}")
        first = await deliveries(subscribe=False, count=10)
        again = await deliveries(subscribe=False, count=10)
        assert [d.payload for d in again] == [d.payload for d in first]
        assert all(d.redelivered for d in again)
        assert not any(d.redelivered for d in first)
    finally:
        await harness.close()


async def test_small_packets_leave_at_once_on_both_kinds(tmp_path: Path) -> None:
    harness = MqttHarness(tmp_path)
    await harness.open()
    config = config_for(harness)
    events = EventConnection(config, None, client_id="a", on_delivery=lambda _: None)
    ingest = IngestConnection(config, None, client_id="b", on_message=lambda *_: None)
    try:
        async with events, ingest:
            transport = ingest._transport()
            assert transport is not None
            for peer in [events._paho.socket(), transport.get_extra_info("socket")]:
                assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        await harness.close()


async def test_plain_messages_go_the_short_way_and_all_others_the_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = MqttHarness(tmp_path)
    await harness.open()
    got: list[tuple[str | bytes, bytes]] = []
    ingest = IngestConnection(
        config_for(harness), None, client_id="b", on_message=lambda *one: got.append(one)
    )
    handled: list[int] = []
    handler = ingest._client._package_handler
    real = handler._handle_packet

    def note(first: int, body: bytes) -> None:
        handled.append(first)
        real(first, body)

    monkeypatch.setattr(handler, "_handle_packet", note)
    try:
        async with ingest:
            await ingest.subscribe("onekey/v1/+/up/+", qos=1)
            handled.clear()
            await harness.publish("T-1", "up/telemetry", b"plain", qos=0)
            await wait_until(lambda: got == [(b"onekey/v1/T-1/up/telemetry", b"plain")])
            assert handled == []
            await harness.publish("T-1", "up/state", b"qos1", qos=1)
            await wait_until(lambda: got[1:] == [("onekey/v1/T-1/up/state", b"qos1")])
            assert handled == [0x32]
            quiet_since = ingest._client._connection._last_data_in
            await harness.publish("T-1", "up/telemetry", b"plain", qos=0)
            await wait_until(lambda: len(got) == 3)
            assert ingest._client._connection._last_data_in > quiet_since  # gmqtt's keepalive
    finally:
        await harness.close()


@pytest.mark.parametrize("kind", ["events", "ingest"])
async def test_nobody_there(kind: str) -> None:
    config = MqttConfig.model_validate({"port": free_port()})
    with pytest.raises(LinkLost, match=r"refused|Connect call failed"):
        async with connection(kind, config):
            pass


@pytest.mark.parametrize("kind", ["events", "ingest"])
async def test_a_peer_that_never_answers_and_a_stop_meanwhile(kind: str) -> None:
    before = asyncio.all_tasks()
    silent = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    config = MqttConfig.model_validate({"port": port, "connect_timeout_s": 0.2})
    with pytest.raises(LinkLost):
        async with connection(kind, config):
            pass
    patient = MqttConfig.model_validate({"port": port, "connect_timeout_s": 30})

    async def connect() -> None:
        async with connection(kind, patient):
            pass

    task = asyncio.create_task(connect())
    await asyncio.wait({task}, timeout=0.1)
    task.cancel()
    _, pending = await asyncio.wait({task}, timeout=2)
    assert not pending
    silent.close()
    await wait_until(lambda: not asyncio.all_tasks() - before, deadline=3)


def connection(kind: str, config: MqttConfig) -> EventConnection | IngestConnection:
    if kind == "events":
        return EventConnection(config, None, client_id="a", on_delivery=lambda _: None)
    return IngestConnection(config, None, client_id="b", on_message=lambda *_: None)
