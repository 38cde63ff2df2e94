import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from drivers.api.ids import CallId
from gateway.followup import FollowUp
from gateway.incidents.model import Change, Entry, Incident, Outcome, Source
from gateway.incidents.states import Trigger
from gateway.tasks.desk import TaskDesk
from gateway.tasks.model import TaskKind
from tests.gateway.incidents.conftest import START, Office, office, press
from tests.postgres import store_url
from tests.waiting import wait_until

__all__ = ["office", "store_url"]


@asynccontextmanager
async def following(office: Office) -> AsyncIterator[TaskDesk]:
    tasks = TaskDesk(office.database, office.metrics, office.clock, lambda _board: None)
    followup = FollowUp(tasks)
    seen = len(office.messages)
    running = asyncio.create_task(followup.run())

    async def feed() -> None:
        nonlocal seen
        while True:
            for message in office.messages[seen:]:
                followup.see(message)
            seen = len(office.messages)
            await asyncio.sleep(0.005)

    feeding = asyncio.create_task(feed())
    try:
        yield tasks
    finally:
        for task in (running, feeding):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def opened(office: Office) -> Incident:
    taken = await office.desk.take(press("e1"))
    assert taken.incident is not None
    return taken.incident


def line(what: str) -> Entry:
    return Entry(at=START, source=Source.GATEWAY, what=what, call=CallId("c1"))


async def kinds(tasks: TaskDesk) -> list[TaskKind]:
    return [task.kind for task in await tasks.find()]


@pytest.mark.parametrize(
    ("what", "kind"),
    [("chain_exhausted", TaskKind.MISSED), ("call_back_due", TaskKind.ABANDONED)],
)
async def test_who_was_not_answered_is_owed_a_call_once(
    office: Office, what: str, kind: TaskKind
) -> None:
    incident = await opened(office)
    async with following(office) as tasks:
        for _ in range(2):  # every round of the chain says so
            await office.desk.apply(Change(incident=incident.id, at=START, entries=(line(what),)))
        await until(tasks, [kind])


async def test_a_conversation_settles_it(office: Office) -> None:
    incident = await opened(office)
    async with following(office) as tasks:
        missed = Change(incident=incident.id, at=START, entries=(line("chain_exhausted"),))
        await office.desk.apply(missed)
        await until(tasks, [TaskKind.MISSED])
        talk = Change(
            incident=incident.id, at=START, entries=(line("bridged"),), trigger=Trigger.RING
        )
        await office.desk.apply(talk)
        await until(tasks, [])


async def test_so_does_the_closure(office: Office) -> None:
    incident = await opened(office)
    async with following(office) as tasks:
        missed = Change(incident=incident.id, at=START, entries=(line("chain_exhausted"),))
        await office.desk.apply(missed)
        await until(tasks, [TaskKind.MISSED])
        await office.desk.close(incident.id, outcome=Outcome.HELPED, note="", by="me", at=START)
        await until(tasks, [])


async def until(tasks: TaskDesk, wanted: list[TaskKind]) -> None:
    found: list[TaskKind] | None = None

    async def look() -> None:
        nonlocal found
        while True:
            found = await kinds(tasks)
            await asyncio.sleep(0.005)

    looking = asyncio.create_task(look())
    try:
        await wait_until(lambda: found == wanted, what=f"tasks {wanted}")
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
