"""1,000 presses of 1,000 terminals at once: until all are committed and acknowledged.

The rule has flow `none`: it is the way into the store that is measured. What was acknowledged is
counted in the store afterwards.
"""

import sqlite3
import time

from bench import floors
from bench.press import NO_FLOW
from bench.presses import press
from bench.processes import cpu_s
from bench.report import Table, percentile, spread_ms
from bench.rig import Rig

PRESSES, ROUNDS = 1000, 3
QUICK_PRESSES = 50
SECONDS = 1.0
AT_ONCE = 1e6  # presses a second
COLUMNS = (
    "way",
    "presses",
    "acked",
    "in_store",
    "all_acked_s",
    "p50_ms",
    "p99_ms",
    "max_ms",
    "commits",
    "daemon_ms",
    "floors",
)


async def measure(*, quick: bool) -> list[Table]:
    """Let all press within a second, then all in one moment."""
    count, rounds = (QUICK_PRESSES, 1) if quick else (PRESSES, ROUNDS)
    table = Table(
        "storm",
        COLUMNS,
        reach="1,000 presses in a second: all committed and acknowledged within 3 s, nothing lost",
    )
    async with Rig(gateway=False) as rig:
        floor = percentile(await floors.echo(rig, nodelay=True, count=5 if quick else 100), 0.5)
    for way, rate in (("within a second", count / SECONDS), ("in one moment", AT_ONCE)):
        await _storms(table, way, rate=rate, count=count, rounds=rounds, floor=floor)
    table.notes.append("floors: p50 beside the echo loop's; daemon_ms: processor time per press")
    return [table]


async def _storms(
    table: Table, way: str, *, rate: float, count: int, rounds: int, floor: float
) -> None:
    rig = Rig(terminals=count * rounds, extra_toml=NO_FLOW)
    async with rig, rig.load() as load, rig.load("load-2") as other:
        await load.hear_acks()
        for number in range(rounds):
            before, commits = cpu_s(rig.gateway.pid), await _commits(rig)
            begun = time.perf_counter()
            terminals = range(number * count + 1, (number + 1) * count + 1)
            presses = await press(load, terminals, per_second=rate, others=[other])
            await presses.all_acked()
            table.add(
                way=way,
                presses=count,
                acked=len(presses.acked),
                in_store=stored(rig, set(presses.sent)),
                all_acked_s=max(presses.acked.values()) - begun,
                commits=await _commits(rig) - commits,
                daemon_ms=(cpu_s(rig.gateway.pid) - before) * 1000 / count,
                floors=percentile(presses.ack_s(), 0.5) / floor,
                **spread_ms(presses.ack_s()),
            )


def stored(rig: Rig, events: set[str]) -> int:
    """Return how many of these presses have opened exactly one incident in the store."""
    store = sqlite3.connect(rig.store)
    try:
        found = [row[0] for row in store.execute("SELECT event_id FROM incidents")]
    finally:
        store.close()
    return sum(found.count(event) == 1 for event in events & set(found))


async def _commits(rig: Rig) -> int:
    text = (await rig.gateway.api.request("GET", "/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith(COMMITS)]
    return int(float(lines[0].split()[-1])) if lines else 0


COMMITS = "onekey_store_commit_seconds_count"
