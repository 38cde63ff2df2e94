"""A world of real parts starts, serves and leaves nothing behind."""

import os
import signal
from pathlib import Path

import pytest

from sim.options import AgentSpec, WorldOptions
from sim.phone import BUSY
from sim.ports import free_ports
from sim.survivors import marked
from sim.world import MARK, World, WorldError
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def processes_of(world: World) -> list[int]:
    return marked(f"{MARK}={world._mark}")


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_start_and_stop_leave_no_process_and_no_port(tmp_path: Path) -> None:
    options = WorldOptions(terminals=3)
    async with World(tmp_path, options) as world:
        assert await world.gateway.ready()
        names = (await world.http("GET", "/api/v1/terminals")).text
        assert "P-0003" in names
        assert len(processes_of(world)) >= 4, "gateway, a worker, agent, pendant's phone"
        broker = world.broker.pid
        assert (world.directory / "secrets.json").stat().st_mode & 0o077 == 0
        assert (world.directory / "gateway-password").stat().st_mode & 0o077 == 0
    assert world.leftovers == [], "everybody went when asked"
    assert processes_of(world) == []
    assert not lives(broker)
    world.ports.check()


async def test_the_gateway_may_be_killed_and_started_again(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = world.gateway.pid
        assert await world.gateway.kill(signal.SIGKILL) == -signal.SIGKILL
        assert not await world.gateway.ready()
        await world.gateway.start()
        assert world.gateway.pid != first
        assert await world.gateway.ready()
    assert processes_of(world) == []


async def test_workers_of_a_killed_gateway_are_swept(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.gateway.kill(signal.SIGKILL)
        alive = processes_of(world)
        assert len(alive) >= 3, "two phones, and workers that outlive the daemon on purpose"
    await wait_until(lambda: processes_of(world) == [])


async def test_pendants_and_agents_may_come_later(tmp_path: Path) -> None:
    options = WorldOptions(terminals=2, pendants=0, agents=(AgentSpec(started=False),))
    async with World(tmp_path, options) as world:
        assert not world.agents
        assert not world.pendants
        agent = await world.new_agent("agent-1", behaviour=BUSY)
        assert world.agents == {"agent-1": agent}
        pendant = await world.new_pendant("P-0002")
        assert pendant.phone is None, "it was registered without a voice"
        event_id = pendant.press("sos")
        _, ack = await pendant.heard(event_id, "committed", deadline=10)
        assert ack.incident in {item["id"] for item in await world.incidents()}
        stranger = await world.new_pendant("X-9")
        strange = stranger.press("sos")
        _, ack = await stranger.heard(strange, "committed", deadline=10)
        assert "quarantine" in (await world.incident(str(ack.incident)))["incident"]["flags"]


async def test_a_bad_configuration_is_shown_and_leaves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, WorldOptions(extra_toml="[emergency]\nterminal_ring_s = -1"))
    with pytest.raises(WorldError, match=r"terminal_ring_s(.|\n)*all logs"):
        async with world:
            pass
    assert processes_of(world) == []
    world.ports.check()


async def test_a_taken_broker_port_is_named(tmp_path: Path) -> None:
    ports = free_ports(phones=2, workers=4)
    async with World(tmp_path / "one", ports=ports):
        with pytest.raises(WorldError, match=f"port {ports.mqtt} .* already taken"):
            async with World(tmp_path / "two", ports=ports):
                pass


async def test_a_long_directory_still_has_room_for_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    async with World(deep) as world:
        run_dir = world._run_dir
        assert len(os.fsencode(run_dir)) <= 80
        assert await world.gateway.ready()
    assert not run_dir.exists()
