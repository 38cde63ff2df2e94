"""A pendant on a real broker, with the test in the gateway's place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest

from protocols.mqtt_payload.topics import Down, down_topic
from protocols.mqtt_payload.v1 import (
    Ack,
    Call,
    Display,
    Press,
    decode_event,
    decode_state,
    decode_telemetry,
    encode,
)
from sim.broker import Broker
from sim.pendant import Account, Pendant
from sim.phone import Phone, PhoneEvent
from tests.waiting import free_port, wait_until

pytestmark = pytest.mark.e2e
TERMINAL = "P-0001"
PASSWORD = "secret"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    async with Broker(tmp_path, port=free_port(), users={TERMINAL: PASSWORD}) as running:
        yield running


def account(broker: Broker, password: str = PASSWORD) -> Account:
    return Account(terminal=TERMINAL, password=password, port=broker.port)


class Desk:
    """The gateway's end: everything terminals say, and a way to answer."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[tuple[str, bytes, bool]] = []

    def said(self, channel: str) -> list[bytes]:
        return [payload for topic, payload, _ in self.heard if topic.endswith(f"up/{channel}")]

    def presses(self) -> list[str]:
        events = [decode_event(payload) for payload in self.said("event")]
        return [event.id for event in events if isinstance(event, Press)]

    async def say(self, channel: Down, message: Ack | Call | Display) -> None:
        await self.client.publish(down_topic(TERMINAL, channel), encode(message), qos=1)

    async def read(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.heard.append((message.topic.value, message.payload, bool(message.retain)))


@asynccontextmanager
async def desk_of(broker: Broker) -> AsyncIterator[Desk]:
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=broker.gateway_user,
        password=broker.gateway_password,
        protocol=aiomqtt.ProtocolVersion.V5,
    ) as client:
        await client.subscribe("onekey/v1/+/up/#", qos=1)
        desk = Desk(client)
        reading = asyncio.create_task(desk.read())
        try:
            yield desk
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_birth_is_retained_and_the_first_heartbeat_follows(broker: Broker) -> None:
    async with Pendant(account(broker)) as pendant, desk_of(broker) as desk:
        await wait_until(lambda: desk.said("state"))
        topic, payload, retained = desk.heard[0]
        assert (topic, retained) == (f"onekey/v1/{TERMINAL}/up/state", True)
        assert decode_state(payload).online
        assert decode_state(payload).boot == pendant.boot


async def test_heartbeats_carry_a_battery(broker: Broker) -> None:
    async with desk_of(broker) as desk, Pendant(account(broker), heartbeat_s=0.05):
        await wait_until(lambda: len(desk.said("telemetry")) >= 3)
        assert decode_telemetry(desk.said("telemetry")[0]).battery == 100


async def test_a_farewell_says_offline(broker: Broker) -> None:
    async with desk_of(broker) as desk:
        async with Pendant(account(broker)):
            pass
        await wait_until(lambda: len(desk.said("state")) == 2)
        assert [decode_state(payload).online for payload in desk.said("state")] == [True, False]


async def test_a_press_is_repeated_with_its_id_until_it_is_acknowledged(broker: Broker) -> None:
    async with desk_of(broker) as desk, Pendant(account(broker), repeat_s=0.1) as pendant:
        event_id = pendant.press("sos")
        await wait_until(lambda: len(desk.presses()) >= 3)
        assert set(desk.presses()) == {event_id}
        assert len(set(desk.said("event"))) == 1, "a repetition is the same message to the byte"

        await desk.say(Down.ACK, Ack(id=event_id, state="committed", incident="I-1"))
        _, ack = await pendant.heard(event_id, "committed", deadline=5)
        assert ack.incident == "I-1"
        count = len(desk.presses())
        second = pendant.press("taxi")  # the first would come before it, if it came again
        await wait_until(lambda: desk.presses().count(second) >= 3)
        assert desk.presses().count(event_id) <= count + 1, "one may have been on its way"


async def test_an_acknowledgement_of_another_press_does_not_count(broker: Broker) -> None:
    async with desk_of(broker) as desk, Pendant(account(broker), repeat_s=0.05) as pendant:
        event_id = pendant.press()
        await desk.say(Down.ACK, Ack(id="another", state="committed"))
        await wait_until(lambda: pendant.acks("another"))
        seen = len(desk.presses())
        await wait_until(lambda: len(desk.presses()) >= seen + 3)
        assert event_id in pendant.pending


async def test_an_unacknowledged_press_survives_a_broker_restart(broker: Broker) -> None:
    async with Pendant(account(broker), repeat_s=30.0) as pendant:
        await broker.stop()
        await wait_until(lambda: not pendant.online)
        event_id = pendant.press("sos")
        await broker.start()
        async with desk_of(broker) as desk:
            await wait_until(lambda: pendant.connections == 2, deadline=15)
            # Published once by the reconnection itself: the next repetition would be in 30 s. The
            # desk may have come after that, so the press counts at the terminal's own end.
            await wait_until(lambda: pendant.presses[event_id].published == 1)
            again = pendant.press("sos")
            await wait_until(lambda: again in desk.presses())
        assert set(pendant.pending) == {event_id, again}


async def test_wrong_password_is_told(broker: Broker) -> None:
    with pytest.raises(TimeoutError, match=f"{TERMINAL} is not connected to .*Not authorized"):
        await Pendant(account(broker, "wrong"), connect_deadline=1.0).start()


async def test_messages_are_collected_with_times_and_odd_ones_skipped(broker: Broker) -> None:
    async with desk_of(broker) as desk, Pendant(account(broker)) as pendant:
        heard: list[Any] = []
        pendant.listen(heard.append)
        await desk.client.publish(down_topic(TERMINAL, Down.ACK), b"{nonsense", qos=1)
        await desk.client.publish(f"onekey/v1/{TERMINAL}/down/unheard_of", b"{}", qos=1)
        await desk.say(Down.DISPLAY, Display(id="d", text="有人来了"))
        await wait_until(lambda: pendant.received)
        assert [(one.channel, one.message) for one in pendant.received] == [
            (Down.DISPLAY, Display(id="d", text="有人来了"))
        ]
        assert heard == pendant.received
        assert pendant.received[0].at > 1e9


async def test_heard_names_what_came_instead(broker: Broker) -> None:
    async with desk_of(broker) as desk, Pendant(account(broker)) as pendant:
        await desk.say(Down.ACK, Ack(id="e", state="committed"))
        await pendant.heard("e", "committed", deadline=5)
        with pytest.raises(TimeoutError, match=r"did not hear 'answered'.*only \['committed'\]"):
            await pendant.heard("e", "answered", deadline=0.05)


class RingingPhone(Phone):
    """A phone without a process: whether it is told to answer is all that counts here."""

    def __init__(self, directory: Path) -> None:
        super().__init__("t", port=1, rtp_base=2, directory=directory)
        self.answers = 0

    def answer(self) -> None:
        self.answers += 1

    def ring(self) -> None:
        event = PhoneEvent(0.0, "ringing", {"call": 1})
        self.events.append(event)
        for listener in self._listeners:
            listener(event)


CALL_UNTIL_2100 = Call(id="c", incident="I-1", auto_answer_until=4_102_444_800_000)


async def test_it_answers_by_itself_only_an_announced_call(broker: Broker, tmp_path: Path) -> None:
    phone = RingingPhone(tmp_path)
    async with desk_of(broker) as desk, Pendant(account(broker), phone=phone) as pendant:
        phone.ring()
        assert phone.answers == 0
        past = msgspec.structs.replace(CALL_UNTIL_2100, auto_answer_until=1000)
        await desk.say(Down.CALL, past)
        await wait_until(lambda: len(pendant.received) == 1)
        assert phone.answers == 0, "the window was over"
        await desk.say(Down.CALL, CALL_UNTIL_2100)  # the call came first, its announcement after
        await wait_until(lambda: phone.answers == 1)
        phone.ring()
        assert phone.answers == 2
