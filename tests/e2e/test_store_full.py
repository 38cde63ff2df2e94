"""The store takes nothing: the press stays unacknowledged, readiness tells, nothing is doubled."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import RawIOBase
from pathlib import Path

import pytest

from sim.options import AgentSpec, WorldOptions
from sim.pendant import Pendant
from sim.polling import poll
from sim.world import World
from tests.e2e.stage import check_books, locked, rows, sample

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPEAT_S = 0.5
# Enough for the driver's own attempts and the terminal's repeats to come by several times.
OUTAGE_S = 2.0


def options(store: Path) -> WorldOptions:
    return WorldOptions(
        terminals=2,
        voices=0,
        pendants=2,
        agents=(AgentSpec(),),
        store_url=f"sqlite:///{store}",
        repeat_s=REPEAT_S,
        extra_toml="[store]\nbusy_timeout_s = 0.3",
    )


@asynccontextmanager
async def small_disk(directory: Path) -> AsyncIterator[Path]:
    await asyncio.to_thread(directory.mkdir)
    mount = await asyncio.create_subprocess_exec(
        *("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await mount.wait() != 0:
        pytest.skip("this machine does not allow mounts")
    try:
        yield directory
    finally:
        await (await asyncio.create_subprocess_exec("umount", str(directory))).wait()


def fill(file: RawIOBase) -> None:
    while True:
        file.write(bytes(4096))


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave no room on the disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        fill(file)
    try:
        yield
    finally:
        ballast.unlink()


async def stays_unacknowledged(world: World, pendant: Pendant) -> str:
    """Press; return the event when readiness has named the store and the outage is over."""
    event = pendant.press("sos")

    async def named() -> bool:
        answer = await world.http("GET", "/health/ready")
        return answer.status == 503 and answer.json()["parts"]["store"] != "ok"

    await poll(named, "readiness to name the store", deadline=5)
    assert (await world.http("GET", "/health/live")).status == 200
    await asyncio.sleep(OUTAGE_S)  # nothing may happen for a while: there is nothing to wait for
    assert pendant.acks(event) == []
    assert pendant.presses[event].published >= 3, "the terminal goes on repeating"
    return event


async def is_taken_once(world: World, pendant: Pendant, event: str, store: Path) -> None:
    _, ack = await pendant.heard(event, "committed", deadline=10)
    await world.gateway.wait_ready(deadline=5)
    await pendant.heard(event, "answered", deadline=10)
    found = rows(store, "SELECT incident FROM events WHERE event_id = ?", event)
    assert found == [(ack.incident,)]
    shown = await world.incident(str(ack.incident))
    assert shown["incident"]["presses"] == 1
    check_books(store)


async def test_a_full_disk_leaves_the_press_with_the_broker(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk") as disk:
        store = disk / "store.sqlite"
        async with World(tmp_path / "world", options(store)) as world:
            before, during = world.pendants.values()
            await before.heard(before.press("sos"), "answered", deadline=10)
            with full(disk):
                event = await stays_unacknowledged(world, during)
                assert await sample(world, "onekey_store_errors_total", reason="full") > 0
            await is_taken_once(world, during, event, store)


async def test_a_locked_store_leaves_the_press_with_the_broker(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    async with World(tmp_path / "world", options(store)) as world:
        pendant = world.pendants["P-0001"]
        with locked(store):
            event = await stays_unacknowledged(world, pendant)
            assert await sample(world, "onekey_store_errors_total", reason="locked") > 0
        await is_taken_once(world, pendant, event, store)
