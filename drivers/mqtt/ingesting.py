"""The ingest lanes: measurements in batches, births and wills, away from the presses.

States have a connection of their own because the broker sends all retained ones at every connect:
100,000 births before the first press would be a lane full of births.
"""

import asyncio
import ssl
from collections.abc import Callable

from drivers.api.driver import DriverContext
from drivers.api.events import TelemetryReported
from drivers.mqtt.config import MqttConfig
from drivers.mqtt.incoming import read
from drivers.mqtt.ingest import Handler, IngestConnection
from drivers.mqtt.links import Backoff, keep_linked
from drivers.mqtt.mapping import to_presence, to_telemetry
from protocols.mqtt_payload import v1
from protocols.mqtt_payload.topics import Up, up_filter


class TelemetryLane:
    """One of the shared ingest connections."""

    def __init__(self, config: MqttConfig, tls: ssl.SSLContext | None, index: int) -> None:
        self._config = config
        self._tls = tls
        self._name = f"telemetry-{index}"

    async def run(self, ctx: DriverContext) -> None:
        """Serve until cancelled."""
        config = self._config
        batch = TelemetryBatch(ctx, size=config.telemetry_batch, age_s=config.telemetry_batch_s)

        def on_message(topic: str | bytes, payload: bytes) -> None:
            message = read(ctx, Up.TELEMETRY, topic, payload, v1.decode_telemetry)
            if message is not None:
                batch.add(to_telemetry(*message, received_at=ctx.clock.time()))

        # QoS 0: a lost heartbeat is made up for by the next, and nobody has to acknowledge it.
        shared = f"$share/{config.share_group}/{up_filter(Up.TELEMETRY)}"
        try:
            await _keep(config, self._tls, ctx, self._name, shared, 0, on_message)
        finally:
            batch.flush()


class StateLane:
    """Births and wills. Not shared: every replica knows who is online."""

    def __init__(self, config: MqttConfig, tls: ssl.SSLContext | None) -> None:
        self._config = config
        self._tls = tls

    async def run(self, ctx: DriverContext) -> None:
        """Serve until cancelled."""

        def on_message(topic: str | bytes, payload: bytes) -> None:
            message = read(ctx, Up.STATE, topic, payload, v1.decode_state)
            if message is not None:
                ctx.presence(to_presence(*message, received_at=ctx.clock.time()))

        await _keep(self._config, self._tls, ctx, "state", up_filter(Up.STATE), 1, on_message)


class TelemetryBatch:
    """Collects measurements and hands them on when `size` are there or the first is `age_s` old."""

    def __init__(self, ctx: DriverContext, *, size: int, age_s: float) -> None:
        self._ctx = ctx
        self._size = size
        self._age_s = age_s
        self._reports: list[TelemetryReported] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, report: TelemetryReported) -> None:
        """Take one; hands the batch on when it is full."""
        self._reports.append(report)
        if len(self._reports) >= self._size:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._age_s, self.flush)

    def flush(self) -> None:
        """Hand on what is there."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reports:
            reports, self._reports = self._reports, []
            self._ctx.telemetry(reports)


async def _keep(
    config: MqttConfig,
    tls: ssl.SSLContext | None,
    ctx: DriverContext,
    name: str,
    topic_filter: str,
    qos: int,
    on_message: Handler,
) -> None:
    async def serve(up: Callable[[], None]) -> None:
        connection = IngestConnection(
            config, tls, client_id=f"{config.client_id_prefix}-{name}", on_message=on_message
        )
        async with connection:
            await connection.subscribe(topic_filter, qos=qos)
            up()
            await connection.lost()

    backoff = Backoff(config.backoff_min_s, config.backoff_max_s)
    await keep_linked(f"mqtt.{name}", serve, ctx, backoff)
