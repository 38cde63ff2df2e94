import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from drivers.api.ids import IncidentId
from gateway.tasks.desk import DUE_S
from gateway.tasks.model import TaskChanged, TaskId, TaskKind
from tests.gateway.tasks.conftest import CASE, TaskOffice
from tests.waiting import wait_until


async def test_a_call_has_one_task_however_often_it_is_asked_for(office: TaskOffice) -> None:
    tasks = await asyncio.gather(*(office.open("c1") for _ in range(20)))
    assert len({task.id for task in tasks}) == 1
    assert await office.open("c1", TaskKind.ABANDONED) == tasks[0]
    assert len(await office.desk.find()) == 1
    assert office.sample("onekey_tasks_open", kind="missed") == 1
    assert office.sample("onekey_tasks_open", kind="abandoned") == 0


async def test_two_daemons_open_one(office: TaskOffice, second_office: TaskOffice) -> None:
    mine, other = await asyncio.gather(office.open("c1"), second_office.open("c1"))
    assert mine == other


async def test_it_is_due_by_its_kind(office: TaskOffice) -> None:
    for kind in TaskKind:
        task = await office.open(f"c-{kind}", kind)
        assert task.due_at - task.created_at == DUE_S[kind]
    at_once = await office.desk.open(
        call=task.call, incident=CASE, terminal=task.terminal, kind=task.kind, due_in_s=0
    )
    assert at_once.due_at == task.due_at  # the first word stands


async def test_a_task_without_an_incident_is_a_defect(office: TaskOffice) -> None:
    with pytest.raises(IntegrityError):
        await office.open("c1", case="nowhere")


async def test_the_oldest_comes_first_in_pages(office: TaskOffice) -> None:
    opened = []
    for number in range(5):
        office.clock.now += 1
        opened.append((await office.open(f"c{number}")).id)
    seen: list[TaskId] = []
    while found := await office.desk.find(after=seen[-1] if seen else None, limit=2):
        seen += [task.id for task in found]
    assert seen == opened


async def test_done_is_done_once(office: TaskOffice) -> None:
    task = await office.open("c1")
    office.clock.now += 30
    done = await office.desk.done(task.id, by="agent-li", note="called", version=1)
    assert (done.done_at, done.done_by, done.note, done.version) == (
        office.clock.now,
        "agent-li",
        "called",
        2,
    )
    office.clock.now += 30
    assert await office.desk.done(task.id, by="agent-wu", version=1) == done
    assert await office.desk.find() == []
    assert await office.desk.find(done=True) == [done]
    assert await office.desk.show(task.id) == done
    assert office.sample("onekey_tasks_open", kind="missed") == 0
    assert office.sample("onekey_tasks_done_total", kind="missed") == 1
    assert await office.open("c1") == done  # a flow that asks again opens nothing new


async def test_an_old_version_is_refused(office: TaskOffice) -> None:
    task = await office.open("c1")
    with pytest.raises(TaskChanged) as caught:
        await office.desk.done(task.id, by="a", version=7)
    assert caught.value.task == task
    with pytest.raises(LookupError):
        await office.desk.done(TaskId("never"), by="a")


async def test_an_incident_that_is_settled_has_no_open_task(office: TaskOffice) -> None:
    for call in ("c1", "c2"):
        await office.open(call)
    other = await office.open("c3", case="i2")
    settled = await office.desk.settle(CASE, by="gateway", note="reached")
    assert {task.call for task in settled} == {"c1", "c2"}
    assert await office.desk.find() == [other]
    assert await office.desk.settle(IncidentId("i1"), by="gateway") == []


async def test_late_tasks_are_counted(office: TaskOffice) -> None:
    await office.open("c1")
    assert office.sample("onekey_tasks_overdue") == 0
    office.clock.now += DUE_S[TaskKind.MISSED]
    assert (await office.desk.look()).overdue == 1
    assert office.sample("onekey_tasks_overdue") == 1


async def test_what_changed_is_published_once(office: TaskOffice) -> None:
    task = await office.open("c1")
    await office.open("c1")
    await office.desk.look()
    assert [board.open[TaskKind.MISSED] for board in office.boards] == [1]
    assert office.boards[0].oldest == (task,)
    await office.desk.done(task.id, by="a")
    assert office.boards[-1].oldest == ()


async def test_another_daemons_tasks_are_seen(
    office: TaskOffice, second_office: TaskOffice
) -> None:
    await office.open("c1")
    running = asyncio.create_task(second_office.desk.run())
    await wait_until(lambda: second_office.boards)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert second_office.sample("onekey_tasks_open", kind="missed") == 1


async def test_texts_are_cleaned(office: TaskOffice) -> None:
    task = await office.open("c1")
    done = await office.desk.done(task.id, by="a\r\nb" + "x" * 99, note="n\x00" + "y" * 9000)
    assert (done.done_by or "")[:4] == "a  b"
    assert len(done.done_by or "") == 64
    assert len(done.note) == 2000
