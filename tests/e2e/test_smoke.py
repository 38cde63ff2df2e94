"""`make smoke`: the whole house, with sound both ways."""

import json
import sys
from pathlib import Path

import pytest

from sim.child import Child

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def test_smoke_passes_and_prints_one_line(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    process = Child("smoke", (sys.executable, "-m", "sim.smoke"), log=errors)
    pipes = await process.start(talk=True)
    assert pipes.stdout is not None
    try:
        said = await pipes.stdout.read()
        code = await process.wait(10)
    finally:
        await process.stop()
    (line,) = said.splitlines()
    result = json.loads(line)
    assert (result["ok"], result["errors"], code) == (True, [], 0), process.tail()
    assert 0 < result["ack_ms"] < result["bridged_ms"]
    assert 0 < result["invite_ms"] < result["bridged_ms"]
    assert result["audio_a_to_b_db"] > -35
    assert result["audio_b_to_a_db"] > -35
    assert result["heard"] == ["committed", "ringing", "answered", "closed"]
    assert result["seconds"] < 30
