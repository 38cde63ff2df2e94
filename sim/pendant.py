"""An honest portable terminal: MQTT 5, presses repeated until the gateway has committed them.

It keeps the terminal's half of promise 1 (docs/architecture.md): a press is published again, with
the same id, every few seconds and over reconnects, until an application acknowledgement arrives.
MQTT's own PUBACK says only that the broker has it.
"""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import aiomqtt
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from ulid import ULID

from protocols.mqtt_payload.topics import ROOT, Down, Up, up_topic
from protocols.mqtt_payload.v1 import (
    Ack,
    Call,
    DownMessage,
    Event,
    Press,
    State,
    Telemetry,
    encode,
)
from sim.down import BadDown, decode_down
from sim.phone import Phone, PhoneEvent

log = structlog.get_logger()
# aiomqtt logs each lost connection as an error; we tell it in our own words.
_quiet = logging.getLogger("sim.pendant.mqtt")
_quiet.setLevel(logging.CRITICAL)

# The contract's advice to makers: often enough that a lost press costs seconds, seldom enough
# that a thousand terminals on a dead gateway do not flood the broker.
REPEAT_S = 5.0
HEARTBEAT_S = 60.0
KEEPALIVE_S = 15
# While the terminal is away the broker keeps what is said to it for as long.
SESSION_EXPIRY_S = 3600
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.2, 5.0
# Nagle's algorithm would hold small packets back for the peer's delayed ACK: 40 ms each.
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the broker is and who the terminal is; the user name is the terminal's id."""

    terminal: str
    password: str
    host: str = "127.0.0.1"
    port: int = 1883


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the gateway: `at` is Unix seconds."""

    at: float
    channel: Down
    message: DownMessage


@dataclass(slots=True)
class PendingPress:
    """A press that nobody has acknowledged yet. `published` counts its publications."""

    event: Event
    payload: bytes
    pressed_at: float
    published: int = 0


class Pendant:
    """One terminal. `async with` connects it (waiting for the first connection) and ends it."""

    def __init__(
        self,
        account: Account,
        *,
        phone: Phone | None = None,
        repeat_s: float = REPEAT_S,
        heartbeat_s: float = HEARTBEAT_S,
        keepalive_s: int = KEEPALIVE_S,
        connect_deadline: float = 10.0,
    ) -> None:
        """Take the account and, if it has a voice, its SIP phone (started and ended by others)."""
        self.account = account
        self.phone = phone
        self.boot = int(time.time())
        self.received: list[Received] = []
        self.pending: dict[str, PendingPress] = {}
        self.presses: dict[str, PendingPress] = {}
        self.connections = 0
        self._repeat_s = repeat_s
        self._heartbeat_s = heartbeat_s
        self._keepalive_s = keepalive_s
        self._connect_deadline = connect_deadline
        self._client: aiomqtt.Client | None = None
        self._online = asyncio.Event()
        self._pressed = asyncio.Event()
        self._news = asyncio.Condition()
        self._auto_answer_until = 0.0
        self._last_error = ""
        self._listeners: list[Callable[[Received], None]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def terminal(self) -> str:
        """Return the terminal's id."""
        return self.account.terminal

    @property
    def online(self) -> bool:
        """Tell whether the broker has our birth and our subscription."""
        return self._online.is_set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect; raises TimeoutError, with why, when we are not let in within the deadline."""
        if self.phone is not None:
            self.phone.listen(self._on_phone)
        self._task = asyncio.create_task(self._serve(), name=f"pendant {self.terminal}")
        try:
            await asyncio.wait_for(self._online.wait(), self._connect_deadline)
        except TimeoutError:
            await self.stop()
            raise TimeoutError(
                f"terminal {self.terminal} is not connected to {self.account.host}:"
                f"{self.account.port}: {self._last_error or 'no answer'}"
            ) from None

    async def stop(self) -> None:
        """Say good-bye (retained `online: false`) and disconnect."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._client is not None and self.online:
            await self._farewell(self._client)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def listen(self, listener: Callable[[Received], None]) -> None:
        """Call `listener` with every message from the gateway, from now on."""
        self._listeners.append(listener)

    def press(self, key: str = "sos", *, event_id: str | None = None) -> str:
        """Press a key; returns the event id at once. Published as soon as there is a broker."""
        now = time.time()
        event = Press(id=event_id or str(ULID()), ts=round(now * 1000), boot=self.boot, key=key)
        self.send(event, now=now)
        return event.id

    def send(self, event: Event, *, now: float | None = None) -> None:
        """Say any event with a press's care: repeated until it is acknowledged."""
        press = PendingPress(event, encode(event), time.time() if now is None else now)
        self.pending[event.id] = self.presses[event.id] = press
        self._pressed.set()

    def acks(self, event_id: str) -> list[tuple[float, Ack]]:
        """Return what the gateway said of an event so far, each with its Unix time."""
        return [
            (one.at, one.message)
            for one in self.received
            if isinstance(one.message, Ack) and one.message.id == event_id
        ]

    async def heard(self, event_id: str, state: str, *, deadline: float) -> tuple[float, Ack]:
        """Wait for an acknowledgement in `state`; raises TimeoutError naming what came instead."""

        def found() -> tuple[float, Ack] | None:
            return next((one for one in self.acks(event_id) if one[1].state == state), None)

        try:
            async with asyncio.timeout(deadline), self._news:
                await self._news.wait_for(found)
        except TimeoutError:
            so_far = [ack.state for _, ack in self.acks(event_id)]
            raise TimeoutError(
                f"{self.terminal} did not hear {state!r} of {event_id} in {deadline} s, "
                f"only {so_far}"
            ) from None
        ack = found()
        assert ack is not None
        return ack

    async def _serve(self) -> None:
        pause = BACKOFF_MIN_S
        while True:
            try:
                async with self._connect() as client:
                    pause = BACKOFF_MIN_S
                    await self._session(client)
            except* aiomqtt.MqttError as group:
                reasons = "; ".join(str(error) for error in group.exceptions)
                self._last_error = reasons
                log.info("pendant_offline", terminal=self.terminal, error=reasons)
            finally:
                self._online.clear()
                self._client = None
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, BACKOFF_MAX_S)

    def _connect(self) -> aiomqtt.Client:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        return aiomqtt.Client(
            self.account.host,
            self.account.port,
            username=self.terminal,
            password=self.account.password,
            identifier=self.terminal,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=properties,
            keepalive=self._keepalive_s,
            will=aiomqtt.Will(self._topic(Up.STATE), self._state(online=False), 1, retain=True),
            socket_options=(NO_DELAY,),
            logger=_quiet,
        )

    async def _session(self, client: aiomqtt.Client) -> None:
        # Subscribed before the birth: what the birth provokes must be heard.
        await client.subscribe(f"{ROOT}/{self.terminal}/down/#", qos=1)
        await client.publish(self._topic(Up.STATE), self._state(online=True), 1, retain=True)
        self._client = client
        self.connections += 1
        self._online.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen_down(client))
            tasks.create_task(self._repeat_presses(client))
            tasks.create_task(self._heartbeats(client))

    async def _repeat_presses(self, client: aiomqtt.Client) -> None:
        """Publish what is pending: at once when connected or pressed, then every few seconds."""
        due: dict[str, float] = {}
        while True:
            self._pressed.clear()
            now = time.monotonic()
            for event_id, press in list(self.pending.items()):
                if due.get(event_id, now) <= now:
                    due[event_id] = now + self._repeat_s
                    press.published += 1
                    await client.publish(self._topic(Up.EVENT), press.payload, 1)
            due = {event_id: at for event_id, at in due.items() if event_id in self.pending}
            nearest = min(due.values(), default=now + self._repeat_s)
            await _wait(self._pressed, max(nearest - time.monotonic(), 0.0))

    async def _heartbeats(self, client: aiomqtt.Client) -> None:
        battery = 100
        while True:
            beat = Telemetry(
                ts=_millis(), boot=self.boot, battery=battery, signal_dbm=random.randint(-95, -70)
            )
            await client.publish(self._topic(Up.TELEMETRY), encode(beat), 0)
            await asyncio.sleep(self._heartbeat_s)
            battery = max(battery - 1, 15)

    async def _listen_down(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            try:
                channel, content = decode_down(message.topic.value, _bytes(message.payload))
            except BadDown as error:
                log.warning("pendant_message_odd", terminal=self.terminal, error=str(error))
                continue
            await self._take(Received(time.time(), channel, content))

    async def _take(self, received: Received) -> None:
        self.received.append(received)
        match received.message:
            case Ack(id=event_id):
                self.pending.pop(event_id, None)
            case Call(auto_answer_until=until):
                self._auto_answer_until = until / 1000
                self._maybe_answer()  # the call may have overtaken its announcement
        for listener in self._listeners:
            listener(received)
        async with self._news:
            self._news.notify_all()

    def _on_phone(self, event: PhoneEvent) -> None:
        if event.what == "ringing":
            self._maybe_answer()

    def _maybe_answer(self) -> None:
        """Pick up by ourselves, but only a call that the gateway announced: else it just rings."""
        if self.phone is None or not self.phone.ringing or time.time() > self._auto_answer_until:
            return
        self.phone.answer()

    async def _farewell(self, client: aiomqtt.Client) -> None:
        try:
            await client.publish(
                self._topic(Up.STATE), self._state(online=False), 1, retain=True, timeout=1
            )
        except aiomqtt.MqttError as error:
            log.info("pendant_left_unheard", terminal=self.terminal, error=str(error))

    def _topic(self, channel: Up) -> str:
        return up_topic(self.terminal, channel)

    def _state(self, *, online: bool) -> bytes:
        return encode(
            State(online=online, boot=self.boot, model="sim-pendant", firmware="1", ts=_millis())
        )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _millis() -> int:
    return round(time.time() * 1000)


def _bytes(payload: object) -> bytes:
    # aiomqtt types payloads as whatever may be published; what arrives is always bytes.
    return payload if isinstance(payload, bytes) else b""


if __name__ == "__main__":
    from sim.pendant_cli import main

    raise SystemExit(main())
