"""Floors in the run's own conditions: a bare echo over the broker, a bare INVITE."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence

from bench.agent import Agent
from bench.bare_echo import DOWN, UP
from bench.rig import LOAD_USER, Rig

PAUSE_S = 0.05  # 20 a second
DEADLINE_S = 5.0


async def echo(rig: Rig, *, nodelay: bool, count: int) -> list[float]:
    """Return the seconds from publish to echo, of `count` messages at 20 a second."""
    env = {**os.environ, "LOAD_USER": LOAD_USER, "LOAD_PASSWORD": rig.password}
    way = "nodelay" if nodelay else "nagle"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare_echo", str(rig.port), way),
        stdout=asyncio.subprocess.PIPE,
        env=env,
    )
    try:
        assert child.stdout is not None
        await asyncio.wait_for(child.stdout.readline(), DEADLINE_S)
        return await _echoes(rig, count)
    finally:
        child.kill()
        await child.wait()


async def _echoes(rig: Rig, count: int) -> list[float]:
    took: list[float] = []
    async with rig.load("echo-load") as load:
        await load.subscribe(DOWN)
        arrived: asyncio.Queue[float] = asyncio.Queue()
        load.heard = lambda at, _topic, _payload: arrived.put_nowait(at)
        for number in range(count):
            begun = load.publish(UP, b"%d" % number)
            took.append(await asyncio.wait_for(arrived.get(), DEADLINE_S) - begun)
            await asyncio.sleep(max(0.0, begun + PAUSE_S - time.perf_counter()))
    return took


async def invite(agent: Agent, *, count: int) -> Sequence[float]:
    """Return the seconds from a bare INVITE to its 180."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare_invite", str(agent.port), str(count)),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate()
    took: list[float] = json.loads(said)
    return took
