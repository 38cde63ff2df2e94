"""kill -9 in the middle of writes: what was answered is there exactly once."""

import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

# Prints each press after its commit; presses every event twice, some terminals several times.
CHILD = """
import asyncio, structlog, sys
from tests.gateway.incidents.conftest import make_office, press

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    office = make_office(sys.argv[1])
    await office.database.start()
    offset = int(sys.argv[2])
    async def one(n):
        taken = await office.desk.take(press(f"e{n}", terminal=f"t-{n % 500}"))
        sys.stdout.write(f"e{n} {taken.incident.id}\\n")
        sys.stdout.flush()
    for n in range(offset, offset + 100_000, 20):
        await asyncio.gather(*(one(m) for _ in "12" for m in range(n, n + 20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_daemon_has_each_answered_press_once(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    chance = random.Random(seed)
    answered: list[tuple[str, str]] = []
    for life in range(2):
        # The second life presses again what the first was perhaps not answered for.
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, f"sqlite:///{path}", str(life * 100)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(chance.randint(300, 1500))]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
        child.wait(10)
        for line in lines:
            event, space, incident = line.partition(" ")
            if space and incident.endswith("\n"):  # the last line may be cut
                answered.append((event, incident.rstrip()))
    _check(path, answered)


def _check(path: Path, answered: list[tuple[str, str]]) -> None:
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        journal = dict(store.execute("SELECT event_id, incident FROM events"))
        presses = dict(store.execute("SELECT id, presses FROM incidents"))
        lines = Counter(one for (one,) in store.execute("SELECT incident FROM timeline"))
        terminals = store.execute("SELECT count(*), count(DISTINCT terminal) FROM incidents")
        assert len(set(terminals.fetchone())) == 1  # one open incident per terminal
    assert len(answered) > 600
    for event, incident in answered:
        assert journal[event] == incident
    assert Counter(journal.values()) == presses == lines
