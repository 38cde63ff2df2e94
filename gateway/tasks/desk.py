"""The desk of call-backs: opened by flows, done by people, seen by all daemons."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

import structlog
from sqlalchemy import ColumnElement, Connection, select
from ulid import ULID

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId, IncidentId, TerminalId
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.schema import TASKS
from gateway.tasks import rows
from gateway.tasks.model import Task, TaskBoard, TaskId, TaskKind
from protocols.text import clean_text

log = structlog.get_logger()

# Seconds until a call-back is late. 600: the published promise for a request from the TV. Who hung
# up is rung back at once by the flow; the task is for when that failed.
DUE_S: Final[Mapping[TaskKind, float]] = MappingProxyType(
    {TaskKind.MISSED: 600.0, TaskKind.ABANDONED: 120.0, TaskKind.CALL_BACK: 600.0}
)
NOTE_MAX: Final = 2000  # characters, as for an incident
# Other daemons' tasks, and those that became late, show after so many seconds.
_LOOK_EVERY: Final = 15.0
_MOST: Final = 500


class TaskDesk:
    """One per daemon. `publish` is called on the loop with the board whenever it has changed."""

    def __init__(
        self,
        db: Database,
        metrics: Metrics,
        clock: Clock,
        publish: Callable[[TaskBoard], None],
        *,
        due_s: Mapping[TaskKind, float] = DUE_S,
    ) -> None:
        self._db = db
        self._metrics = metrics
        self._clock = clock
        self._publish = publish
        self._due_s = due_s
        self._shown: TaskBoard | None = None

    async def run(self) -> None:
        """Keep gauges and pages true, until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("tasks_not_read", error=str(error))
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> TaskBoard:
        """Return what is open now; raises StoreUnavailable."""
        board = await self._db.read(partial(rows.board, now=self._clock.time()))
        self._show(board)
        return board

    async def open(
        self,
        *,
        call: CallId,
        incident: IncidentId,
        terminal: TerminalId,
        kind: TaskKind,
        due_in_s: float | None = None,
        note: str = "",
    ) -> Task:
        """Return the task of `call`, opened now unless it has one; raises StoreUnavailable.

        Idempotent: a flow that was interrupted asks again. The incident must exist.
        """
        now = self._clock.time()
        task = Task(
            id=TaskId(str(ULID.from_timestamp(now))),
            call=call,
            incident=incident,
            terminal=terminal,
            kind=kind,
            created_at=now,
            due_at=now + (self._due_s[kind] if due_in_s is None else max(0.0, due_in_s)),
            note=clean_text(note, limit=NOTE_MAX),
        )

        def run(connection: Connection) -> tuple[Task, TaskBoard]:
            return rows.add(connection, task), rows.board(connection, now)

        kept, _ = await self._db.write(run, then=lambda result: self._show(result[1]))
        if kept.id == task.id:
            log.info("task_opened", task=kept.id, call=call, incident=incident, kind=kind.value)
        return kept

    async def done(
        self, task: TaskId, *, by: str, note: str = "", version: int | None = None
    ) -> Task:
        """Return the task, done by `by` (an id); one that is done already stays as it is.

        Raises LookupError for an unknown one, TaskChanged when `version` is given and is not the
        present one, StoreUnavailable.
        """
        now = self._clock.time()
        finish = partial(
            rows.finish,
            task=task,
            version=version,
            by=clean_text(by, limit=64),
            note=clean_text(note, limit=NOTE_MAX),
            at=now,
        )

        def run(connection: Connection) -> tuple[list[Task], Task, TaskBoard]:
            finished, changed = finish(connection)
            return [finished] if changed else [], finished, rows.board(connection, now)

        _, finished, _ = await self._db.write(run, then=lambda r: self._finished(r[0], r[2]))
        return finished

    async def settle(self, incident: IncidentId, *, by: str, note: str = "") -> Sequence[Task]:
        """Mark all that is open for an incident done: its person was reached, or it was closed.

        Raises StoreUnavailable.
        """
        now = self._clock.time()

        def run(connection: Connection) -> tuple[list[Task], TaskBoard]:
            settled = rows.settle(connection, incident, by=by, note=note, at=now)
            return settled, rows.board(connection, now)

        settled, _ = await self._db.write(run, then=lambda r: self._finished(*r))
        return settled

    async def show(self, task: TaskId) -> Task | None:
        """Return a task; raises StoreUnavailable."""
        found = await self._find_where(TASKS.c.id == task, limit=1)
        return found[0] if found else None

    async def find(
        self,
        *,
        done: bool = False,
        kind: TaskKind | None = None,
        after: TaskId | None = None,
        limit: int = 50,
    ) -> Sequence[Task]:
        """Return tasks, oldest first; `after` is the last id of the page before."""
        wanted: list[ColumnElement[bool]] = [
            TASKS.c.done_at.is_not(None) if done else TASKS.c.done_at.is_(None)
        ]
        if kind is not None:
            wanted.append(TASKS.c.kind == kind.value)
        if after is not None:
            wanted.append(TASKS.c.id > after)
        return await self._find_where(*wanted, limit=min(limit, _MOST))

    async def _find_where(self, *wanted: ColumnElement[bool], limit: int) -> list[Task]:
        query = select(TASKS).where(*wanted).order_by(TASKS.c.id).limit(limit)

        def run(connection: Connection) -> list[Task]:
            return [rows.task_of(row) for row in connection.execute(query)]

        return await self._db.read(run)

    def _finished(self, tasks: Sequence[Task], board: TaskBoard) -> None:
        for task in tasks:
            self._metrics.tasks_done.labels(task.kind.value).inc()
            log.info("task_done", task=task.id, incident=task.incident, by=task.done_by)
        self._show(board)

    def _show(self, board: TaskBoard) -> None:
        for kind, number in board.open.items():
            self._metrics.tasks_open.labels(kind.value).set(number)
        self._metrics.tasks_overdue.set(board.overdue)
        if board != self._shown:
            self._shown = board
            self._publish(board)
