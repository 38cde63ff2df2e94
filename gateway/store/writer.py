"""The one thread that writes, in group commits.

While one commit is under way the next writes gather, so that a storm pays for few disk flushes
and a single press waits for none but its own.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Engine, delete, insert

from drivers.api.errors import StoreUnavailable
from gateway.store.failures import FailureReason, is_store_failure, reason_of
from gateway.store.schema import PROBE

_log = structlog.get_logger()

# How often a store that failed is tried when nobody writes, in seconds.
_PROBE_EVERY: Final = 1.0
# More than a page of SQLite or PostgreSQL, so that a full disk refuses it.
_PROBE_BYTES: Final = 16_384
# Each deadlock lets the other daemon's transaction through, so few rounds suffice.
_CONFLICT_RETRIES: Final = 5


@dataclass(slots=True)
class Job:
    """A function that waits for its transaction; `then` runs on the loop after the commit."""

    run: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    then: Callable[[Any], None] | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A job with its committed value or its error."""

    job: Job
    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one batch; `failure` is set when the store failed."""

    settled: list[Settled]
    seconds: float
    failure: FailureReason | None = None
    detail: str = ""


class GroupWriter:
    """Runs jobs in batches. `deliver` is called in the writer's thread, once per batch."""

    def __init__(
        self, engine: Engine, *, batch_max: int, deliver: Callable[[Report], None]
    ) -> None:
        self._engine = engine
        self._batch_max = batch_max
        self._deliver = deliver
        self._urgent: deque[Job] = deque()
        self._normal: deque[Job] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._healthy = True
        self._connection: Connection | None = None
        self._busy_since: float | None = None  # monotonic
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job, *, urgent: bool) -> None:
        """Queue a job; called on the loop."""
        with self._wake:
            (self._urgent if urgent else self._normal).append(job)
            self._wake.notify()

    @property
    def waiting(self) -> int:
        """Return how many jobs wait for their batch."""
        return len(self._urgent) + len(self._normal)

    def busy_s(self) -> float:
        """Return for how many seconds the present batch has been running; 0 when idle."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def abandon(self) -> list[Job]:
        """Take back the jobs that have not begun."""
        with self._wake:
            jobs = [*self._urgent, *self._normal]
            self._urgent.clear()
            self._normal.clear()
        return jobs

    def stop(self, timeout_s: float) -> bool:
        """Commit what waits and end; returns False when that took longer than `timeout_s`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                break
            self._busy_since = time.monotonic()
            report = self._serve(batch)
            self._busy_since = None
            self._healthy = report.failure is None
            self._deliver(report)
        if self._connection is not None:
            self._connection.close()

    def _next_batch(self) -> list[Job] | None:
        """Wait for jobs; an empty batch means: probe; None means: end."""
        with self._wake:
            while not (self._urgent or self._normal):
                if self._stopping:
                    return None
                timeout = None if self._healthy else _PROBE_EVERY
                if not self._wake.wait(timeout):
                    return []
            batch = _pop(self._urgent, self._batch_max)
            # One ordinary write rides along with urgent ones, so that it is not starved.
            room = min(1, self._batch_max - len(batch)) if batch else self._batch_max
            return batch + _pop(self._normal, room)

    def _serve(self, batch: list[Job]) -> Report:
        began = time.perf_counter()
        try:
            settled = self._commit(batch)
        except Exception as error:  # noqa: BLE001 - whatever broke the commit, no press may hang
            self._disconnect()
            detail = f"{type(error).__name__}: {getattr(error, 'orig', error)}"
            refused = StoreUnavailable(detail)
            settled = [Settled(job, error=refused) for job in batch]
            spent = time.perf_counter() - began
            return Report(settled, spent, reason_of(error), detail)
        return Report(settled, time.perf_counter() - began)

    def _commit(self, batch: list[Job]) -> list[Settled]:
        for _ in range(_CONFLICT_RETRIES):
            try:
                return self._commit_once(batch)
            except Exception as error:
                if reason_of(error) is not FailureReason.CONFLICT:
                    raise
                _log.info("store_conflict_retried", writes=len(batch))
                self._disconnect()
        return self._commit_once(batch)

    def _commit_once(self, batch: list[Job]) -> list[Settled]:
        """Try without savepoints, which cost a round trip each and are seldom needed."""
        if not batch:
            self._probe()
            return []
        settled = self._together(batch)
        return settled if settled is not None else self._each_apart(batch)

    def _together(self, batch: list[Job]) -> list[Settled] | None:
        """Commit all; None when a function raised, with everything rolled back."""
        connection = self._connect()
        transaction = connection.begin()
        settled = []
        for job in batch:
            try:
                settled.append(Settled(job, job.run(connection)))
            except Exception as error:
                if is_store_failure(error):
                    raise
                transaction.rollback()
                return [Settled(job, error=error)] if len(batch) == 1 else None
        transaction.commit()
        return settled

    def _each_apart(self, batch: list[Job]) -> list[Settled]:
        """Commit those that do not raise."""
        connection = self._connect()
        with connection.begin():
            return [_in_savepoint(connection, job) for job in batch]

    def _probe(self) -> None:
        connection = self._connect()
        with connection.begin():
            connection.execute(insert(PROBE), {"filler": "x" * _PROBE_BYTES})
            connection.execute(delete(PROBE))

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        """Drop the connection and with it whatever its transaction did."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()


def _pop(queue: deque[Job], most: int) -> list[Job]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]


def _in_savepoint(connection: Connection, job: Job) -> Settled:
    savepoint = connection.begin_nested()
    try:
        value = job.run(connection)
    except Exception as error:
        if is_store_failure(error):
            raise
        savepoint.rollback()
        return Settled(job, error=error)
    savepoint.commit()
    return Settled(job, value)
