"""The store as the event loop sees it: `write` and `read` take functions on a connection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from drivers.api.errors import StoreUnavailable
from gateway.config import StoreConfig
from gateway.metrics import Metrics
from gateway.store.engine import read_engine, write_engine
from gateway.store.failures import FailureReason, is_store_failure
from gateway.store.migrate import StoreTooNew, upgrade
from gateway.store.writer import GroupWriter, Job, Report, Settled

_log = structlog.get_logger()

T = TypeVar("T")

# A batch that runs longer than this many times the lock wait has lost its database (a stopped
# server, a dead network file system): its callers are told, so that presses stay with the broker.
_STALL_FACTOR: Final = 3.0
_WATCH_EVERY: Final = 0.5  # seconds
# Reads are pages and API calls; more than this waiting per reader is a defect or an attack.
_READS_PER_READER: Final = 200


class Database:
    """One store. `start` and `stop` once; `write` and `read` on the loop that started it."""

    def __init__(self, config: StoreConfig, url: str, metrics: Metrics) -> None:
        self._config = config
        self._url = url
        self._metrics = metrics
        self._ready = False
        self._last_error = "not started"
        self._reading = 0
        self._running: set[asyncio.Future[Any]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._writer: GroupWriter | None = None
        self._engines: tuple[Engine, ...] = ()
        self._readers: ThreadPoolExecutor
        self._watch: asyncio.Task[None]

    @property
    def ready(self) -> bool:
        """Tell whether the last commit succeeded."""
        return self._ready

    @property
    def last_error(self) -> str:
        """Return what the store said when it failed last; empty while ready."""
        return self._last_error

    @property
    def queue_depth(self) -> int:
        """Return how many writes wait."""
        return self._writer.waiting if self._writer is not None else 0

    async def start(self) -> None:
        """Migrate and begin to write.

        Raises StoreTooNew, or StoreUnavailable when the store cannot be reached or written.
        """
        self._loop = asyncio.get_running_loop()
        writing = write_engine(self._url, self._config)
        self._engines = (writing, read_engine(self._url, self._config))
        try:
            await asyncio.to_thread(upgrade, writing)
        except DBAPIError as error:
            writing.dispose()
            raise StoreUnavailable(f"cannot open the store: {error.orig}") from error
        except StoreTooNew:
            writing.dispose()
            raise
        self._readers = ThreadPoolExecutor(self._config.readers, thread_name_prefix="store-reader")
        self._writer = GroupWriter(
            writing, batch_max=self._config.batch_max, deliver=self._from_writer
        )
        self._writer.start()
        self._set_ready("")
        self._watch = asyncio.create_task(self._watch_writer(self._writer), name="store-watch")

    async def stop(self, *, patience_s: float | None = None) -> None:
        """Commit what waits, then close; writes that come later raise StoreUnavailable.

        A store that does not answer is waited for `patience_s` seconds (default: as long as for
        any batch); what it has not committed then is given up.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            stall = self._config.busy_timeout_s * _STALL_FACTOR
            limit = stall if patience_s is None else patience_s
            if not await asyncio.to_thread(writer.stop, limit):
                _log.error("store_writer_stuck", waited_s=limit)
                self._give_up(writer)
            await asyncio.sleep(0)  # lets the last batch's callers hear of it
            await asyncio.to_thread(self._readers.shutdown)
        for engine in self._engines:
            engine.dispose()

    async def write(
        self,
        fn: Callable[[Connection], T],
        *,
        urgent: bool = False,
        then: Callable[[T], None] | None = None,
    ) -> T:
        """Run `fn` in a transaction and return its value after the commit.

        `fn` runs in the writer's thread and may run twice, the first time rolled back: it must
        touch nothing but the connection. What it raises is raised here, and only its own changes
        are undone. `then` is called on the loop after the commit, in the order of the commits,
        even when the caller was cancelled meanwhile. Urgent writes go before the others; within
        each lane the order of the calls is kept.

        Raises StoreUnavailable when the commit failed or was not answered in time, or when too
        many writes wait. Repeating is safe if `fn` is idempotent: a server that died in the
        commit may have done it.
        """
        writer = self._writer
        if writer is None:
            raise StoreUnavailable("the store is closed")
        if writer.waiting >= self._config.queue_max:
            raise StoreUnavailable("too many writes wait for the store")
        future: asyncio.Future[T] = self._loop.create_future()
        self._running.add(future)
        writer.submit(Job(fn, future, then), urgent=urgent)
        try:
            return await future
        finally:
            self._running.discard(future)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a connection that cannot write, in one snapshot, and return its value.

        Raises StoreUnavailable when the store fails or too many reads wait.
        """
        if self._writer is None:
            raise StoreUnavailable("the store is closed")
        if self._reading >= self._config.readers * _READS_PER_READER:
            raise StoreUnavailable("too many reads wait for the store")
        self._reading += 1
        try:
            return await self._loop.run_in_executor(self._readers, self._read_now, fn)
        finally:
            self._reading -= 1

    def _read_now(self, fn: Callable[[Connection], T]) -> T:
        try:
            with self._engines[1].connect() as connection, connection.begin():
                return fn(connection)
        except Exception as error:
            if is_store_failure(error):
                raise StoreUnavailable(f"read failed: {getattr(error, 'orig', error)}") from error
            raise

    def _from_writer(self, report: Report) -> None:
        """Hand a batch to the loop; runs in the writer's thread."""
        try:
            self._loop.call_soon_threadsafe(self._settle, report)
        except RuntimeError:
            _log.warning("store_loop_gone", writes=len(report.settled))

    def _settle(self, report: Report) -> None:
        """Measure a batch and wake its callers; one wake-up of the loop per batch."""
        if report.failure is None:
            self._set_ready("")
        else:
            self._metrics.store_errors.labels(report.failure.value).inc()
            self._set_ready(report.detail)
        if report.settled:
            self._metrics.commit.observe(report.seconds)
            self._metrics.batch.observe(len(report.settled))
        for one in report.settled:
            _settle_one(one)

    def _set_ready(self, error: str) -> None:
        ready = not error
        if ready != self._ready or (error and error != self._last_error):
            _log.log(20 if ready else 40, "store_ready" if ready else "store_failed", error=error)
        self._ready = ready
        self._last_error = error
        self._metrics.store_up.set(ready)

    async def _watch_writer(self, writer: GroupWriter) -> None:
        limit = self._config.busy_timeout_s * _STALL_FACTOR
        while True:
            await asyncio.sleep(_WATCH_EVERY)
            self._metrics.store_queue.set(writer.waiting)
            if writer.busy_s() > limit:
                self._give_up(writer)

    def _give_up(self, writer: GroupWriter) -> None:
        """Tell all callers that no answer comes; the batch may still be committed later."""
        writer.abandon()
        waiting = [future for future in self._running if not future.done()]
        if waiting or self._ready:
            self._metrics.store_errors.labels(FailureReason.STALLED.value).inc()
        self._set_ready("the store does not answer")
        for future in waiting:
            future.set_exception(StoreUnavailable("the store does not answer"))


def _settle_one(one: Settled) -> None:
    if one.error is None and one.job.then is not None:
        try:
            one.job.then(one.value)
        except Exception:  # noqa: BLE001 - the commit stands; a listener's defect hides nothing
            _log.exception("store_listener_failed")
    future = one.job.future
    if future.done():  # cancelled, or given up
        return
    if one.error is None:
        future.set_result(one.value)
    else:
        future.set_exception(one.error)
