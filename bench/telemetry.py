"""Telemetry into the tracker, beside a bare aiomqtt loop on the same broker.

Both get the same flood, one after the other and several times, each in a process of its own: what
counts is the median of the rounds. The flood is smaller than the broker's queue for one client, so
that the slower one loses nothing.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.report import Table
from bench.rig import LOAD_USER, Rig

# Below max_queued_messages of the simulator's broker (100,000).
COUNT, ROUNDS, TERMINALS = 80_000, 3, 2000
QUICK_COUNT, QUICK_ROUNDS = 3000, 1
DEADLINE_S = 120.0
# The floor first: ratios are taken against it.
KINDS = {
    "bare": "bare aiomqtt + json.loads",
    "bare5": "the same with MQTT 5",
    "lane": "gateway: driver → tracker",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One flood through one consumer."""

    received: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Return messages per second."""
        return self.received / self.seconds

    @property
    def cpu_us(self) -> float:
        """Return processor time per message, in microseconds."""
        return self.cpu_s / self.received * 1e6


async def measure(*, quick: bool) -> list[Table]:
    """Flood both kinds of consumer."""
    count, rounds = (QUICK_COUNT, QUICK_ROUNDS) if quick else (COUNT, ROUNDS)
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    async with Rig(gateway=False) as rig:
        for _ in range(rounds):
            for kind, found in runs.items():
                found.append(await _run(rig, kind, count))
    table = Table(
        "telemetry",
        ["consumer", "messages", "lost", "rate_per_s", "cpu_us", "rate_ratio", "cpu_ratio"],
        reach="≥ 5 × the rate of the bare loop",
    )
    floor = runs["bare"]
    for kind, label in KINDS.items():
        found = runs[kind]
        table.add(
            consumer=label,
            messages=count,
            lost=sum(count - run.received for run in found),
            rate_per_s=median(run.rate for run in found),
            cpu_us=median(run.cpu_us for run in found),
            rate_ratio=median(r.rate for r in found) / median(r.rate for r in floor),
            cpu_ratio=median(r.cpu_us for r in floor) / median(r.cpu_us for r in found),
        )
    table.notes.append(f"medians of {rounds} rounds, {TERMINALS} terminals in turn, QoS 0")
    return [table]


async def _run(rig: Rig, kind: str, count: int) -> Run:
    words = [str(rig.port), str(count), str(TERMINALS)]
    env = {**os.environ, "FLOOD_USER": LOAD_USER, "FLOOD_PASSWORD": rig.password}
    consumer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.telemetry_consumer", kind, *words),
        stdout=asyncio.subprocess.PIPE,
        env=env,
    )
    children = [consumer]
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert consumer.stdout is not None
            await _line(consumer.stdout, "ready")
            flood = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.flood", *words, env=env
            )
            children.append(flood)
            result: dict[str, Any] = json.loads(await consumer.stdout.readline())
            for child in children:
                await child.wait()
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                await child.wait()
    return Run(result["received"], result["seconds"], result["cpu_s"])


async def _line(stream: asyncio.StreamReader, wanted: str) -> None:
    while (line := (await stream.readline()).decode().strip()) != wanted:
        if not line:
            raise RuntimeError("the consumer ended before it was ready")
