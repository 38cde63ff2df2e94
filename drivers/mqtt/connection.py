"""The connection of the event lane: aiomqtt with acknowledgements in our hands. One use only.

All we take from inside aiomqtt is its paho client, `client._client`, for what aiomqtt 2.5 does not
pass on: manual acknowledgement, the DUP and session-present flags, and messages without a task for
each. tests/drivers/mqtt/test_connection.py fails should a new version take that away.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import aiomqtt
import structlog
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from drivers.mqtt.config import MqttConfig
from drivers.mqtt.links import LinkLost

log = structlog.get_logger()

# Our broker refuses payloads of more than 64 KiB; another broker shall not hand us its maximum of
# 256 MiB either (MQTT 5.0 §3.1.2.11.4: it drops what is larger).
MAXIMUM_PACKET_SIZE = 128 * 1024
# Reason code "Session taken over" (MQTT 5.0 §3.14.2.1).
SESSION_TAKEN_OVER = 142
# Without it each small answer waits 40-90 ms for the peer's delayed TCP acknowledgement.
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
# A stop must not take longer than this, even when the network has gone dead.
CLOSE_DEADLINE_S = 1.0

T = TypeVar("T")


class Delivery(NamedTuple):
    """One PUBLISH from the broker; `mid` is None for QoS 0, `topic` None when not UTF-8."""

    topic: str | None
    payload: bytes
    mid: int | None
    retained: bool
    redelivered: bool


class EventConnection:
    """One MQTT 5 connection with a persistent session and manual acknowledgement.

    `on_delivery` is called on the event loop, possibly before `__aenter__` returns: the broker
    sends what it queued right after CONNACK. It must not raise.
    """

    def __init__(
        self,
        config: MqttConfig,
        tls: ssl.SSLContext | None,
        *,
        client_id: str,
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        self._on_delivery = on_delivery
        self._publish_timeout_s = config.publish_timeout_s
        self._client = _client(config, tls, client_id)
        self._paho = self._client._client  # noqa: SLF001 - see the module's docstring
        self._connected_hook = self._paho.on_connect
        self._watch: asyncio.Task[None] | None = None
        self.session_present = False
        # Before connecting, because with a resumed session the first message may come with CONNACK.
        self._paho.manual_ack_set(on=True)
        self._paho.on_message = self._receive
        self._paho.on_connect = self._note_connack
        self._paho.on_publish = _logging_refusals(self._paho.on_publish)
        self._paho.connect_timeout = config.connect_timeout_s

    async def __aenter__(self) -> Self:
        entering = asyncio.ensure_future(self._client.__aenter__())
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError:
            # paho connects in a thread that nobody can interrupt; left alone it would end as a
            # live connection without an owner.
            await asyncio.wait({entering}, timeout=CLOSE_DEADLINE_S)
            self._paho.on_disconnect = None  # aiomqtt's stumbles over a cancelled connect
            entering.cancel()
            await asyncio.wait({entering})
            self._paho.disconnect()
            raise
        except aiomqtt.MqttError as error:
            self._paho.disconnect()  # after a missing CONNACK the socket is still open
            raise _lost(error) from error
        self._watch = asyncio.create_task(self._watch_connection(), name="mqtt-events-watch")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._watch is not None
        self._watch.cancel()
        await asyncio.wait({self._watch})
        if not self._watch.cancelled():
            self._watch.exception()  # seen, so that asyncio does not complain
        # The connection may die while we close it; then it is closed.
        with suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await self._client.__aexit__(None, None, None)

    async def subscribe(self, topic_filter: str) -> None:
        """Subscribe with QoS 1; raises LinkLost when refused, late or disconnected."""
        codes = await self._while_connected(self._client.subscribe(topic_filter, qos=1))
        refused = [code for code in codes if isinstance(code, ReasonCode) and code.is_failure]
        if refused:
            raise LinkLost(f"subscription to {topic_filter} refused: {refused[0]}")

    async def publish(self, topic: str, payload: bytes, *, expiry_s: int) -> None:
        """Publish with QoS 1, not retained; returns at PUBACK.

        Raises LinkLost when the connection ends, or the deadline passes, before that.
        """
        properties = _properties(PacketTypes.PUBLISH)
        properties.MessageExpiryInterval = expiry_s
        await self._while_connected(
            self._client.publish(
                topic, payload, qos=1, properties=properties, timeout=self._publish_timeout_s
            )
        )

    def acknowledge(self, mid: int) -> None:
        """Send the PUBACK for packet `mid`."""
        self._paho.ack(mid, 1)

    async def lost(self) -> None:
        """Wait for the end of the connection, then raise LinkLost."""
        assert self._watch is not None
        await asyncio.shield(self._watch)

    async def _while_connected(self, call: Coroutine[Any, Any, T]) -> T:
        # aiomqtt's own calls do not notice a lost connection before their time-out.
        assert self._watch is not None
        task = asyncio.ensure_future(call)
        try:
            await asyncio.wait({task, self._watch}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await self._watch  # raises the reason
            return task.result()
        except aiomqtt.MqttError as error:
            raise _lost(error) from error
        finally:
            task.cancel()

    async def _watch_connection(self) -> None:
        try:
            # Deliveries go to `_receive`: this iterator yields nothing and ends with the link.
            async for _ in self._client.messages:
                log.error("mqtt_message_on_the_wrong_path")
        except aiomqtt.MqttError as error:
            raise _lost(error.__cause__ or error) from error

    def _receive(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic: str | None = message.topic
        except UnicodeDecodeError:
            topic = None
        self._on_delivery(
            Delivery(
                topic,
                bytes(message.payload),
                message.mid if message.qos else None,
                bool(message.retain),
                bool(message.dup),
            )
        )

    def _note_connack(
        self,
        client: paho.Client,
        data: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.session_present = bool(flags.session_present)
        hook: Any = self._connected_hook  # aiomqtt's own
        hook(client, data, flags, code, properties)


def _client(config: MqttConfig, tls: ssl.SSLContext | None, client_id: str) -> aiomqtt.Client:
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = config.session_expiry_s
    properties.ReceiveMaximum = config.receive_maximum
    properties.MaximumPacketSize = MAXIMUM_PACKET_SIZE
    client = aiomqtt.Client(
        config.host,
        config.port,
        username=config.username or None,
        password=config.secret() or None,
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        keepalive=config.keepalive_s,
        timeout=config.connect_timeout_s,
        properties=properties,
        tls_context=tls,
        socket_options=[NO_DELAY],
    )
    # It warns at more than 10 publishes under way, which is an ordinary storm here.
    client.pending_calls_threshold = config.receive_maximum
    return client


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call] # paho left it untyped


def _logging_refusals(hook: Any) -> Any:
    def on_publish(
        client: paho.Client, data: object, mid: int, code: ReasonCode, properties: Properties
    ) -> None:
        if code.is_failure:  # aiomqtt takes any PUBACK for a success
            log.error("mqtt_publish_refused", reason=str(code), cure="broker's acl for our user")
        hook(client, data, mid, code, properties)

    return on_publish


def _lost(error: BaseException) -> LinkLost:
    code = getattr(error, "rc", None)
    value = code.value if isinstance(code, ReasonCode) else code
    return LinkLost(str(error), taken_over=value == SESSION_TAKEN_OVER)
