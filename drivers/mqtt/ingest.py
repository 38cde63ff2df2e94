"""The connection of the ingest lanes: gmqtt with a short way for plain messages. One use only.

It acknowledges QoS 1 by itself on arrival: right for measurements and for states that the broker
retains, wrong for events.

A plain PUBLISH is opened by `packets.split`, which takes the place of gmqtt's own splitter of
reads, `_read_packet`: 0.8 µs a message in place of 4.4 (docs/benchmarks.md). Everything else, from
CONNECT to DISCONNECT, is gmqtt's. tests/drivers/mqtt/test_connection.py fails should it lose that
method.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import gmqtt
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.mqtt.package import Package

from drivers.mqtt.config import MqttConfig
from drivers.mqtt.connection import CLOSE_DEADLINE_S, MAXIMUM_PACKET_SIZE, SESSION_TAKEN_OVER
from drivers.mqtt.links import LinkLost
from drivers.mqtt.packets import split

# gmqtt works through all that one read brought before it lets others run. This bounds a read to
# about 64 KiB, some 400 messages and 10 ms, so that a press never waits longer behind telemetry.
RECEIVE_BUFFER = 32 * 1024

Handler = Callable[[str | bytes, bytes], None]


class _OneConnection(gmqtt.Client):  # type: ignore[misc] # gmqtt has no types
    async def reconnect(self, delay: bool = False) -> None:  # noqa: FBT001, FBT002 - gmqtt's own signature
        """Do nothing: gmqtt's tasks for this have no owner, so the lane's supervisor reconnects."""


class IngestConnection:
    """One MQTT 5 connection with one subscription. `on_message` gets topic and payload."""

    def __init__(
        self,
        config: MqttConfig,
        tls: ssl.SSLContext | None,
        *,
        client_id: str,
        on_message: Handler,
    ) -> None:
        self._config = config
        self._tls = tls
        self._on_message = on_message
        self._subscribed: asyncio.Future[Sequence[int]] = asyncio.Future()
        self._ended = asyncio.Event()
        self._reason = "connection lost"
        self._taken_over = False
        self._client = _OneConnection(
            client_id,
            clean_session=True,
            receive_maximum=config.receive_maximum,
            maximum_packet_size=MAXIMUM_PACKET_SIZE,
        )
        if config.username:
            self._client.set_auth_credentials(config.username, config.secret())
        self._client.on_message = self._receive
        self._client.on_disconnect = self._note_end
        self._client.on_subscribe = self._note_suback

    async def __aenter__(self) -> Self:
        config = self._config
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                await self._client.connect(
                    config.host, config.port, ssl=self._tls or False, keepalive=config.keepalive_s
                )
        except BaseException as error:
            await self._close()
            if isinstance(error, TimeoutError):
                raise LinkLost("no CONNACK in time") from error
            if isinstance(error, OSError | MQTTConnectError):
                raise LinkLost(str(error)) from error
            raise
        self._bound_reads()
        self._shorten_way()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def subscribe(self, topic_filter: str, *, qos: int) -> None:
        """Subscribe; raises LinkLost when refused, late or disconnected."""
        self._client.subscribe(topic_filter, qos=qos)
        try:
            async with asyncio.timeout(self._config.connect_timeout_s):
                codes = await self._subscribed
        except TimeoutError as error:
            raise LinkLost("no SUBACK in time") from error
        if any(code >= 0x80 for code in codes):
            raise LinkLost(f"subscription to {topic_filter} refused")

    async def lost(self) -> None:
        """Wait for the end of the connection, then raise LinkLost."""
        await self._ended.wait()
        raise LinkLost(self._reason, taken_over=self._taken_over)

    def _receive(
        self, _client: object, topic: str | bytes, payload: bytes, _qos: int, _properties: object
    ) -> None:
        self._on_message(topic, payload)

    def _note_end(self, _client: object, packet: Any, _error: object = None) -> None:
        # A DISCONNECT of the broker begins with its reason code (MQTT 5.0 §3.14.2.1); gmqtt makes
        # up an empty one when the socket closes.
        if isinstance(packet, bytes) and packet:
            self._reason = f"broker disconnected, reason code {packet[0]}"
            self._taken_over = packet[0] == SESSION_TAKEN_OVER
        self._ended.set()
        if not self._subscribed.done():
            self._subscribed.set_exception(LinkLost(self._reason))
            self._subscribed.exception()  # seen: nobody may be waiting for it

    def _note_suback(
        self, _client: object, _mid: int, codes: Sequence[int], _properties: object
    ) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(codes)

    def _shorten_way(self) -> None:
        connection = self._client._connection  # noqa: SLF001 - see the module's docstring

        def other(first: int, body: bytes) -> None:
            connection.put_package(Package(first, body))

        def read_packet(data: bytes) -> int:
            used = split(data, self._on_message, other)
            connection._last_data_in = time.monotonic()  # noqa: SLF001 - for gmqtt's keepalive
            return used

        connection._protocol._read_packet = read_packet  # noqa: SLF001

    def _transport(self) -> asyncio.Transport | None:
        connection = self._client._connection  # noqa: SLF001 - gmqtt shows its transport nowhere
        transport: asyncio.Transport | None = connection and connection._transport  # noqa: SLF001
        return transport

    def _bound_reads(self) -> None:
        transport = self._transport()
        if transport is not None:  # asyncio has set TCP_NODELAY itself
            peer: socket.socket = transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    async def _close(self) -> None:
        if self._ended.is_set():
            self._abort()  # nobody is left to say DISCONNECT to
            return
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await self._client.disconnect()
        except (TimeoutError, OSError):
            self._abort()

    def _abort(self) -> None:
        transport = self._transport()
        if transport is not None:
            transport.abort()
