"""`make smoke-sip` runs the SIP story and prints one line."""

import asyncio
import json
import sys

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NUMBERS = (
    *("prompt_ms", "bridged_ms", "audio_a_to_b_db", "audio_b_to_a_db"),
    *("worker_kill_to_bridged_ms", "daemon_kill_audio_gap_ms", "daemon_back_ms"),
    *("no_daemon_fallback_ms", "legs_leaked"),
)


async def test_smoke_sip_passes_and_prints_one_line() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sim.smoke_sip"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(110):
        out, said = await process.communicate()
    (line,) = out.decode().splitlines()
    result = json.loads(line)
    assert process.returncode == 0, f"{result}\n{said.decode()[-3000:]}"
    assert result["ok"]
    assert all(isinstance(result[name], int | float) for name in NUMBERS)
    assert result["legs_leaked"] == 0
