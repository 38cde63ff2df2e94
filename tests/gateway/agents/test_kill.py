"""kill -9 in the middle of offers and calls: every agent takes calls again."""

import signal
import subprocess
import sys
from pathlib import Path

from gateway.agents.states import AgentState
from tests.gateway.agents.conftest import ANNA, BERT, CONFIG, open_room
from tests.gateway.incidents.conftest import ManualClock, sqlite_at

S = AgentState

# Says when one agent is in a call and the other's phone rings, then keeps both alive for ever.
CHILD = """
import asyncio, structlog, sys
from tests.gateway.agents.conftest import ANNA, BERT, C2, open_room
from tests.gateway.incidents.conftest import ManualClock

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    room = await open_room(sys.argv[1], ManualClock(), "killed")
    await room.logged_in(ANNA, BERT)
    await room.talking()
    await room.drawn(C2)
    print("busy", flush=True)
    await room.desk.run()

asyncio.run(main())
"""


def kill_in_a_call(url: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, url],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "busy\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=10)


async def test_agents_of_a_killed_daemon_are_freed_by_the_next(tmp_path: Path) -> None:
    url = sqlite_at(tmp_path)
    kill_in_a_call(url)
    room = await open_room(url, ManualClock(), "next")
    assert [room.at(one).state for one in (ANNA, BERT)] == [S.BUSY, S.OFFERED]
    await room.later(CONFIG.lease_s + CONFIG.wrap_up_s + 5)
    assert [room.at(one).state for one in (ANNA, BERT)] == [S.READY, S.READY]
    await room.database.stop()
