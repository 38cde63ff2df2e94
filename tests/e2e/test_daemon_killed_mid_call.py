"""Promise 9: a restart of the daemon does not end a call."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from sim.options import AGENT_TONE_HZ, TERMINAL_TONE_HZ
from sim.polling import poll
from sim.world import World
from tests.e2e.stage import items, line, longest_hole_ms, report, state, whats

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BEFORE_S, AWAY_S, AFTER_S = 0.7, 1.5, 0.7


async def test_a_call_goes_on_while_the_daemon_is_dead(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        pendant, agent = world.pendants["P-0001"], world.agents["agent-1"]
        voice = pendant.phone
        assert voice is not None
        event = pendant.press("sos")
        _, ack = await pendant.heard(event, "answered", deadline=10)
        incident = str(ack.incident)
        await line(world, incident, "recording_started")
        talking_since = time.time()
        await asyncio.sleep(BEFORE_S)  # talk: there must be sound to interrupt
        await world.gateway.kill(signal.SIGKILL)
        await asyncio.sleep(AWAY_S)  # nobody is in control, and the sound goes on
        began = time.monotonic()
        await world.gateway.start()

        async def ended() -> bool:
            return not await items(world, "calls")

        async def taken_over() -> bool:
            calls = await items(world, "calls")
            return [one["phase"] for one in calls] == ["talking"]

        await poll(taken_over, "the call to be taken over", deadline=5)
        back_s = time.monotonic() - began
        (call,) = await items(world, "calls")
        assert call["incident"] == incident
        assert sorted(leg["role"] for leg in call["legs"]) == ["target", "terminal"]
        await asyncio.sleep(AFTER_S)
        talking_until = time.time()
        agent.hang_up()
        await state(world, incident, "wrap_up")
        finished = await line(world, incident, "recording_finished")
        await poll(ended, "the end of the call", deadline=5)
        shown = await world.incident(incident)
        for phone in (agent, voice):
            await phone.wait("recorded", deadline=5)
    assert back_s < 5.0
    assert "worker_lost" not in whats(shown["timeline"])
    assert finished["data"]["verified"] is True
    assert finished["data"]["seconds"] > BEFORE_S + AWAY_S + AFTER_S
    (past,) = shown["calls"]
    assert past["outcome"] == "completed"
    legs = {leg["role"]: leg for leg in past["legs"]}
    assert {role: leg["outcome"] for role, leg in legs.items()} == {
        "target": "completed", "terminal": "completed",
    }  # fmt: skip
    assert legs["target"]["party"] == "agent-1"
    assert all(leg["stats"]["rx_packets"] > 50 for leg in legs.values())
    holes = {
        "agent": longest_hole_ms(
            agent, TERMINAL_TONE_HZ, since=talking_since + 0.2, until=talking_until
        ),
        "terminal": longest_hole_ms(
            voice, AGENT_TONE_HZ, since=talking_since + 0.2, until=talking_until
        ),
    }
    report(back_in_control_s=back_s, longest_holes_ms=holes)
    assert max(holes.values()) <= 60, holes
