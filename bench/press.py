"""Press → application acknowledgement, and press → INVITE at the agent.

Every press comes from another terminal and opens a case. The agent rings and declines at once, so
that a leg lives for milliseconds: what is measured is the way, not the pool's capacity. At 200 a
second the rule has flow `none`: 200 legs a second would be limited by `dials_per_second` of the
workers (10 each, because of PJSIP), not by the way of a press.
"""

from dataclasses import dataclass

from bench import floors
from bench.agent import Agent
from bench.load import Load as MqttLoad
from bench.presses import Presses, press
from bench.processes import cpu_of
from bench.report import Table, percentile, spread_ms
from bench.rig import Rig, settle

WORKERS = 8
ONE_ROUND = "[emergency]\nchain_rounds = 1\nchain_pause_s = 0\n"
NO_FLOW = '[[routing.rules]]\nname = "everything"\nflow = "none"\n'
COLUMNS = (
    "presses_per_s",
    "presses",
    "what",
    "p50_ms",
    "p99_ms",
    "max_ms",
    "floors",
    "daemon_ms",
    "workers_ms",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many presses at this rate; `first` is the number of the first terminal."""

    per_second: float
    count: int
    first: int

    @property
    def terminals(self) -> range:
        """Return the numbers of the terminals that press."""
        return range(self.first, self.first + self.count)


async def measure(*, quick: bool) -> list[Table]:
    """Measure floors, then 1, 20 and 200 presses a second."""
    table = Table(
        "press",
        COLUMNS,
        reach="ack p99 ≤ 30 ms at 200/s; INVITE p50 ≤ 15 ms and p99 ≤ 50 ms at 20/s",
    )
    count = 5 if quick else 200
    async with Agent() as agent:
        async with Rig(gateway=False) as rig:
            base = await _floors(table, rig, agent, count)
        slow = Load(per_second=1 if not quick else 5, count=3 if quick else 20, first=11)
        fast = Load(per_second=20, count=5 if quick else 400, first=slow.first + slow.count)
        rig = Rig(
            terminals=fast.first + fast.count,
            agent_uri=agent.uri,
            workers=2 if quick else WORKERS,
            extra_toml=ONE_ROUND,
        )
        async with rig:
            await _calls(table, rig, agent, [slow, fast], base)
    storm = Load(per_second=200, count=20 if quick else 2000, first=11)
    async with Rig(terminals=storm.first + storm.count, extra_toml=NO_FLOW) as rig:
        await _acks(table, rig, storm, base)
    table.notes += [
        "floors: how many times the p50 of the floor (echo for ack, echo + INVITE for INVITE)",
        "daemon_ms, workers_ms: processor time per press",
    ]
    return [table]


async def _floors(table: Table, rig: Rig, agent: Agent, count: int) -> tuple[float, float]:
    """Measure the floors; returns the p50 of the echo and of the bare INVITE, in seconds."""
    echo = await floors.echo(rig, nodelay=True, count=count)
    invite = await floors.invite(agent, count=count)
    nagle = await floors.echo(rig, nodelay=False, count=count // 4 + 1)
    base = percentile(echo, 0.5), percentile(invite, 0.5)
    for what, took, floor in (
        ("floor: aiomqtt echo", echo, base[0]),
        ("floor: echo without TCP_NODELAY", nagle, base[0]),
        ("floor: bare INVITE → 180", invite, base[1]),
    ):
        ratio = percentile(took, 0.5) / floor
        table.add(presses=len(took), what=what, floors=ratio, **spread_ms(took))
    return base


async def _calls(
    table: Table, rig: Rig, agent: Agent, loads: list[Load], base: tuple[float, float]
) -> None:
    async with rig.load() as load:
        await load.hear_acks()
        await _warm(load)
        for one in loads:
            before = _cpu(rig)
            presses = await press(load, one.terminals, per_second=one.per_second)
            await presses.all_acked()
            await settle(1)  # the last calls end
            used = [(b - a) * 1000 / one.count for a, b in zip(before, _cpu(rig), strict=True)]
            _row(table, one, "press → ack", presses.ack_s(), base[0], used)
            _row(table, one, "press → INVITE", presses.invite_s(agent.invites), sum(base), used)


async def _acks(table: Table, rig: Rig, one: Load, base: tuple[float, float]) -> None:
    async with rig.load() as load:
        await load.hear_acks()
        await _warm(load)
        before = _cpu(rig)
        presses = await press(load, one.terminals, per_second=one.per_second)
        await presses.all_acked()
        used = [(b - a) * 1000 / one.count for a, b in zip(before, _cpu(rig), strict=True)]
        _row(table, one, "press → ack (flow none)", presses.ack_s(), base[0], used)


async def _warm(load: MqttLoad) -> Presses:
    """Press ten times first: what is used for the first time is not what is measured."""
    presses = await press(load, range(1, 11), per_second=10)
    await presses.all_acked()
    await settle(1)
    return presses


def _cpu(rig: Rig) -> tuple[float, float]:
    return cpu_of([rig.gateway.pid]), cpu_of(rig.worker_pids())


def _row(
    table: Table, one: Load, what: str, took: list[float], floor: float, used: list[float]
) -> None:
    table.add(
        presses_per_s=one.per_second,
        presses=len(took),
        what=what,
        floors=percentile(took, 0.5) / floor if took else None,
        daemon_ms=used[0],
        workers_ms=used[1],
        **spread_ms(took),
    )
