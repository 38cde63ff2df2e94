from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection, insert

from drivers.api.ids import CallId, IncidentId, TerminalId
from gateway.config import StoreConfig
from gateway.incidents.rows import incident_values, opening
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.schema import INCIDENTS
from gateway.tasks.desk import TaskDesk
from gateway.tasks.model import Task, TaskBoard, TaskKind
from tests.gateway.incidents.conftest import START, ManualClock, press
from tests.postgres import sqlite_url, store_url

__all__ = ["sqlite_url", "store_url"]

CASE = IncidentId("i1")


@dataclass
class TaskOffice:
    """A desk of tasks with all that it is made of."""

    url: str
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: Metrics = field(default_factory=Metrics)
    boards: list[TaskBoard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database(StoreConfig(), self.url, self.metrics)
        self.desk = TaskDesk(self.database, self.metrics, self.clock, self.boards.append)

    async def start(self, *cases: str) -> None:
        await self.database.start()

        def add(connection: Connection) -> None:
            for number, case in enumerate(cases):
                first = opening(press("e1", terminal=f"t-{number}"), IncidentId(case), START)
                values = incident_values(first, state_at=START, lines=0)
                connection.execute(insert(INCIDENTS), values)

        await self.database.write(add)

    async def open(self, call: str, kind: TaskKind = TaskKind.MISSED, case: str = CASE) -> Task:
        return await self.desk.open(
            call=CallId(call), incident=IncidentId(case), terminal=TerminalId("t-0"), kind=kind
        )

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
async def office(store_url: str) -> AsyncIterator[TaskOffice]:
    office = TaskOffice(store_url)
    await office.start(CASE, "i2")
    yield office
    await office.database.stop()


@pytest.fixture
async def second_office(office: TaskOffice) -> AsyncIterator[TaskOffice]:
    """Return another daemon on the same store."""
    second = TaskOffice(office.url)
    await second.start()
    yield second
    await second.database.stop()
