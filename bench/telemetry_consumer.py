"""Takes telemetry in a process of its own: `… lane|bare|bare5 PORT COUNT TERMINALS`.

User and password come from the environment (FLOOD_USER, FLOOD_PASSWORD). Says `ready` when
subscribed; after COUNT messages one JSON line: received, seconds from the first
to the last, processor seconds meanwhile.

    bare   aiomqtt as it comes (MQTT 3.1.1), json.loads for each message, and nothing else
    bare5  the same with MQTT 5, which the gateway speaks
    lane   the gateway's own path: driver, mapping, driver port, tracker with its directory
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import aiomqtt
import structlog

from drivers.api.events import TelemetryReported
from drivers.api.ids import TerminalId
from drivers.mqtt.config import MqttConfig
from drivers.mqtt.ingesting import TelemetryLane
from gateway.clock import SystemClock
from gateway.config import PresenceConfig, StoreConfig
from gateway.driver_port import DriverPort
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.terminals.directory import Directory
from gateway.terminals.model import Terminal
from gateway.terminals.tracker import TerminalTracker
from protocols.mqtt_payload.topics import Up, up_filter
from sim.options import terminal_id

# A consumer that gets nothing for so long has lost messages; it reports what it has.
SILENCE_S = 2.0


@dataclass(slots=True)
class Meter:
    """Counts messages from the first on."""

    wanted: int
    received: int = 0
    began: float = 0.0
    began_cpu: float = 0.0
    ended: float = 0.0
    ended_cpu: float = 0.0

    def count(self, messages: int) -> None:
        """Note the arrival of some."""
        self.ended, self.ended_cpu = time.perf_counter(), time.process_time()
        if not self.received:
            self.began, self.began_cpu = self.ended, self.ended_cpu
        self.received += messages

    @property
    def done(self) -> bool:
        """Tell whether all are there."""
        return self.received >= self.wanted

    async def wait(self) -> None:
        """Wait until all are there or nothing comes any more."""
        while not self.done:
            await asyncio.sleep(0.1)
            if self.received and time.perf_counter() - self.ended > SILENCE_S:
                return

    def report(self) -> str:
        """Return the JSON line."""
        return json.dumps(
            {
                "received": self.received,
                "seconds": self.ended - self.began,
                "cpu_s": self.ended_cpu - self.began_cpu,
            }
        )


def say(line: str) -> None:
    """Tell the parent."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def bare(port: int, meter: Meter, version: aiomqtt.ProtocolVersion) -> None:
    """Take messages as a first attempt would."""
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        username=os.environ["FLOOD_USER"],
        password=os.environ["FLOOD_PASSWORD"],
        protocol=version,
    )
    async with client:
        await client.subscribe(up_filter(Up.TELEMETRY), qos=0)
        say("ready")
        async for message in client.messages:
            json.loads(message.payload)
            meter.count(1)
            if meter.done:
                return


class CountingTracker:
    """The tracker, with a count of what it has taken."""

    def __init__(self, tracker: TerminalTracker, meter: Meter) -> None:
        self._tracker = tracker
        self._meter = meter
        self.presence = tracker.presence
        self.seen = tracker.seen

    def telemetry(self, batch: Sequence[TelemetryReported]) -> None:
        """Pass on, then count."""
        self._tracker.telemetry(batch)
        self._meter.count(len(batch))


async def lane(port: int, meter: Meter, terminals: int) -> None:
    """Take messages as the gateway does."""
    config = MqttConfig.model_validate(
        {
            "port": port,
            "username": os.environ["FLOOD_USER"],
            "password": os.environ["FLOOD_PASSWORD"],
        }
    )
    with TemporaryDirectory() as directory:
        metrics, clock, presence = Metrics(), SystemClock(), PresenceConfig()
        database = Database(StoreConfig(), f"sqlite:///{Path(directory) / 'store'}", metrics)
        await database.start()
        known = Directory(database, clock, presence)
        await known.register([_terminal(number) for number in range(1, terminals + 1)])
        tracker = TerminalTracker(known, database, metrics, clock, presence, lambda _: None)
        port_of = DriverPort(
            "mqtt",
            pipeline=cast("Any", None),  # no press comes in here
            tracker=CountingTracker(tracker, meter),
            metrics=metrics,
            clock=clock,
            on_link=_on_link(lambda: say("ready")),
        )
        tasks = [
            asyncio.create_task(TelemetryLane(config, None, 0).run(port_of)),
            asyncio.create_task(tracker.run()),
        ]
        await meter.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.stop()


def _on_link(up: Callable[[], None]) -> Callable[[str, str, bool], None]:
    def on_link(_driver: str, _name: str, is_up: bool) -> None:  # noqa: FBT001 the port's signature
        if is_up:
            up()

    return on_link


def _terminal(number: int) -> Terminal:
    return Terminal(id=TerminalId(terminal_id(number)), kind="portable", model="", driver="mqtt")


async def main(kind: str, port: int, count: int, terminals: int) -> None:
    """Be one consumer."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    meter = Meter(count)
    versions = {"bare": aiomqtt.ProtocolVersion.V311, "bare5": aiomqtt.ProtocolVersion.V5}
    version = versions.get(kind)
    task = asyncio.create_task(
        bare(port, meter, version) if version is not None else lane(port, meter, terminals)
    )
    await meter.wait()
    say(meter.report())
    if version is not None:
        task.cancel()
    await asyncio.wait({task})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *(int(word) for word in sys.argv[2:5])))
