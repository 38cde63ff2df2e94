"""What a call-back task is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from drivers.api.ids import CallId, IncidentId, TerminalId

TaskId = NewType("TaskId", str)


class TaskKind(StrEnum):
    """Why somebody must be called back; closed, a metric label."""

    MISSED = "missed"  # nobody answered
    ABANDONED = "abandoned"  # the caller hung up before an agent answered
    CALL_BACK = "call_back"  # a person or a flow asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One call-back; at most one per call. Times are Unix seconds, `done_by` is an id."""

    id: TaskId
    call: CallId
    incident: IncidentId
    terminal: TerminalId
    kind: TaskKind
    created_at: float
    due_at: float
    done_at: float | None = None
    done_by: str | None = None
    note: str = ""
    version: int = 1  # grows with every change


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBoard:
    """What is open: numbers by kind, how many are late, the oldest tasks."""

    open: Mapping[TaskKind, int]
    overdue: int
    oldest: Sequence[Task]


class TaskChanged(Exception):
    """Somebody else changed the task after it was read; `task` is how it is now."""

    def __init__(self, task: Task) -> None:
        super().__init__(f"task {task.id} is at version {task.version}")
        self.task = task
