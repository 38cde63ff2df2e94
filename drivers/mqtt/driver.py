"""The MQTT driver: one event lane, one state lane and the telemetry lanes, run side by side."""

import asyncio
import ssl
from typing import Any

from drivers.api.commands import Command
from drivers.api.driver import Capabilities, DriverContext
from drivers.api.errors import TransientError, Unsupported
from drivers.api.ids import TerminalId
from drivers.mqtt.config import MqttConfig
from drivers.mqtt.events import EventLane
from drivers.mqtt.ingesting import StateLane, TelemetryLane
from drivers.mqtt.mapping import expiry_s, to_down
from protocols.mqtt_payload.topics import down_topic, is_terminal_id

# What the contract's `down/command` names; a terminal that cannot do one replies with ok=false.
COMMANDS = frozenset({"locate", "ring", "volume", "config", "reboot"})


class MqttDriver:
    """Terminals on an MQTT broker, by the contract `onekey/v1`."""

    def __init__(self, config: MqttConfig, tls: ssl.SSLContext | None) -> None:
        self._config = config
        self._events = EventLane(config, tls)
        self._others: list[StateLane | TelemetryLane] = [
            StateLane(config, tls),
            *(TelemetryLane(config, tls, n) for n in range(config.telemetry_connections)),
        ]
        self._ctx: DriverContext | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Return what the contract offers; the terminal's model may have less."""
        return Capabilities(
            display=True, voice_prompts=True, announces_calls=True, commands=COMMANDS
        )

    async def run(self, ctx: DriverContext) -> None:
        """Serve until cancelled; reconnects by itself."""
        self._ctx = ctx
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._events.run(ctx), name="mqtt-events")
            for lane in self._others:
                lanes.create_task(lane.run(ctx), name="mqtt-ingest")

    async def send(self, terminal: TerminalId, command: Command) -> None:
        """Publish `command` with QoS 1; returns when the broker has it.

        Raises TransientError when not connected or after `publish_timeout_s`, Unsupported for a
        terminal that cannot be behind MQTT.
        """
        if self._ctx is None:
            raise TransientError("the driver does not run")
        if not is_terminal_id(terminal):
            raise Unsupported("not an id of an MQTT terminal")
        now = self._ctx.clock.time()
        message = to_down(command, now=now)
        await self._events.publish(
            down_topic(terminal, message.channel),
            message.payload,
            expiry_s=expiry_s(message.expires_at, now=now, default_s=self._config.down_expiry_s),
        )


def create(section: dict[str, Any]) -> MqttDriver:
    """Return a driver for its config section; raises pydantic.ValidationError or OSError."""
    config = MqttConfig.model_validate(section)
    return MqttDriver(config, config.tls.context() if config.tls is not None else None)
