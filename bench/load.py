"""One MQTT connection that speaks for all terminals. gmqtt, so that it takes little itself."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Self

import gmqtt

from protocols.mqtt_payload.topics import ROOT

# gmqtt raises OverflowError at more publishes without a PUBACK than this, or than the broker's own
# limit, which is 1000 in the simulator's.
RECEIVE_MAXIMUM = 65_535

Heard = Callable[[float, str, bytes], None]


class Load:
    """Publishes at once; `heard` gets time (perf_counter), topic and payload."""

    def __init__(self, *, port: int, user: str, password: str, name: str = "load") -> None:
        self._port = port
        self._client = gmqtt.Client(name, clean_session=True, receive_maximum=RECEIVE_MAXIMUM)
        self._client.set_auth_credentials(user, password)
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._subscribed = asyncio.Event()
        self.heard: Heard = lambda _at, _topic, _payload: None

    async def __aenter__(self) -> Self:
        await self._client.connect("127.0.0.1", self._port, keepalive=60)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.disconnect()

    async def subscribe(self, topic_filter: str) -> None:
        """Subscribe with QoS 1; returns when the broker has it."""
        self._subscribed.clear()
        self._client.subscribe(topic_filter, qos=1)
        await asyncio.wait_for(self._subscribed.wait(), 10)

    async def hear_acks(self) -> None:
        """Subscribe to what the gateway answers to all terminals."""
        await self.subscribe(f"{ROOT}/+/down/ack")

    def publish(self, topic: str, payload: bytes, *, qos: int = 1) -> float:
        """Publish; returns when (perf_counter)."""
        at = time.perf_counter()
        self._client.publish(topic, payload, qos=qos)
        return at

    def _on_message(
        self, _client: object, topic: str, payload: bytes, _qos: int, _properties: Any
    ) -> None:
        self.heard(time.perf_counter(), topic, payload)

    def _on_subscribe(self, *_what: object) -> None:
        self._subscribed.set()
