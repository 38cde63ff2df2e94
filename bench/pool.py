"""What idle workers cost: processor and memory of the pool at rest, and the time to start one."""

import asyncio
import time

from bench.processes import cpu_of, cpu_s, pss_mb
from bench.report import Table
from bench.rig import Rig

SIZES, QUICK_SIZES = (2, 20, 50), (2,)
REST_S, QUICK_REST_S = 20.0, 1.0
COLUMNS = (
    "workers",
    "ready_s",
    "spawn_ms_each",
    "daemon_cpu_percent",
    "worker_cpu_percent",
    "daemon_pss_mb",
    "worker_pss_mb",
)


async def measure(*, quick: bool) -> list[Table]:
    """Measure the daemon without telephony (the floor), then with pools of growing size."""
    table = Table(
        "pool",
        COLUMNS,
        reach="idle workers cost next to nothing: 0.03 % of a processor each",
    )
    rest_s = QUICK_REST_S if quick else REST_S
    floor = await _row(table, 0, rest_s, None)
    for workers in QUICK_SIZES if quick else SIZES:
        await _row(table, workers, rest_s, floor)
    table.notes += [
        "spawn_ms_each: time to readiness beyond that without telephony, by the workers",
        "worker_*: all processes below the daemon, the forking one too, by the workers",
    ]
    return [table]


async def _row(table: Table, workers: int, rest_s: float, floor: float | None) -> float:
    async with Rig(workers=workers) as rig:
        await asyncio.sleep(2)  # the start has ended
        pids = rig.worker_pids()
        begun, daemon, all_workers = time.perf_counter(), cpu_s(rig.gateway.pid), cpu_of(pids)
        await asyncio.sleep(rest_s)
        took = (time.perf_counter() - begun) / 100
        spawn_s = None if floor is None else rig.ready_s - floor
        table.add(
            workers=workers,
            ready_s=rig.ready_s,
            spawn_ms_each=None if spawn_s is None else spawn_s * 1000 / workers,
            daemon_cpu_percent=(cpu_s(rig.gateway.pid) - daemon) / took,
            worker_cpu_percent=(cpu_of(pids) - all_workers) / took / workers if workers else None,
            daemon_pss_mb=pss_mb(rig.gateway.pid),
            worker_pss_mb=sum(map(pss_mb, pids)) / workers if workers else None,
        )
        return rig.ready_s
