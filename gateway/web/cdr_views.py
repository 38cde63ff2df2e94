"""How call detail records and tasks look as JSON; pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.cdr.records import CallCdr
from gateway.tasks.model import Task, TaskBoard
from gateway.web.views import iso, maybe_iso
from protocols.text import clean_text

_TIMES: Final = ("started_at", "answered_at", "ended_at")


class TaskJson(msgspec.Struct, frozen=True, kw_only=True):
    """A call-back without its note."""

    id: str
    call: str
    incident: str
    terminal: str
    kind: str
    created_at: str
    due_at: str
    done_at: str | None
    done_by: str | None
    version: int


def cdr_json(call: CallCdr) -> dict[str, Any]:
    """Return a record with its times written out."""
    shown = msgspec.structs.asdict(call)
    legs = [msgspec.structs.asdict(leg) for leg in call.legs]
    for part in (shown, *legs):
        part.update({name: maybe_iso(part[name]) for name in _TIMES})
    return shown | {"kind": clean_text(call.kind), "legs": legs}


def task_json(task: Task) -> TaskJson:
    """Return a task; its note may hold personal data and stays out of lists and the feed."""
    return TaskJson(
        id=task.id,
        call=task.call,
        incident=task.incident,
        terminal=task.terminal,
        kind=task.kind.value,
        created_at=iso(task.created_at),
        due_at=iso(task.due_at),
        done_at=maybe_iso(task.done_at),
        done_by=task.done_by,
        version=task.version,
    )


def tasks_now(board: TaskBoard) -> Mapping[str, object]:
    """Return the feed's message with the numbers of open tasks and the oldest of them."""
    return {
        "type": "tasks",
        "open": {kind.value: number for kind, number in board.open.items()},
        "overdue": board.overdue,
        "items": [task_json(task) for task in board.oldest],
    }
