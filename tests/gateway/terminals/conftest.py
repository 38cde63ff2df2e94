from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from drivers.api.ids import TerminalId
from gateway.config import PresenceConfig, StoreConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.terminals.directory import Directory
from gateway.terminals.model import Terminal
from gateway.terminals.presence import PresenceChanged
from gateway.terminals.tracker import TerminalTracker
from tests.postgres import sqlite_url, store_url

__all__ = ["sqlite_url", "store_url"]

START = 1_790_000_000.0


class ManualClock:
    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class Fleet:
    """A directory with its tracker and all that they are made of."""

    database: Database
    directory: Directory
    tracker: TerminalTracker
    metrics: Metrics
    clock: ManualClock
    changes: list[PresenceChanged]

    def dropped(self, cause: str) -> float:
        name = "onekey_telemetry_dropped_total"
        return self.metrics.registry.get_sample_value(name, {"cause": cause}) or 0.0


def make_fleet(database: Database, metrics: Metrics) -> Fleet:
    clock = ManualClock()
    config = PresenceConfig(heartbeat_s=300, models={"band": 60}, flush_s=0.05)
    directory = Directory(database, clock, config)
    changes: list[PresenceChanged] = []
    tracker = TerminalTracker(directory, database, metrics, clock, config, changes.append)
    return Fleet(database, directory, tracker, metrics, clock, changes)


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    database = Database(StoreConfig(busy_timeout_s=0.3), store_url, Metrics())
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
def restart(database: Database) -> Callable[[], Fleet]:
    """Return a function that makes another directory on the same store."""
    return lambda: make_fleet(database, Metrics())


@pytest.fixture
def fleet(restart: Callable[[], Fleet]) -> Fleet:
    return restart()


def terminal(name: str, model: str = "", label: str = "") -> Terminal:
    return Terminal(id=TerminalId(name), model=model, label=label, site="park")
