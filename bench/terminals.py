"""100,000 registered terminals, all online: memory of the daemon, time to start, cost at rest."""

import asyncio
import os
import sys
import time

from bench.processes import cpu_s, rss_mb
from bench.report import Table
from bench.rig import LOAD_USER, Rig
from sim.polling import poll

FLEETS = (1, 10_000, 100_000)
QUICK_FLEETS = (1, 200)
REST_S, QUICK_REST_S = 30.0, 1.0
ONLINE = 'onekey_terminals{state="online"}'
DEADLINE_S = 180.0
COLUMNS = (
    "terminals",
    "online",
    "import_s",
    "ready_s",
    "ready_ratio",
    "rss_mb",
    "restarted_rss_mb",
    "bytes_each",
    "rest_cpu_percent",
)


async def measure(*, quick: bool) -> list[Table]:
    """Measure fleets of growing size; the first one is the floor: a gateway without terminals."""
    table = Table(
        "terminals",
        COLUMNS,
        reach="100,000 terminals known and online: daemon below 1 GB, start below 10 s",
    )
    floor: tuple[float, float] | None = None
    for count in QUICK_FLEETS if quick else FLEETS:
        async with Rig(terminals=count) as rig:
            await _everybody_reports(rig, count)
            rss = rss_mb(rig.gateway.pid)
            await rig.restart()
            online = await _online(rig)
            ready, again = rig.ready_s, rss_mb(rig.gateway.pid)
            if floor is None:
                floor = ready, again
            table.add(
                terminals=count,
                online=online,
                import_s=rig.import_s,
                ready_s=ready,
                ready_ratio=ready / floor[0],
                rss_mb=rss,
                restarted_rss_mb=again,
                bytes_each=(again - floor[1]) * 1e6 / count if count > 1 else None,
                rest_cpu_percent=await _at_rest(rig, QUICK_REST_S if quick else REST_S),
            )
    table.notes += [
        "ready_s: process start → readiness with all terminals read from SQLite, after a restart",
        "rest_cpu_percent: of one processor, with the presence sweep and nothing else to do",
    ]
    return [table]


async def _everybody_reports(rig: Rig, count: int) -> None:
    """Let each terminal send one measurement; what is new is written at the next stop at last."""
    env = {**os.environ, "FLOOD_USER": LOAD_USER, "FLOOD_PASSWORD": rig.password}
    flood = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.flood", str(rig.port), str(count), str(count)), env=env
    )
    await flood.wait()

    async def all_online() -> bool:
        return await _online(rig) == count

    await poll(all_online, f"{count} terminals to be online", deadline=DEADLINE_S)


async def _online(rig: Rig) -> int:
    text = (await rig.gateway.api.request("GET", "/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith(ONLINE)]
    return int(float(lines[0].split()[-1])) if lines else 0


async def _at_rest(rig: Rig, seconds: float) -> float:
    begun, before = time.perf_counter(), cpu_s(rig.gateway.pid)
    await asyncio.sleep(seconds)
    return (cpu_s(rig.gateway.pid) - before) / (time.perf_counter() - begun) * 100
