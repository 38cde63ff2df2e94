from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.api.events import AlarmRaised, CommandReplied, KeyPressed, PressCancelled
from drivers.api.ids import EventId, TerminalId
from gateway.config import IncidentsConfig, StoreConfig
from gateway.incidents.desk import SqlIncidentDesk
from gateway.incidents.messages import IncidentMessage
from gateway.incidents.model import Flag, Intake
from gateway.metrics import Metrics
from gateway.store.database import Database
from tests.postgres import store_url

__all__ = ["store_url"]

START = 1_790_000_000.0
NOBODY = TerminalId("t-1")


class ManualClock:
    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class Office:
    """A desk with all that it is made of."""

    desk: SqlIncidentDesk
    database: Database
    metrics: Metrics
    clock: ManualClock
    messages: list[IncidentMessage] = field(default_factory=list)

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def make_office(url: str) -> Office:
    metrics, clock = Metrics(), ManualClock()
    database = Database(StoreConfig(busy_timeout_s=1.0), url, metrics)
    messages: list[IncidentMessage] = []
    desk = SqlIncidentDesk(
        database, metrics, clock, messages.append, config=IncidentsConfig(auto_close_after_s=60)
    )
    return Office(desk, database, metrics, clock, messages)


@pytest.fixture
async def office(store_url: str) -> AsyncIterator[Office]:
    office = make_office(store_url)
    await office.database.start()
    yield office
    await office.database.stop()


@pytest.fixture
async def second_office(store_url: str) -> AsyncIterator[Office]:
    """Return another daemon on the same store."""
    second = make_office(store_url)
    await second.database.start()
    yield second
    await second.database.stop()


def press(
    event_id: str,
    *,
    terminal: str = NOBODY,
    key: str = "sos",
    at: float = START,
    flags: frozenset[Flag] = frozenset(),
) -> Intake:
    event = KeyPressed(
        terminal=TerminalId(terminal), event_id=EventId(event_id), received_at=at, key=key, boot=3
    )
    return Intake(event=event, opens=True, kind=key, flags=flags, site=None, pressed_at=at - 1)


def alarm(event_id: str, name: str, *, opens: bool = True) -> Intake:
    event = AlarmRaised(
        terminal=NOBODY, event_id=EventId(event_id), received_at=START, alarm=name, code="0x17"
    )
    kind = name if opens else ""
    return Intake(
        event=event, opens=opens, kind=kind, flags=frozenset(), site=None, pressed_at=START
    )


def cancel(event_id: str, of: str) -> Intake:
    event = PressCancelled(
        terminal=NOBODY, event_id=EventId(event_id), received_at=START + 5, cancels=EventId(of)
    )
    return Intake(event=event, opens=False, kind="", flags=frozenset(), site=None, pressed_at=START)


def reply(event_id: str) -> Intake:
    event = CommandReplied(
        terminal=NOBODY, event_id=EventId(event_id), received_at=START, command_id="c", ok=True,
        detail="\x00binary",
    )  # fmt: skip
    return Intake(event=event, opens=False, kind="", flags=frozenset(), site=None, pressed_at=START)


def sqlite_at(directory: Path) -> str:
    return f"sqlite:///{directory / 'store.sqlite'}"
