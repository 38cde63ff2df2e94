"""Every benchmark runs with tiny numbers and tells them as JSON; how fast is not asserted."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import NAMES, main

pytestmark = pytest.mark.e2e


Tables = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """All side by side: they mostly wait for processes to start."""
    directory = tmp_path_factory.mktemp("bench")

    async def all_of_them() -> list[dict[str, Any]]:
        return await asyncio.gather(*(measured(name, directory) for name in NAMES))

    return dict(zip(NAMES, asyncio.run(all_of_them()), strict=True))


async def measured(name: str, directory: Path) -> dict[str, Any]:
    """Run in a process of its own, as `make bench` does; returns the only table."""
    file = directory / f"{name}.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", name, "--quick", "--json", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    result = json.loads(await asyncio.to_thread(file.read_text, "utf-8"))
    assert result["quick"] is True
    assert result["machine"]["processors"] >= 1
    (table,) = result["tables"]
    assert f"### {name}" in said.decode()
    assert table["name"] == name
    assert table["reach"]
    assert table["rows"]
    return dict(table)


def positive(rows: list[dict[str, Any]], *columns: str) -> bool:
    return all(row[column] > 0 for row in rows for column in columns)


def test_press(tables: Tables) -> None:
    rows = tables["press"]["rows"]
    assert positive(rows, "p50_ms", "p99_ms", "max_ms", "presses", "floors")
    ways = [row["what"] for row in rows]
    assert sum("floor" in way for way in ways) == 3
    invites = [row for row in rows if row["what"] == "press → INVITE"]
    acks = [row for row in rows if row["what"] == "press → ack"]
    assert [row["presses"] for row in invites] == [row["presses"] for row in acks]


def test_storm(tables: Tables) -> None:
    rows = tables["storm"]["rows"]
    assert len(rows) == 2
    for row in rows:
        assert row["presses"] == row["acked"] == row["in_store"]
    assert positive(rows, "all_acked_s", "commits", "p50_ms")


def test_telemetry(tables: Tables) -> None:
    rows = tables["telemetry"]["rows"]
    assert len(rows) == 3
    assert all(row["lost"] == 0 for row in rows)
    assert positive(rows, "rate_per_s", "cpu_us", "rate_ratio", "cpu_ratio")
    assert rows[0]["rate_ratio"] == 1


def test_terminals(tables: Tables) -> None:
    rows = tables["terminals"]["rows"]
    assert all(row["online"] == row["terminals"] for row in rows)
    assert positive(rows, "ready_s", "rss_mb", "restarted_rss_mb")


def test_pool(tables: Tables) -> None:
    rows = tables["pool"]["rows"]
    assert [row["workers"] for row in rows] == [0, 2]
    assert positive(rows, "ready_s", "daemon_pss_mb")
    assert rows[1]["worker_pss_mb"] > 0


def test_an_unknown_name_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["nonsense"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in NAMES)
