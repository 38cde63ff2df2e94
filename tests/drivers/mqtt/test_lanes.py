"""The lanes against a real mosquitto, with its faults."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import pytest
import structlog

from drivers.api.commands import EventState, ShowText, TellEventState
from drivers.api.errors import TransientError, Unsupported
from drivers.api.events import Refusal
from drivers.api.ids import EventId, TerminalId
from drivers.mqtt.config import MqttConfig
from drivers.mqtt.connection import Delivery
from drivers.mqtt.driver import MqttDriver
from drivers.mqtt.incoming import read
from protocols.mqtt_payload.topics import Up
from tests.contract.driver_contract import DriverUnderTest
from tests.contract.harnesses import TERMINALS, MqttHarness
from tests.waiting import wait_until


class Running(DriverUnderTest):
    harness: MqttHarness


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    harness = MqttHarness(tmp_path)
    await harness.open()
    running = Running(harness)
    try:
        await running.start()
        yield running
    finally:
        await running.stop()
        await harness.close()


def press(event_id: str, key: str = "sos") -> bytes:
    return json.dumps({"type": "press", "id": event_id, "key": key}).encode()


async def acknowledged(running: Running) -> None:
    """Wait until the broker has nothing of ours: a new connection gets nothing but the fence."""
    before = len(running.ctx.offered)
    await running.restart()
    await running.harness.press("T-19", "fence")
    await wait_until(lambda: running.ctx.offers("fence") == 1)
    assert [e.event_id for e in running.ctx.offered[before:]] == ["fence"]


async def test_a_restart_of_the_broker_loses_nothing(running: Running) -> None:
    ctx, harness = running.ctx, running.harness
    ctx.gate.clear()
    await harness.press("T-1", "before")
    await wait_until(lambda: ctx.offers("before") == 1)
    await harness.broker.stop()
    await wait_until(lambda: not any(ctx.links.values()))
    ctx.gate.set()
    await wait_until(lambda: ctx.commits() == ["before"])
    await harness.broker.start()
    await wait_until(lambda: ctx.all_up, deadline=10)
    # Its token was void, so the broker has it still and brings it again.
    await wait_until(lambda: ctx.commits() == ["before", "before"])
    async with terminal(running, "T-2") as peer:
        await peer.publish("onekey/v1/T-2/up/event", press("after"), qos=1)
    await wait_until(lambda: ctx.commits("T-2") == ["after"])
    await acknowledged(running)


async def test_a_void_token_acknowledges_nothing_after_a_reconnect(running: Running) -> None:
    """Packet ids begin anew: a late acknowledgement would confirm what is not committed."""
    ctx, harness = running.ctx, running.harness
    ctx.gate.clear()
    await harness.press("T-1", "slow")
    await wait_until(lambda: ctx.offers("slow") == 1)
    await harness.broker.restart()
    await wait_until(lambda: ctx.all_up, deadline=10)
    ctx.store_away = True  # the second delivery fails while the first commit has already begun
    ctx.gate.set()
    await wait_until(lambda: ctx.offers("slow") >= 3, deadline=10)
    assert ctx.commits() == []
    await running.restart()
    ctx.store_away = False
    await wait_until(lambda: ctx.commits() == ["slow"], deadline=10)


async def test_a_storm_through_a_slow_store(running: Running) -> None:
    ctx = running.ctx
    ctx.commit_s = 0.05
    peers = 20
    per_peer = 15

    async def presses(name: str) -> None:
        for n in range(per_peer):
            await running.harness.press(name, f"{name}-{n}")

    await asyncio.gather(*(presses(f"T-{n}") for n in range(peers)))
    await wait_until(lambda: len(ctx.committed) == peers * per_peer, deadline=20)
    for n in range(peers):
        assert ctx.commits(f"T-{n}") == [f"T-{n}-{m}" for m in range(per_peer)]
    assert len(ctx.offered) == peers * per_peer
    assert not ctx.refusals
    await acknowledged(running)


async def test_acknowledgements_leave_in_the_order_of_arrival(running: Running) -> None:
    lane = running.driver._events  # type: ignore[attr-defined] # the order has no other witness
    sent: list[int] = []
    real = lane._pump._acknowledge

    def note(mid: int) -> None:
        sent.append(mid)
        real(mid)

    lane._pump._acknowledge = note
    running.ctx.gate.clear()
    for n in range(10):
        await running.harness.press(f"T-{n}", f"e{n}")
    await wait_until(lambda: len(running.ctx.offered) == 10)
    assert sent == []
    waiting = [token.mid for token in lane._pump._waiting]
    running.ctx.gate.set()
    await wait_until(lambda: len(sent) == 10)
    assert sent == waiting


async def test_a_retained_press_is_refused_and_does_not_stick(running: Running) -> None:
    await running.stop()
    await running.harness.publish("T-1", "up/event", press("old"), retain=True)
    # A new subscriber gets it as retained; the running session of the driver also has a live copy.
    await running.start()
    await wait_until(lambda: (TerminalId("T-1"), Refusal.RETAINED) in refusals(running))
    await running.harness.press("T-1", "new")
    await wait_until(lambda: "new" in running.ctx.commits())
    assert running.ctx.offers("old") <= 1


async def test_a_wrong_terminal_id_and_a_wrong_channel_are_refused(running: Running) -> None:
    deliver = running.driver._events._deliver  # type: ignore[attr-defined] # no broker sends these
    for topic in ["onekey/v1/a b/up/event", "onekey/v1/T-1/up/state", "other", None]:
        deliver(
            running.ctx, None, Delivery(topic, press("e"), None, retained=False, redelivered=False)
        )
    assert [reason for _, reason, _ in running.ctx.refusals] == [Refusal.WRONG_TOPIC] * 4


async def test_garbage_is_acknowledged_so_that_it_does_not_come_again(running: Running) -> None:
    await running.harness.garbage(b"poison")
    await wait_until(lambda: len(running.ctx.refusals) == 1)
    await acknowledged(running)
    assert len(running.ctx.refusals) == 1


async def test_a_flood_is_refused_and_the_neighbours_sos_is_not_delayed(running: Running) -> None:
    ctx = running.ctx
    ctx.commit_s = 0.05
    flood = [running.harness.publish("T-1", "up/event", press(f"f{n}", "taxi")) for n in range(300)]
    flooding = asyncio.gather(*flood)
    await wait_until(lambda: ctx.refusals)
    begun = time.monotonic()
    await running.harness.press("T-2", "help")
    await wait_until(lambda: "help" in ctx.commits("T-2"))
    assert time.monotonic() - begun < 1.0  # behind the flood's own queue it would wait 1 s or more
    await flooding
    await running.harness.press("T-1", "sos-in-the-flood")
    await wait_until(lambda: "sos-in-the-flood" in ctx.commits("T-1"), deadline=10)
    assert {reason for _, reason, _ in ctx.refusals} == {Refusal.FLOOD}
    assert len(ctx.refusals) + len(ctx.committed) == 302


async def test_a_defect_on_one_event_does_not_stop_the_others(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.mqtt.inbox.RETRY_FIRST_S", 0.01)
    ctx = running.ctx
    ctx.defects = {"poison"}
    await running.harness.press("T-1", "poison")
    await running.harness.press("T-1", "next")
    await running.harness.press("T-2", "other")
    await wait_until(lambda: set(ctx.commits()) == {"next", "other"})
    assert refusals(running) == [(TerminalId("T-1"), Refusal.INTERNAL)]
    await acknowledged(running)


async def test_a_topic_in_bytes_is_a_topic(running: Running) -> None:
    assert read(running.ctx, Up.STATE, b"onekey/v1/T-1/up/state", b"1", len) == ("T-1", 1)
    for topic in [b"onekey/v1/T-1/up/telemetry", b"onekey/v1/\xff/up/state"]:
        assert read(running.ctx, Up.STATE, topic, b"1", len) is None
    assert [reason for _, reason, _ in running.ctx.refusals] == [Refusal.WRONG_TOPIC] * 2


async def test_births_and_wills(running: Running) -> None:
    for online, boot in [(True, 1), (False, 1), (True, 2)]:
        state = json.dumps({"online": online, "boot": boot}).encode()
        await running.harness.publish("T-1", "up/state", state, retain=True)
    await running.harness.publish("T-2", "up/state", b"nonsense")
    await wait_until(lambda: len(running.ctx.presences) == 3)
    assert [(p.online, p.boot) for p in running.ctx.presences] == [(True, 1), (False, 1), (True, 2)]
    await wait_until(lambda: refusals(running) == [(TerminalId("T-2"), Refusal.NOT_JSON)])
    running.ctx.presences.clear()
    await running.restart()  # the retained one tells a new gateway who is there
    await wait_until(lambda: [(p.online, p.boot) for p in running.ctx.presences] == [(True, 2)])


async def test_telemetry_comes_in_batches_and_holds_up_no_press(running: Running) -> None:
    ctx = running.ctx
    count = 5000

    async def measure() -> None:
        for n in range(count):
            await running.harness.publish(
                "T-1", "up/telemetry", b'{"battery":%d}' % (n % 100), qos=0
            )
            if n % 200 == 0:
                await asyncio.sleep(0)

    measuring = asyncio.create_task(measure())
    waits = []
    for n in range(10):
        begun = time.perf_counter()
        await running.harness.press("T-2", f"e{n}")
        await wait_until(lambda n=n: ctx.offers(f"e{n}") == 1)  # type: ignore[misc] # see above
        waits.append(time.perf_counter() - begun)
    await measuring
    await wait_until(lambda: sum(map(len, ctx.batches)) == count, deadline=10)
    assert len(ctx.batches) < count / 10
    assert max(map(len, ctx.batches)) <= 500
    assert sorted(waits)[len(waits) // 2] < 1.0  # a blocked lane would wait for all 5,000
    await running.harness.publish("T-1", "up/telemetry", b'{"battery":101}')
    await wait_until(lambda: refusals(running) == [(TerminalId("T-1"), Refusal.WRONG_SHAPE)])


async def test_a_wrong_password_leaves_the_links_down_and_is_said(running: Running) -> None:
    config = MqttConfig.model_validate(
        {
            "port": running.harness.broker.port,
            "username": "gateway",
            "password": "wrong",
            "backoff_min_s": 0.01,
            "backoff_max_s": 0.02,
            "client_id_prefix": "stranger",
        }
    )
    await running.stop()
    ctx = running.ctx
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(MqttDriver(config, None).run(ctx))
        await wait_until(lambda: sum(e["event"] == "mqtt_link_down" for e in logs) >= 9)
        assert not any(ctx.links.values())
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})
    reasons = {e["link"]: e["reason"] for e in logs if e["event"] == "mqtt_link_down"}
    assert set(reasons) == {"mqtt.events", "mqtt.state", "mqtt.telemetry-0"}
    assert all("not authorized" in reason.lower() for reason in reasons.values())


async def test_two_gateways_with_one_client_id_say_so(running: Running) -> None:
    config = running.driver._config  # type: ignore[attr-defined] # the same settings
    with structlog.testing.capture_logs() as logs:
        twin = asyncio.create_task(MqttDriver(config, None).run(running.ctx))
        await wait_until(
            lambda: (
                {e["link"] for e in logs if e["event"] == "mqtt_link_flapping"}
                == {"mqtt.events", "mqtt.state", "mqtt.telemetry-0"}
            ),
            deadline=10,
        )
        twin.cancel()
        await asyncio.wait({twin})


async def test_commands_are_not_retained_and_expire(running: Running) -> None:
    harness = running.harness
    await harness.listen("T-1")
    ack = TellEventState(event_id=EventId("e1"), state=EventState.COMMITTED)
    await running.driver.send(TerminalId("T-1"), ack)
    await wait_until(lambda: len(harness.received_by("T-1")) == 1)
    assert harness.received_by("T-1")[0]["topic"] == "onekey/v1/T-1/down/ack"
    async with terminal(running, "T-1") as late:
        await late.subscribe("onekey/v1/T-1/down/#", qos=1)
        show = ShowText(message_id="m", text="你好", expires_at=time.time() + 60)
        await running.driver.send(TerminalId("T-1"), show)
        async with asyncio.timeout(5):
            message = await anext(aiter(late.messages))
        assert (
            message.topic.value == "onekey/v1/T-1/down/display"
        )  # the retained ack would be first
        assert message.properties is not None
        assert 55 <= vars(message.properties)["MessageExpiryInterval"] <= 60


async def test_sending_fails_in_time_when_the_broker_is_gone(running: Running) -> None:
    ack = TellEventState(event_id=EventId("e1"), state=EventState.COMMITTED)
    with pytest.raises(Unsupported):
        await running.driver.send(TerminalId("T/1"), ack)
    await running.harness.broker.kill()
    begun = time.monotonic()
    with pytest.raises(TransientError):
        await running.driver.send(TerminalId("T-1"), ack)
    assert time.monotonic() - begun < 2
    await wait_until(lambda: not running.ctx.links["mqtt.events"])
    with pytest.raises(TransientError, match="not connected"):
        await running.driver.send(TerminalId("T-1"), ack)


async def test_a_stop_while_the_broker_is_away(running: Running) -> None:
    await running.harness.broker.kill()
    await wait_until(lambda: not any(running.ctx.links.values()))
    await running.stop()


def refusals(running: Running) -> list[tuple[TerminalId | None, Refusal]]:
    return [(terminal, reason) for terminal, reason, _ in running.ctx.refusals]


def terminal(running: Running, name: str) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        running.harness.broker.port,
        username=name,
        password=TERMINALS[name],
        protocol=aiomqtt.ProtocolVersion.V5,
    )
