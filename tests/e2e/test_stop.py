"""The two speeds of stopping: SIGTERM lets people finish, SIGINT and a second SIGTERM do not."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sim.options import AgentSpec, WorldOptions
from sim.phone import NEVER
from sim.polling import poll
from sim.survivors import marked
from sim.world import MARK, World
from tests.e2e.stage import check_books, line, locked, report, state, store_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

OPTIONS = WorldOptions(terminals=2, voices=1, pendants=2, repeat_s=0.5)
NOW_S = 3.0


@asynccontextmanager
async def talking(tmp_path: Path) -> AsyncIterator[tuple[World, str]]:
    """Start a world with a bridged call; yields it and the incident."""
    async with World(tmp_path, OPTIONS) as world:
        pendant = world.pendants["P-0001"]
        _, ack = await pendant.heard(pendant.press("sos"), "answered", deadline=10)
        await line(world, str(ack.incident), "recording_started")
        yield world, str(ack.incident)


def workers(world: World) -> list[int]:
    """Return the processes of the telephony pool, whoever their parent is now."""
    return [
        pid
        for pid in marked(f"{MARK}={world._mark}")
        if b"sim.sip_ua" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        and pid != world.gateway.pid
    ]


async def drains(world: World) -> None:
    """Send SIGTERM; return when readiness tells that the daemon drains."""
    world.gateway.child.kill(signal.SIGTERM)

    async def draining() -> bool:
        answer = await world.http("GET", "/health/ready")
        return answer.status == 503 and answer.json()["parts"].get("daemon") == "draining"

    await poll(draining, "readiness to say that we drain", deadline=3)


async def test_sigterm_waits_for_the_call_and_leaves_new_presses_with_the_broker(
    tmp_path: Path,
) -> None:
    async with talking(tmp_path) as (world, incident):
        agent, other = world.agents["agent-1"], world.pendants["P-0002"]
        await drains(world)
        event = other.press("sos")
        await asyncio.sleep(1.5)  # the call goes on: nothing may happen
        assert world.gateway.running
        assert agent.find("gone") is None
        assert other.acks(event) == []
        agent.hang_up()
        began = time.monotonic()
        assert await world.gateway.child.wait(5) == 0
        end_s = time.monotonic() - began
        await agent.wait("gone", deadline=2)
        await world.gateway.start()
        _, ack = await other.heard(event, "committed", deadline=10)
        await other.heard(event, "answered", deadline=10)
        shown = await world.incident(str(ack.incident))
        assert shown["incident"]["presses"] == 1
        assert shown["incident"]["terminal"] == "P-0002"
        await state(world, incident, "wrap_up")
        (past,) = (await world.incident(incident))["calls"]
        assert past["outcome"] == "completed"
        assert (await line(world, incident, "recording_finished"))["data"]["verified"] is True
        assert await world.gateway.stop(deadline=5)
        check_books(store_of(world))
    report(ended_after_the_last_call_s=end_s)


async def test_sigterm_while_it_rings_still_brings_both_together(tmp_path: Path) -> None:
    """The terminal is told and announced to while we drain, though its presses wait."""
    options = replace(OPTIONS, agents=(AgentSpec(behaviour=NEVER),))
    async with World(tmp_path, options) as world:
        pendant, agent = world.pendants["P-0001"], world.agents["agent-1"]
        event = pendant.press("sos")
        _, ack = await pendant.heard(event, "ringing", deadline=10)
        await agent.wait("ringing", deadline=5)
        await drains(world)
        agent.answer()
        await line(world, str(ack.incident), "bridged")
        await pendant.heard(event, "answered", deadline=2)
        agent.hang_up()
        assert await world.gateway.child.wait(5) == 0


async def test_sigint_ends_everything_now(tmp_path: Path) -> None:
    async with talking(tmp_path) as (world, incident):
        assert len(workers(world)) >= 1
        began = time.monotonic()
        assert await world.gateway.kill(signal.SIGINT) == 0
        end_s = time.monotonic() - began
        assert workers(world) == []
        assert end_s < NOW_S
        await world.agents["agent-1"].wait("gone", deadline=1)
        await world.gateway.start()  # the SOS is not over because we ended
        await line(world, incident, "bridged", nth=2)
    report(ended_s=end_s)


async def test_sigint_ends_now_even_if_the_store_does_not_answer(tmp_path: Path) -> None:
    async with talking(tmp_path) as (world, _):
        agent = world.agents["agent-1"]
        with locked(store_of(world)):
            event = world.pendants["P-0002"].press("sos")
            began = time.monotonic()
            assert await world.gateway.kill(signal.SIGINT) == 0
            end_s = time.monotonic() - began
        assert workers(world) == []
        assert end_s < NOW_S
        await agent.wait("gone", deadline=1)
        rung = sum(one.what == "invite" for one in agent.events)
        assert rung == 1, "nobody is rung by a gateway that ends"
        await world.gateway.start()
        await world.pendants["P-0002"].heard(event, "committed", deadline=10)
    report(ended_with_a_locked_store_s=end_s)


async def test_a_second_sigterm_hurries(tmp_path: Path) -> None:
    async with talking(tmp_path) as (world, _):
        await drains(world)
        began = time.monotonic()
        assert await world.gateway.kill(signal.SIGTERM) == 0
        end_s = time.monotonic() - began
        assert workers(world) == []
        assert end_s < NOW_S
        await world.agents["agent-1"].wait("gone", deadline=1)
    report(ended_s=end_s)
