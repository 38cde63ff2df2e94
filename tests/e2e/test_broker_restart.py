"""The broker goes away and comes back in the middle of the traffic: nothing is lost."""

import asyncio
import random
import time
from functools import partial
from pathlib import Path

import pytest
from ulid import ULID

from protocols.mqtt_payload.topics import Up, up_topic
from protocols.mqtt_payload.v1 import Press, encode
from sim.options import AgentSpec, WorldOptions
from sim.polling import poll
from sim.world import World
from tests.e2e.stage import (
    check_books,
    of_terminal,
    publisher,
    report,
    rows,
    sample_becomes,
    seeded,
    state,
    store_of,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PRESSING, RETAINER = 8, "P-0009"
OPTIONS = WorldOptions(
    terminals=9,
    voices=0,
    pendants=PRESSING,
    agents=(AgentSpec(),),
    max_workers=2,
    repeat_s=0.7,
    extra_toml="[drivers.mqtt]\nbackoff_max_s = 1.0",
)


async def press_steadily(world: World, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.expovariate(15))
        chance.choice([p for p in world.pendants.values() if p.terminal != RETAINER]).press("sos")


async def unready(world: World) -> float:
    """Return after how many seconds readiness has named the broker."""
    began = time.monotonic()

    async def look() -> bool:
        answer = await world.http("GET", "/health/ready")
        return answer.status == 503 and "mqtt.events" in answer.text

    await poll(look, "readiness to say that the broker is gone", deadline=5)
    return time.monotonic() - began


async def test_nothing_is_lost_and_readiness_tells(tmp_path: Path) -> None:
    chance = seeded()
    async with World(tmp_path, OPTIONS) as world:
        retained = await press_retained(world)
        pressing = asyncio.create_task(press_steadily(world, chance))
        back = []
        for end in (world.broker.stop, world.broker.kill):
            await asyncio.sleep(chance.uniform(0.5, 1.0))  # the moment is the point
            connections = {name: p.connections for name, p in world.pendants.items()}
            await end()
            gone_s = await unready(world)
            await asyncio.sleep(0.3)  # presses while nobody is there
            await world.broker.start()
            began = time.monotonic()
            await world.gateway.wait_ready(deadline=10)
            back.append((round(gone_s, 2), round(time.monotonic() - began, 2)))
            await poll(partial(all_back, world, connections), "all terminals", deadline=15)
            if end == world.broker.stop:
                await sample_becomes(
                    world, "onekey_messages_refused_total", 1, driver="mqtt", reason="retained"
                )
        pressing.cancel()
        await asyncio.gather(pressing, return_exceptions=True)

        async def all_told() -> bool:
            return not any(pendant.pending for pendant in world.pendants.values())

        await poll(all_told, "an acknowledgement of every press", deadline=20)
        assert len(await of_terminal(world, RETAINER)) == 1, "the replay is no new press"
        pressed = {
            (name, event) for name, pendant in world.pendants.items() for event in pendant.presses
        }
        assert await world.gateway.stop(deadline=5)
        journal = set(rows(store_of(world), "SELECT terminal, event_id FROM events"))
        check_books(store_of(world))
    report(presses=len(pressed), unready_and_ready_again_after_s=back)
    assert len(pressed) > 15
    assert journal == pressed | {(RETAINER, retained)}


async def press_retained(world: World) -> str:
    """Press with the retain flag, against the contract; closed, so that a replay would open anew.

    As it is pressed it cannot be told from an honest press (MQTT 5.0 §3.3.1.3) and gets its help.
    """
    event = str(ULID())
    async with publisher(world, RETAINER) as client:
        topic = up_topic(RETAINER, Up.EVENT)
        await client.publish(topic, encode(Press(id=event, key="sos")), 1, retain=True)
    (incident,) = await poll(lambda: of_terminal(world, RETAINER), "its incident", deadline=5)
    body = {"outcome": "test", "note": ""}
    await world.http("POST", f"/api/v1/incidents/{incident['id']}/close", body=body)
    await state(world, incident["id"], "closed")
    return event


async def all_back(world: World, before: dict[str, int]) -> bool:
    return all(p.online and p.connections > before[name] for name, p in world.pendants.items())
