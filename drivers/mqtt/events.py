"""The event lane: presses and alarms on a connection of their own; commands leave on it too."""

import asyncio
import ssl
from collections.abc import Callable

import structlog

from drivers.api.driver import DriverContext
from drivers.api.errors import TransientError
from drivers.api.events import Refusal
from drivers.mqtt.acks import AckPump, AckToken
from drivers.mqtt.config import MqttConfig
from drivers.mqtt.connection import Delivery, EventConnection
from drivers.mqtt.flood import FloodGuard
from drivers.mqtt.inbox import Inbox
from drivers.mqtt.incoming import read
from drivers.mqtt.links import Backoff, LinkLost, keep_linked
from drivers.mqtt.mapping import to_event
from protocols.mqtt_payload import v1
from protocols.mqtt_payload.topics import Up, up_filter

log = structlog.get_logger()

LINK = "mqtt.events"


class EventLane:
    """Acknowledges a press to the broker only after its commit. Run once."""

    def __init__(self, config: MqttConfig, tls: ssl.SSLContext | None) -> None:
        self._config = config
        self._tls = tls
        self._pump = AckPump()
        self._guard = FloodGuard(config.flood)
        self._connection: EventConnection | None = None
        self._had_session = False

    async def run(self, ctx: DriverContext) -> None:
        """Serve until cancelled."""
        config = self._config
        async with asyncio.TaskGroup() as commits:
            inbox = Inbox(
                ctx,
                self._pump,
                self._guard,
                commits,
                submit_timeout_s=config.submit_timeout_s,
            )

            async def serve(up: Callable[[], None]) -> None:
                await self._serve(ctx, inbox, up)

            await keep_linked(LINK, serve, ctx, Backoff(config.backoff_min_s, config.backoff_max_s))

    async def publish(self, topic: str, payload: bytes, *, expiry_s: int) -> None:
        """Publish to a terminal; returns when the broker has it. Raises TransientError."""
        connection = self._connection
        if connection is None:
            raise TransientError("not connected to the broker")
        try:
            await connection.publish(topic, payload, expiry_s=expiry_s)
        except LinkLost as error:
            raise TransientError(error.reason) from error

    async def _serve(self, ctx: DriverContext, inbox: Inbox, up: Callable[[], None]) -> None:
        connection = EventConnection(
            self._config,
            self._tls,
            client_id=f"{self._config.client_id_prefix}-events",
            on_delivery=lambda delivery: self._deliver(ctx, inbox, delivery),
        )
        # Before connecting: queued messages come together with CONNACK.
        self._pump.connected(connection.acknowledge)
        try:
            async with connection:
                await connection.subscribe(up_filter(Up.EVENT))
                self._check_session(present=connection.session_present)
                self._connection = connection
                up()
                await connection.lost()
        finally:
            self._connection = None
            self._pump.disconnected()

    def _check_session(self, *, present: bool) -> None:
        if self._had_session and not present:
            log.error("mqtt_session_lost", cure="broker: persistence, session expiry")
        self._had_session = True

    def _deliver(self, ctx: DriverContext, inbox: Inbox, delivery: Delivery) -> None:
        token = self._pump.arrived(delivery.mid)
        message = read(ctx, Up.EVENT, delivery.topic, delivery.payload, v1.decode_event)
        if message is None:
            self._pump.settle(token)  # refused for good: it must not come again
            return
        terminal, payload = message
        event = to_event(terminal, payload, received_at=ctx.clock.time())
        if delivery.retained:
            # It would come back as a new press at every connect.
            ctx.refused(terminal, Refusal.RETAINED, f"event {event.event_id}")
        elif self._overfull(token):
            ctx.refused(terminal, Refusal.FLOOD, "too many events with QoS 0")
        elif not self._guard.admits(event, ctx.clock.monotonic(), redelivered=delivery.redelivered):
            ctx.refused(terminal, Refusal.FLOOD, f"event {event.event_id}")
        else:
            inbox.add(event, token)
            return
        self._pump.settle(token)

    def _overfull(self, token: AckToken) -> bool:
        # Receive Maximum bounds QoS 1 only (MQTT 5.0 §4.9).
        return token.mid is None and self._pump.waiting > 2 * self._config.receive_maximum
