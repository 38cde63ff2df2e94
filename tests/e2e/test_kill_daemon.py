"""Promises 1 and 2: `kill -9` of the daemon loses no press and doubles none."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from sim.options import AgentSpec, WorldOptions, terminal_id
from sim.pendant import Pendant
from sim.phone import NEVER
from sim.polling import poll
from sim.world import World
from tests.e2e.stage import check_books, items, report, rows, seeded, store_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TERMINALS = 20
PRESSES_PER_S = 40.0
LIVES = 6
OPTIONS = WorldOptions(
    terminals=TERMINALS,
    voices=0,
    pendants=0,
    agents=(AgentSpec(behaviour=NEVER, ring_s=60),),
    max_workers=2,
    repeat_s=0.7,
)


async def press_again_and_again(pendant: Pendant, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.expovariate(PRESSES_PER_S / TERMINALS))
        pendant.press("sos")


async def close_some(world: World, chance: random.Random) -> None:
    """Close incidents now and then, so that presses open new ones, too."""
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            still = [one for one in await world.incidents() if not one["closed_at"]]
            if still:
                path = f"/api/v1/incidents/{chance.choice(still)['id']}/close"
                await world.http("POST", path, body={"outcome": "test", "note": ""})


@asynccontextmanager
async def crowd(world: World, chance: random.Random) -> AsyncIterator[None]:
    """Let all terminals press, and a person close, until the end of the block."""
    pressing = [
        asyncio.create_task(press_again_and_again(one, random.Random(chance.random())))
        for one in world.pendants.values()
    ]
    closing = asyncio.create_task(close_some(world, random.Random(chance.random())))
    try:
        yield
    finally:
        for task in (*pressing, closing):
            task.cancel()
        ended = await asyncio.gather(*pressing, closing, return_exceptions=True)
        faults = [one for one in ended if not isinstance(one, asyncio.CancelledError)]
        assert faults == []


async def live_and_die(world: World, chance: random.Random) -> None:
    """Kill the daemon at a random moment: mostly while it serves."""
    if chance.random() < 0.25:
        await world.gateway.start(wait_ready=False)
        await asyncio.sleep(chance.uniform(0.1, 1.0))  # the moment is the point
    else:
        await world.gateway.start()
        await asyncio.sleep(chance.uniform(0.05, 1.5))
    await world.gateway.kill(signal.SIGKILL)


def unanswered(world: World) -> list[str]:
    """Return the presses that have not been told to be committed."""
    return [
        event
        for pendant in world.pendants.values()
        for event in pendant.presses
        if not any(ack.state == "committed" for _, ack in pendant.acks(event))
    ]


async def all_are_rung(world: World) -> bool:
    """Tell whether every open incident has a call."""
    rung = {one["incident"] for one in await items(world, "calls")}
    return all(one["id"] in rung for one in await world.incidents() if not one["closed_at"])


async def test_every_acknowledged_press_is_in_exactly_one_incident(tmp_path: Path) -> None:
    chance = seeded()
    async with World(tmp_path, OPTIONS) as world:
        for number in range(1, TERMINALS + 1):
            await world.new_pendant(terminal_id(number), voice=False)
        async with crowd(world, chance):
            await asyncio.sleep(chance.uniform(0.2, 1.0))  # the moment is the point
            await world.gateway.kill(signal.SIGKILL)
            for _ in range(LIVES - 1):
                await live_and_die(world, chance)
            await world.gateway.start()
            await asyncio.sleep(0.5)  # presses that meet a daemon that stays

        async def all_told() -> bool:
            return not unanswered(world)

        begun = time.monotonic()
        await poll(all_told, "an acknowledgement of every press", deadline=30)
        told_s = time.monotonic() - begun
        await poll(lambda: all_are_rung(world), "a call for every open incident", deadline=15)
        rung_s = time.monotonic() - begun
        told = {
            (name, event): {ack.incident for _, ack in pendant.acks(event)}
            for name, pendant in world.pendants.items()
            for event in pendant.presses
        }
        assert await world.gateway.stop(deadline=5)
        journal = {
            (terminal, event): incident
            for terminal, event, incident in rows(
                store_of(world), "SELECT terminal, event_id, incident FROM events"
            )
        }
        incidents = rows(store_of(world), "SELECT id FROM incidents")
        check_books(store_of(world))
    report(presses=len(told), incidents=len(incidents), kills=LIVES, told_s=told_s, rung_s=rung_s)
    assert len(told) > 100
    assert len(incidents) > TERMINALS, "some were closed and opened anew"
    assert journal.keys() == told.keys()
    assert {key: {incident} for key, incident in journal.items()} == told
