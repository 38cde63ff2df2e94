import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from sim.broker import Broker, BrokerError, acl_file, mosquitto_conf
from tests.waiting import free_port, wait_until

USERS = {"T-1": "pw-one", "T-2": "pw-two"}


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with Broker(tmp_path / "broker", port=free_port(), users=USERS) as running:
        yield running


def client(broker: Broker, user: str | None, password: str | None) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=user,
        password=password,
        protocol=aiomqtt.ProtocolVersion.V5,
    )


def gateway(broker: Broker, *, session_s: int = 0) -> aiomqtt.Client:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's
    properties.SessionExpiryInterval = session_s
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        identifier="gateway-under-test",
        username=broker.gateway_user,
        password=broker.gateway_password,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=not session_s,
        properties=properties,
    )


async def first(receiver: aiomqtt.Client) -> tuple[str, bytes]:
    async with asyncio.timeout(5):
        message = await anext(aiter(receiver.messages))
    assert isinstance(message.payload, bytes)
    return message.topic.value, message.payload


def test_the_configuration_keeps_presses_and_lets_no_stranger_in(tmp_path: Path) -> None:
    lines = mosquitto_conf(tmp_path, port=1884, autosave_s=7).splitlines()
    for line in [
        "listener 1884 127.0.0.1",
        "allow_anonymous false",
        "persistence true",
        f"persistence_location {tmp_path}/",
        "autosave_interval 7",
        "max_queued_messages 100000",
        "max_inflight_messages 1000",
        "message_size_limit 65536",
        "set_tcp_nodelay true",
    ]:
        assert line in lines
    assert "user root" not in lines
    assert "user root" in mosquitto_conf(tmp_path, port=1884, root=True).splitlines()


def test_topic_rules_bind_a_terminal_to_its_own_id() -> None:
    rules = acl_file("gate").splitlines()
    assert "user gate" in rules
    assert "pattern write onekey/v1/%u/up/#" in rules
    assert "pattern read onekey/v1/%u/down/#" in rules
    assert not [r for r in rules if r.startswith("pattern readwrite")]


@pytest.mark.parametrize("name", ["#", "a/b", "+", ""])
def test_user_names_that_would_open_other_topics_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BrokerError, match="not a terminal id"):
        Broker(tmp_path, port=1, users={name: "x"})


async def test_a_terminal_cannot_publish_as_another(broker: Broker) -> None:
    async with gateway(broker) as receiver, client(broker, "T-1", "pw-one") as terminal:
        await receiver.subscribe("onekey/v1/+/up/#", qos=1)
        await terminal.publish("onekey/v1/T-2/up/event", b"forged", qos=1)
        await terminal.publish("onekey/v1/T-1/down/ack", b"forged", qos=1)
        await terminal.publish("onekey/v1/T-1/up/event", b"own", qos=1)
        assert await first(receiver) == ("onekey/v1/T-1/up/event", b"own")


async def test_a_terminal_hears_only_what_is_for_it(broker: Broker) -> None:
    async with gateway(broker) as sender, client(broker, "T-1", "pw-one") as terminal:
        await terminal.subscribe("onekey/v1/#", qos=1)
        await sender.publish("onekey/v1/T-2/down/ack", b"other's", qos=1)
        await sender.publish("onekey/v1/T-1/down/ack", b"own", qos=1)
        assert await first(terminal) == ("onekey/v1/T-1/down/ack", b"own")


async def test_shared_subscriptions_are_allowed_to_the_gateway(broker: Broker) -> None:
    async with gateway(broker) as receiver, client(broker, "T-1", "pw-one") as terminal:
        await receiver.subscribe("$share/g/onekey/v1/+/up/telemetry")
        await terminal.publish("onekey/v1/T-1/up/telemetry", b"{}")
        assert await first(receiver) == ("onekey/v1/T-1/up/telemetry", b"{}")


@pytest.mark.parametrize("credentials", [(None, None), ("T-1", "wrong"), ("T-9", "pw-one")])
async def test_strangers_are_turned_away(
    broker: Broker, credentials: tuple[str | None, str | None]
) -> None:
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with client(broker, *credentials):
            pass


async def test_users_can_be_added_while_it_runs(broker: Broker) -> None:
    await broker.add_users({"T-3": "three"})
    async with client(broker, "T-3", "three"), client(broker, "T-1", "pw-one"):
        pass


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_queued_presses_survive_the_broker(broker: Broker, how: str) -> None:
    async with gateway(broker, session_s=600) as receiver:
        await receiver.subscribe("onekey/v1/+/up/event", qos=1)
    async with client(broker, "T-1", "pw-one") as terminal:
        await terminal.publish("onekey/v1/T-1/up/event", b"pressed", qos=1)
    if how == "kill":
        await saved(broker)
        await broker.kill()
        await broker.start()
    else:
        await broker.restart()
    async with gateway(broker, session_s=600) as receiver:
        assert await first(receiver) == ("onekey/v1/T-1/up/event", b"pressed")


async def saved(broker: Broker) -> None:
    """Wait until mosquitto has written its database (every second here, SIGUSR1 asks for it)."""
    broker._process.send_signal(signal.SIGUSR1)  # type: ignore[union-attr] # it runs
    database = broker.directory / "mosquitto.db"
    await wait_until(lambda: database.exists() and b"pressed" in database.read_bytes())


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} on 127.0.0.1 is already taken"):
            await Broker(tmp_path, port=port).start()


async def test_a_broken_configuration_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.broker.mosquitto_conf", lambda *_, **__: "no_such_option 1\n")
    broker = Broker(tmp_path, port=free_port())
    with pytest.raises(BrokerError, match="no_such_option"):
        await broker.start()
    with pytest.raises(BrokerError, match="does not run"):
        _ = broker.pid


async def test_passwords_are_hashed_and_private(broker: Broker) -> None:
    path = broker.directory / "passwords"
    assert "pw-one" not in path.read_text("utf-8")
    assert path.stat().st_mode & 0o077 == 0
