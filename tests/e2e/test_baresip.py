"""The README's walk: plain mosquitto_pub presses, a real baresip answers, both sides hear.

The phone of docs/examples/baresip says back what it hears, so the terminal's own tone comes home
only if the audio went to the agent's phone and back.
"""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sim.options import TERMINAL_TONE_HZ, AgentSpec, WorldOptions, terminal_id
from sim.polling import poll
from sim.run import press_by_hand
from sim.tones import PRESENT_DBFS, level_dbfs
from sim.world import World
from tests.waiting import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "baresip"


@contextlib.asynccontextmanager
async def baresip(directory: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Debian's baresip with the documented configuration on another port."""
    shutil.copytree(EXAMPLE, directory)
    config = directory / "config"
    text, count = re.subn(r"(sip_listen\s+127\.0\.0\.1):5070", rf"\1:{port}", config.read_text())
    assert count == 1, "the documented phone listens on 127.0.0.1:5070"
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *("baresip", "-f", str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            while b"baresip is ready" not in await process.stdout.readline():
                assert process.returncode is None
        yield process
    finally:
        process.terminate()
        await process.communicate()


async def run_shell(command: str) -> None:
    shell = await asyncio.create_subprocess_shell(command)
    assert await shell.wait() == 0


def words_of(incident: dict[str, Any]) -> list[str]:
    return [line["what"] for line in incident["timeline"]]


async def test_a_press_by_hand_reaches_baresip_and_both_hear(tmp_path: Path) -> None:
    port = free_port()
    spec = AgentSpec(name="agent-1", uri=f"sip:me@127.0.0.1:{port}")
    async with (
        baresip(tmp_path / "baresip", port),
        World(tmp_path / "world", WorldOptions(agents=(spec,))) as world,
    ):
        await run_shell(press_by_hand(world.account(terminal_id(1))))

        async def bridged() -> dict[str, Any] | None:
            for item in await world.incidents():
                incident = await world.incident(item["id"])
                if "bridged" in words_of(incident):
                    return incident
            return None

        incident = await poll(bridged, "a conversation", deadline=15)
        await asyncio.sleep(2)  # of conversation: it is what is measured below
        answer = await world.http(
            "POST",
            f"/api/v1/incidents/{incident['incident']['id']}/close",
            body={"outcome": "helped", "note": ""},
        )
        assert answer.status == 200, answer.text
        phone = world.pendants[terminal_id(1)].phone
        assert phone is not None
        await phone.wait("recorded", deadline=10)
        assert level_dbfs(phone.record, TERMINAL_TONE_HZ) > PRESENT_DBFS
