"""A one-key SIP phone and an agent's phone, registered at the edge; real audio through a worker."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.edge.config import EdgeConfig
from sim.options import AGENT_TONE_HZ, TERMINAL_TONE_HZ, AgentSpec, WorldOptions
from sim.polling import poll
from sim.tones import PRESENT_DBFS, level_dbfs
from sim.world import World
from tests.drivers.edge.peer import REALM
from tests.drivers.edge.test_phones import Phone, phone_of
from tests.e2e.stage import close, items, line, moment, report, state
from tests.waiting import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PHONE = "P-0001"
EDGE = """
[edge]
realm = "{realm}"
port = {port}
internal_port = {internal}
control_port = {control}
run_dir = "{run_dir}"
static_sos_uri = "sip:desk@{realm}"
"""


@dataclass
class Border:
    """A world with an edge, and what a phone must know to register."""

    world: World
    config: EdgeConfig
    passwords: dict[str, str]
    directory: Path

    @asynccontextmanager
    async def phone(self, user: str, *more: str) -> AsyncIterator[Phone]:
        record = ["--record", str(self.directory / f"{user}.wav")]
        async with phone_of(self.config, user, self.passwords[user], *record, *more) as phone:
            assert (await phone.told("registered"))["code"] == 200
            yield phone

    def heard(self, user: str, hz: int) -> float:
        """Return how loud `user`'s first call heard a tone."""
        return level_dbfs(self.directory / f"{user}.wav", hz)


@asynccontextmanager
async def border(directory: Path) -> AsyncIterator[Border]:
    config = EdgeConfig(
        run_dir=directory / "e",
        realm=REALM,
        port=free_port(),
        internal_port=free_port(),
        control_port=free_port(),
    )
    section = EDGE.format(
        realm=REALM,
        port=config.port,
        internal=config.internal_port,
        control=config.control_port,
        run_dir=config.run_dir,
    )
    desk = AgentSpec(name="desk", uri=f"sip:desk@{REALM}")
    options = WorldOptions(voices=0, pendants=0, agents=(desk,), extra_toml=section)
    async with World(directory / "w", options) as world:
        terminals = directory / "terminals.csv"
        terminals.write_text(f"id,kind,driver,sip_uri\n{PHONE},phone,sip,sip:p1@{REALM}\n")
        await world.gateway.command("terminals", "import", str(terminals))
        passwords = {
            "p1": await account(world, "p1", "--terminal", PHONE),
            "desk": await account(world, "desk", "--agent", "desk"),
        }
        await world.gateway.stop()  # so that it knows both accounts from its start
        await world.gateway.start()
        yield Border(world, config, passwords, directory)


async def account(world: World, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *world.gateway.argv("accounts", "add", *words), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip()


async def incident_of(world: World) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        return next(iter(await world.incidents()), None)

    return await poll(look, "an incident", deadline=10)


async def test_a_key_is_a_call_and_the_call_survives_its_worker(tmp_path: Path) -> None:
    async with (
        border(tmp_path) as place,
        place.phone("desk", "--tone", str(AGENT_TONE_HZ), "--answer-after", "0.3") as desk,
        place.phone("p1", "--tone", str(TERMINAL_TONE_HZ), "--answer-after", "0.1") as caller,
    ):
        world = place.world
        caller.command(f"call sip:sos@{REALM}")
        invite = await desk.told("invite")
        assert invite["headers"]["priority"] == ["emergency"]
        incident = (await incident_of(world))["id"]
        assert invite["headers"]["x-onekey-incident"] == [incident]
        await line(world, incident, "caller_arrived")
        await line(world, incident, "bridged")
        await asyncio.sleep(1.5)  # of conversation: it is what is measured below
        (call,) = await items(world, "calls")
        worker = next(w for w in await items(world, "workers") if call["id"] in w["calls"])
        os.kill(worker["pid"], signal.SIGKILL)
        killed = await line(world, incident, "worker_lost")
        again = await line(world, incident, "bridged", nth=2)
        seconds = moment(again["at"]) - moment(killed["at"])
        report(worker_kill_to_bridged_ms=round(1000 * seconds))
        assert seconds < 3
        await close(world, incident)
        await state(world, incident, "closed")
        account_of = (await world.http("GET", f"/api/v1/incidents/{incident}")).json()["cdr"]
        assert {leg["role"] for one in account_of for leg in one["legs"]} == {"terminal", "target"}
        await caller.told("recorded")
        await desk.told("recorded")
    assert place.heard("desk", TERMINAL_TONE_HZ) > PRESENT_DBFS
    assert place.heard("p1", AGENT_TONE_HZ) > PRESENT_DBFS


async def test_an_sos_reaches_the_desk_without_a_daemon(tmp_path: Path) -> None:
    async with (
        border(tmp_path) as place,
        place.phone("desk", "--answer-after", "0.1") as desk,
        place.phone("p1") as caller,
    ):
        await place.world.gateway.kill()
        caller.command(f"call sip:sos@{REALM}")
        begun = (await caller.told("calling"))["at"]
        reached = (await desk.told("invite"))["at"]
        report(no_daemon_fallback_ms=round(1000 * (reached - begun)))
        await caller.told("answered")
        await place.world.gateway.start()
