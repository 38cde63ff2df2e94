import signal
import sys
from pathlib import Path

import pytest

from sim.child import Child, ChildError, run_to_end
from sim.survivors import marked, sweep
from tests.waiting import wait_until

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEPS}"
# Leaves a grandchild in another session behind, as a gateway's workers are.
LEAVES = (
    "import subprocess, sys; "
    "code = 'import time; time.sleep(60)'; "
    "subprocess.Popen([sys.executable, '-c', code], start_new_session=True)"
)


def child(tmp_path: Path, code: str, env: dict[str, str] | None = None) -> Child:
    return Child("test", (sys.executable, "-c", code), log=tmp_path / "log", env=env)


async def test_output_goes_to_the_log_and_stop_ends_it(tmp_path: Path) -> None:
    process = child(tmp_path, SLEEPS)
    await process.start()
    await wait_until(lambda: "up" in process.tail())
    assert await process.stop()
    assert (process.running, process.returncode) == (False, -signal.SIGTERM)


async def test_a_deaf_one_is_killed(tmp_path: Path) -> None:
    process = child(tmp_path, DEAF)
    await process.start()
    await wait_until(lambda: "up" in process.tail())
    assert not await process.stop(deadline=0.1)
    assert process.returncode == -signal.SIGKILL


async def test_it_can_be_started_again_but_not_twice(tmp_path: Path) -> None:
    process = child(tmp_path, SLEEPS)
    await process.start()
    first = process.pid
    with pytest.raises(ChildError, match="runs already"):
        await process.start()
    await process.stop(signal.SIGKILL)
    await process.start()
    assert process.pid != first
    await process.stop(signal.SIGKILL)


async def test_a_failing_command_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match=r"exit code 1:\n(.|\n)*ZeroDivisionError"):
        await run_to_end(child(tmp_path, "1/0"), deadline=10)


async def test_a_hanging_command_is_ended(tmp_path: Path) -> None:
    process = child(tmp_path, SLEEPS)
    with pytest.raises(ChildError, match="did not end"):
        await run_to_end(process, deadline=0.2)
    assert not process.running


async def test_grandchildren_are_found_by_their_mark_and_ended(tmp_path: Path) -> None:
    mark = {"TEST_MARK": tmp_path.name}
    process = child(tmp_path, LEAVES, mark)
    await process.start()
    assert await process.wait(10) == 0
    text = f"TEST_MARK={tmp_path.name}"
    (left,) = marked(text)
    assert left != process.pid
    (name,) = await sweep(text, patience=0)
    assert name.startswith(f"{left} ")
    await wait_until(lambda: not marked(text))
    assert await sweep(text, patience=0) == []
