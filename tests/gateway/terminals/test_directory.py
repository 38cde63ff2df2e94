from collections.abc import Callable
from dataclasses import replace

import pytest

from drivers.api.events import Datum, Position, PresenceReported, TelemetryReported
from drivers.api.ids import TerminalId
from gateway.terminals.model import Presence, Terminal, TerminalDirectory, TerminalView
from tests.gateway.terminals.conftest import START, Fleet, terminal

FULL = Terminal(
    id=TerminalId("k-1"), kind="kiosk", model="K9", driver="mqtt", sip_uri="sip:k1@edge",
    site="park", subscriber="s-1", label="北门", language="en", training=True,
)  # fmt: skip


async def test_registered_terminals_are_there_after_a_restart(
    fleet: Fleet, restart: Callable[[], Fleet]
) -> None:
    plain = terminal("t-1")
    await fleet.directory.register([FULL, plain])
    later = restart()
    await later.directory.load()
    directories: list[TerminalDirectory] = [fleet.directory, later.directory]
    assert len(fleet.directory) == len(later.directory) == 2
    for directory in directories:
        assert directory.get(FULL.id) == FULL
        assert directory.get(plain.id) == plain
        assert directory.get(TerminalId("t-2")) is None
        assert directory.view(TerminalId("t-2")) is None


async def test_registering_again_replaces_and_keeps_what_was_measured(
    fleet: Fleet, restart: Callable[[], Fleet]
) -> None:
    await fleet.directory.register([FULL])
    fleet.tracker.telemetry([TelemetryReported(terminal=FULL.id, received_at=START, battery=9)])
    await fleet.directory.register([replace(FULL, label="南门")])
    await fleet.tracker.flush()
    later = restart()
    await later.directory.load()
    for directory in (fleet.directory, later.directory):
        view = directory.view(FULL.id)
        assert view is not None
        assert view.terminal.label == "南门"
        assert view.battery == 9


async def test_measurements_survive_a_restart(fleet: Fleet, restart: Callable[[], Fleet]) -> None:
    await fleet.directory.register([FULL, terminal("silent")])
    fix = Position(lat=31.2, lon=121.5, accuracy_m=8.5, datum=Datum.GCJ02, at=START - 3)
    report = TelemetryReported(
        terminal=FULL.id, received_at=START, device_time=START - 2, boot=2**40, battery=0,
        signal_dbm=0, position=fix, vitals={"pulse": 71.5},
    )  # fmt: skip
    fleet.tracker.telemetry([report])
    await fleet.tracker.flush()
    later = restart()
    await later.directory.load()
    expected = TerminalView(
        terminal=FULL, presence=Presence.ONLINE, last_seen_at=START, boot=2**40, battery=0,
        signal_dbm=0, position=fix, vitals={"pulse": 71.5},
    )  # fmt: skip
    assert fleet.directory.view(FULL.id) == expected
    assert later.directory.view(FULL.id) == expected
    assert later.directory.count_by_presence()[Presence.NEVER_SEEN] == 1


async def test_presence_at_start_is_judged_by_the_time_of_the_start(
    fleet: Fleet, restart: Callable[[], Fleet]
) -> None:
    await fleet.directory.register([FULL])
    birth = PresenceReported(terminal=FULL.id, received_at=START, online=True, boot=1)
    fleet.tracker.presence(birth)
    await fleet.tracker.flush()
    later = restart()
    later.clock.now += 10_000
    await later.directory.load()
    view = later.directory.view(FULL.id)
    assert view is not None
    assert view.presence is Presence.OFFLINE


async def test_pages_follow_the_order_of_ids(fleet: Fleet) -> None:
    names = ["b", "d", "a", "c", "e"]
    await fleet.directory.register([terminal(name) for name in names])
    directory = fleet.directory
    first = directory.page(None, 2)
    assert [view.terminal.id for view in first] == ["a", "b"]
    rest = directory.page(first[-1].terminal.id, 10)
    assert [view.terminal.id for view in rest] == ["c", "d", "e"]
    assert directory.page(TerminalId("e"), 10) == []
    await directory.register([terminal("bb")])
    assert [view.terminal.id for view in directory.page(TerminalId("b"), 1)] == ["bb"]


async def test_pages_by_presence(fleet: Fleet) -> None:
    await fleet.directory.register([terminal(name) for name in "abcd"])
    for name in "bd":
        report = TelemetryReported(terminal=TerminalId(name), received_at=START)
        fleet.tracker.telemetry([report])
    online = fleet.directory.page(None, 10, Presence.ONLINE)
    assert [view.terminal.id for view in online] == ["b", "d"]
    never = fleet.directory.page(TerminalId("a"), 10, Presence.NEVER_SEEN)
    assert [view.terminal.id for view in never] == ["c"]


async def test_refresh_finds_what_another_process_registered(
    fleet: Fleet, restart: Callable[[], Fleet]
) -> None:
    await fleet.directory.register([terminal("a", label="old")])
    importer = restart()
    importer.clock.now += 100
    await importer.directory.register(
        [terminal("a", label="new"), *(terminal(f"n{i:05}") for i in range(5000))]
    )
    await fleet.directory.refresh()
    assert len(fleet.directory) == 5001
    await importer.directory.register([terminal("a", label="newest"), terminal("z")])  # same stamp
    await fleet.directory.refresh()
    assert len(fleet.directory) == 5002
    changed = fleet.directory.get(TerminalId("a"))
    assert changed is not None
    assert changed.label == "newest"
    await fleet.directory.refresh()
    assert len(fleet.directory) == 5002


async def test_refresh_reads_no_rows_again_when_nothing_is_new(
    fleet: Fleet, restart: Callable[[], Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.directory.register([terminal("a"), terminal("b")])
    other = restart()
    await other.directory.refresh()
    assert len(other.directory) == 2
    taken: list[int] = []
    monkeypatch.setattr(other.directory, "_take", lambda rows: taken.append(len(rows)))
    await other.directory.refresh()
    assert taken == []
    await fleet.directory.register([terminal("c")])
    await other.directory.refresh()
    assert taken == [3]
