"""The same story on PostgreSQL, with a `kill -9` in the middle of it."""

import signal
from pathlib import Path

import pytest

from sim.options import WorldOptions
from sim.world import World
from tests.e2e.stage import close, line, state
from tests.postgres import cluster

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def test_a_press_becomes_a_conversation_and_survives_a_kill(tmp_path: Path) -> None:
    url = cluster().new_database()
    async with World(tmp_path, WorldOptions(store_url=url, repeat_s=0.5)) as world:
        pendant, agent = world.pendants["P-0001"], world.agents["agent-1"]
        event = pendant.press("sos")
        _, ack = await pendant.heard(event, "answered", deadline=10)
        incident = str(ack.incident)
        await line(world, incident, "recording_started")
        await world.gateway.kill(signal.SIGKILL)
        again = pendant.press("sos")
        await world.gateway.start()
        _, ack = await pendant.heard(again, "committed", deadline=10)
        assert ack.incident == incident
        await line(world, incident, "call_resumed")
        agent.hang_up()
        await state(world, incident, "wrap_up")
        await line(world, incident, "recording_finished")
        await close(world, incident)
        for one in (event, again):
            await pendant.heard(one, "closed", deadline=5)
        shown = await world.incident(incident)
    assert shown["incident"]["presses"] == 2
    assert [call["outcome"] for call in shown["calls"]] == ["completed"]
    assert sorted(leg["role"] for leg in shown["calls"][0]["legs"]) == ["target", "terminal"]
