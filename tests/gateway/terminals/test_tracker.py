import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import pytest

from drivers.api.errors import StoreUnavailable
from drivers.api.events import PresenceReported, TelemetryReported
from drivers.api.ids import TerminalId
from gateway.config import StoreConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.terminals.model import Presence
from gateway.terminals.presence import PresenceChanged
from tests.gateway.terminals.conftest import START, Fleet, make_fleet, terminal
from tests.waiting import wait_until

A = TerminalId("a")


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    database = Database(StoreConfig(busy_timeout_s=0.2), sqlite_url, Metrics())
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def fleet(database: Database) -> Fleet:
    fleet = make_fleet(database, Metrics())
    await fleet.directory.register([terminal("a"), terminal("b", model="band")])
    return fleet


def measured(
    battery: int, *, name: str = "a", at: float = START, device: float | None = None
) -> TelemetryReported:
    return TelemetryReported(
        terminal=TerminalId(name), received_at=at, device_time=device, battery=battery
    )


def battery(fleet: Fleet) -> int | None:
    view = fleet.directory.view(A)
    assert view is not None
    return view.battery


async def test_newest_wins_by_the_device_clock(fleet: Fleet) -> None:
    fleet.tracker.telemetry([measured(50, device=START), measured(60, device=START - 9)])
    assert battery(fleet) == 50
    assert fleet.dropped("older") == 1
    fleet.tracker.telemetry([measured(40, device=START + 1)])
    assert battery(fleet) == 40
    fleet.tracker.telemetry([measured(30)])  # has no clock: the order of arrival counts
    assert battery(fleet) == 30


async def test_unknown_terminals_are_counted_not_kept(fleet: Fleet) -> None:
    fleet.tracker.telemetry([measured(1, name="stranger")])
    fleet.tracker.presence(
        PresenceReported(terminal=TerminalId("stranger"), received_at=START, online=True, boot=1)
    )
    assert fleet.dropped("unknown_terminal") == 2
    assert fleet.tracker.dirty == 0


async def test_heartbeats_between_flushes_cost_one_row_in_one_commit(fleet: Fleet) -> None:
    registry = fleet.database._metrics.registry
    before = registry.get_sample_value("onekey_store_batch_size_sum") or 0
    for level in range(100):
        fleet.tracker.telemetry([measured(level), measured(level, name="b")])
    assert fleet.tracker.dirty == 2
    assert fleet.dropped("superseded") == 198
    await fleet.tracker.flush()
    await fleet.tracker.flush()  # nothing is new
    assert (registry.get_sample_value("onekey_store_batch_size_sum") or 0) - before == 1


async def test_unavailable_store_keeps_the_rows_for_later(
    fleet: Fleet, sqlite_url: str, restart: Callable[[], Fleet]
) -> None:
    fleet.tracker.telemetry([measured(50)])
    path = sqlite_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable):
            await fleet.tracker.flush()
        assert fleet.tracker.dirty == 1
        fleet.tracker.telemetry([measured(49)])
        other.execute("ROLLBACK")
    await fleet.tracker.flush()
    assert fleet.tracker.dirty == 0
    later = restart()
    await later.directory.load()
    assert battery(later) == 49


async def test_silence_is_published_by_the_heartbeat_of_the_model(fleet: Fleet) -> None:
    fleet.tracker.telemetry([measured(1), measured(1, name="b")])
    fleet.changes.clear()
    fleet.clock.now = START + 121
    fleet.tracker.sweep()
    assert fleet.changes == [
        PresenceChanged(
            terminal=TerminalId("b"), before=Presence.ONLINE, after=Presence.LATE, at=START + 121
        )
    ]
    fleet.clock.now = START + 1501
    fleet.tracker.sweep()
    assert [(one.terminal, one.after) for one in fleet.changes[1:]] == [
        ("a", Presence.OFFLINE),
        ("b", Presence.OFFLINE),
    ]
    gauge = fleet.metrics.registry.get_sample_value("onekey_terminals", {"state": "offline"})
    assert gauge == 2


async def test_life_is_published_at_once(fleet: Fleet) -> None:
    fleet.tracker.presence(PresenceReported(terminal=A, received_at=START, online=True, boot=4))
    fleet.tracker.presence(PresenceReported(terminal=A, received_at=START, online=False, boot=3))
    fleet.tracker.presence(PresenceReported(terminal=A, received_at=START, online=False, boot=4))
    fleet.tracker.seen(A, START + 1, 4)
    assert [one.after for one in fleet.changes] == [
        Presence.ONLINE,
        Presence.OFFLINE,
        Presence.ONLINE,
    ]


async def test_large_fleets_are_swept_in_turns(fleet: Fleet) -> None:
    names = [f"n{i:05}" for i in range(2500)]
    await fleet.directory.register([terminal(name) for name in names])
    fleet.tracker.telemetry([measured(1, name=name) for name in names])
    fleet.changes.clear()
    fleet.clock.now = START + 10_000
    swept = []
    for _ in range(3):
        fleet.tracker.sweep()
        swept.append(len(fleet.changes))
    assert swept[0] < 1001
    assert swept[-1] == 2500


async def test_running_flushes_and_sweeps_by_itself(fleet: Fleet) -> None:
    task = asyncio.create_task(fleet.tracker.run())
    fleet.tracker.telemetry([measured(1)])
    await wait_until(lambda: fleet.tracker.dirty == 0)
    fleet.clock.now = START + 10_000
    await wait_until(lambda: [one.after for one in fleet.changes][1:] == [Presence.OFFLINE])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
