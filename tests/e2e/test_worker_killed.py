"""Promise 8: a dead worker costs seconds. Both parties are rung again, in the same incident."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from sim.options import AGENT_TONE_HZ, TERMINAL_TONE_HZ, AgentSpec, WorldOptions
from sim.phone import Behaviour, Phone
from sim.polling import poll
from sim.tones import PRESENT_DBFS, level_dbfs
from sim.world import World
from tests.e2e.stage import items, line, moment, of_terminal, report, sample, timeline, whats

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# Long enough to be killed in, short beside the three seconds that a dead worker may cost.
RINGS_S = 0.6
LIMIT_S = 3.0
TALK_S = 1.0
AGENT = AgentSpec(behaviour=Behaviour(answer_after_s=RINGS_S, tone_hz=AGENT_TONE_HZ))


async def kill_the_worker(world: World) -> float:
    """Kill the worker that carries the call; returns when, in Unix seconds."""
    (worker,) = [one for one in await items(world, "workers") if one["calls"]]
    began = time.time()
    os.kill(worker["pid"], signal.SIGKILL)
    return began


async def sound_of(phone: Phone, call: int) -> Path:
    """Return what a phone heard in its call number `call`, once that has ended."""
    path = phone.record.with_stem(f"{phone.record.stem}-{call}")

    async def written() -> bool:
        return any(e.what == "recorded" and e.data["file"] == str(path) for e in phone.events)

    await poll(written, f"{path} to be written", deadline=5)
    return path


async def test_killed_while_ringing_then_while_talking(tmp_path: Path) -> None:
    options = WorldOptions(agents=(AGENT,), min_workers=2)
    async with World(tmp_path, options) as world:
        pendant, agent = world.pendants["P-0001"], world.agents["agent-1"]
        voice = pendant.phone
        assert voice is not None
        event = pendant.press("sos")
        _, ack = await pendant.heard(event, "committed", deadline=10)
        incident = str(ack.incident)

        for phone in (agent, voice):
            await phone.wait("ringing", deadline=5)
        since = len(agent.events)
        killed_at = await kill_the_worker(world)
        assert agent.find("answered") is None, "the worker was to die while the phone rings"
        bridged = await line(world, incident, "bridged", deadline=LIMIT_S + 5)
        ringing_s = moment(bridged["at"]) - killed_at
        await agent.wait("invite", deadline=1, since=since)
        assert whats(await timeline(world, incident)).count("bridged") == 1
        await line(world, incident, "recording_started")
        await asyncio.sleep(TALK_S)  # talk: there must be sound to save

        killed_at = await kill_the_worker(world)
        bridged = await line(world, incident, "bridged", nth=2, deadline=LIMIT_S + 5)
        talking_s = moment(bridged["at"]) - killed_at
        await line(world, incident, "recording_started", nth=2)
        await asyncio.sleep(TALK_S)  # talk: there must be sound to measure
        rang = [sum(e.what == "invite" for e in phone.events) for phone in (agent, voice)]
        (shown,) = await of_terminal(world, "P-0001")
        lost = await sample(world, "onekey_pool_workers_lost_total")
        agent.hang_up()
        heard = level_dbfs(await sound_of(agent, 3), TERMINAL_TONE_HZ, start_s=TALK_S / 2)
        finished = await line(world, incident, "recording_finished")
        told = level_dbfs(await sound_of(voice, 3), AGENT_TONE_HZ, start_s=TALK_S / 2)
    report(bridged_after_s={"killed while ringing": ringing_s, "killed in the call": talking_s})
    assert shown["id"] == incident
    assert shown["state"] == "answered"
    assert shown["presses"] == 1
    assert lost == 2
    assert rang == [3, 3]
    assert ringing_s <= LIMIT_S
    assert talking_s <= LIMIT_S
    assert heard > PRESENT_DBFS
    assert told > PRESENT_DBFS
    assert finished["data"]["verified"] is True
    assert finished["data"]["segments"] >= 2, "one of each worker's"
    assert finished["data"]["repaired"] == 1, "the dead worker could not write its header"
    assert finished["data"]["seconds"] > 1.5 * TALK_S
