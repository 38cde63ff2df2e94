"""The smoke test can fail; that it passes is tests/e2e/test_smoke.py's."""

import json
from pathlib import Path
from typing import Any

import pytest

from sim import smoke
from sim.smoke import STATES, Result, judge, run
from sim.world import WorldError


def good(**changes: Any) -> Result:
    fields = {
        "audio_a_to_b_db": -8.0,
        "audio_b_to_a_db": -8.0,
        "heard": list(STATES),
        "recorded_s": 2.0,
    }
    return Result(**{**fields, **changes})


def test_a_good_result_has_no_faults() -> None:
    assert judge(good()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"audio_a_to_b_db": -60.0}, "no audio a→b"),
        ({"audio_b_to_a_db": None}, "no audio b→a"),
        ({"heard": ["ringing", "committed", "answered", "closed"]}, "the terminal heard"),
        ({"heard": ["committed", "ringing", "closed"]}, "the terminal heard"),
        ({"recorded_s": 0.0}, "recording is empty"),
        ({"recorded_s": None}, "recording is empty"),
    ],
)
def test_each_fault_is_named(change: dict[str, Any], fault: str) -> None:
    (found,) = judge(good(**change))
    assert fault in found


def is_kept(directory: Path) -> bool:
    return directory.exists()


class NoWorld:
    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def __aenter__(self) -> None:
        raise WorldError("the broker is not installed")

    async def __aexit__(self, *_: object) -> None:
        pass


async def test_a_failure_is_one_line_exit_1_and_keeps_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(smoke, "World", NoWorld)
    assert await run(tmp_path, keep=False) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert out.count("\n") == 1
    assert result["ok"] is False
    assert result["errors"] == ["WorldError: the broker is not installed"]
    assert str(tmp_path) in err
    assert is_kept(tmp_path)
