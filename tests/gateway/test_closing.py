"""A closed incident ends its call and is told for every event of its terminal."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from drivers.api.ids import IncidentId
from gateway.closing import Closer
from gateway.incidents.model import Incident, Outcome
from gateway.incidents.states import IncidentState
from tests.gateway.incidents.conftest import NOBODY, START, Office, press
from tests.gateway.rig import Calls, Told
from tests.waiting import wait_until


@dataclass
class Scene:
    office: Office
    told: Told
    calls: Calls
    closer: Closer

    async def pressed(self, *events: str) -> Incident:
        for event in events:
            taken = await self.office.desk.take(press(event))
        assert taken.incident is not None
        return taken.incident

    async def close(self, incident: IncidentId) -> Incident:
        closed = await self.closer.close(incident, outcome=Outcome.HELPED, note="n", by="anna")
        self.closer.closed(closed)
        return closed


@pytest.fixture
async def scene(sqlite_office: Office) -> AsyncIterator[Scene]:
    told, calls = Told(), Calls()
    closer = Closer(sqlite_office.desk, calls.incident_closed, told, sqlite_office.clock)
    telling = asyncio.create_task(closer.run())
    yield Scene(sqlite_office, told, calls, closer)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


async def test_closing_ends_the_call_and_tells_every_press(scene: Scene) -> None:
    incident = await scene.pressed("e1", "e2")
    scene.office.clock.now = START + 9
    closed = await scene.close(incident.id)
    assert (closed.state, closed.outcome) == (IncidentState.CLOSED, Outcome.HELPED)
    assert closed.closed_at == START + 9
    assert scene.calls.ended == [incident.id]
    await wait_until(lambda: scene.told.states("e2") == ["closed"])
    assert scene.told.states("e1") == ["closed"]
    assert {terminal for terminal, _ in scene.told.commands} == {NOBODY}


async def test_closing_twice_is_no_error(scene: Scene) -> None:
    incident = await scene.pressed("e1")
    first = await scene.close(incident.id)
    assert await scene.close(incident.id) == first


async def test_an_unknown_incident_is_an_error(scene: Scene) -> None:
    with pytest.raises(LookupError):
        await scene.close(IncidentId("never"))


async def test_the_opening_press_is_told_even_if_the_store_is_away(scene: Scene) -> None:
    incident = await scene.pressed("e1", "e2")
    await scene.office.database.stop()
    scene.closer.closed(incident)
    await wait_until(lambda: scene.told.states("e1") == ["closed"])
    assert scene.calls.ended == [incident.id]
    await scene.office.database.start()
    scene.closer.closed(incident)
    await wait_until(lambda: scene.told.states("e2") == ["closed"])
