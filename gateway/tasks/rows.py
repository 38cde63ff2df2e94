"""What a transaction does with tasks. Runs in the writer's or a reader's thread."""

from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Row, case, func, select, update

from drivers.api.ids import CallId, IncidentId, TerminalId
from gateway.store.schema import TASKS
from gateway.store.upsert import insert_new
from gateway.tasks.model import Task, TaskBoard, TaskChanged, TaskId, TaskKind

OLDEST: Final = 50  # shown on a page at a glance; the rest is asked for


def task_of(row: Row[Any]) -> Task:
    """Return the task of a row."""
    return Task(
        id=TaskId(row.id),
        call=CallId(row.call),
        incident=IncidentId(row.incident),
        terminal=TerminalId(row.terminal),
        kind=TaskKind(row.kind),
        created_at=row.created_at,
        due_at=row.due_at,
        done_at=row.done_at,
        done_by=row.done_by,
        note=row.note,
        version=row.version,
    )


def add(connection: Connection, task: Task) -> Task:
    """Write a task; returns the one that its call has already, if any."""
    if connection.execute(insert_new(connection, TASKS), asdict(task)).rowcount == 1:
        return task
    return task_of(connection.execute(select(TASKS).where(TASKS.c.call == task.call)).one())


def finish(
    connection: Connection, task: TaskId, version: int | None, *, by: str, note: str, at: float
) -> tuple[Task, bool]:
    """Mark a task done; False when it was before. Raises LookupError, TaskChanged."""
    row = connection.execute(select(TASKS).where(TASKS.c.id == task).with_for_update()).first()
    if row is None:
        raise LookupError(f"no task {task}")
    found = task_of(row)
    if found.done_at is not None:
        return found, False
    if version is not None and version != found.version:
        raise TaskChanged(found)
    done = _DONE.where(TASKS.c.id == task).values(done_at=at, done_by=by, note=note or found.note)
    return task_of(connection.execute(done).one()), True


def settle(
    connection: Connection, incident: IncidentId, *, by: str, note: str, at: float
) -> list[Task]:
    """Mark what is open for an incident done; return it."""
    done = _DONE.where(TASKS.c.incident == incident, TASKS.c.done_at.is_(None))
    rows = connection.execute(done.values(done_at=at, done_by=by, note=note or TASKS.c.note))
    return [task_of(row) for row in rows]


_DONE: Final = update(TASKS).values(version=TASKS.c.version + 1).returning(*TASKS.c)


def board(connection: Connection, now: float) -> TaskBoard:
    """Return what is open at `now`."""
    late = func.sum(case((TASKS.c.due_at <= now, 1), else_=0)).label("late")
    still_open = TASKS.c.done_at.is_(None)
    numbers = connection.execute(
        select(TASKS.c.kind, func.count().label("number"), late)
        .where(still_open)
        .group_by(TASKS.c.kind)
    ).all()
    oldest = connection.execute(select(TASKS).where(still_open).order_by(TASKS.c.id).limit(OLDEST))
    by_kind = {TaskKind(row.kind): int(row.number) for row in numbers}
    return TaskBoard(
        open={kind: by_kind.get(kind, 0) for kind in TaskKind},
        overdue=sum(int(row.late) for row in numbers),
        oldest=tuple(task_of(row) for row in oldest),
    )
