"""One place in the pool: the life of worker after worker in it."""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from drivers.api.clock import Clock
from drivers.api.errors import WaistError, WorkerGone
from drivers.api.ids import CallId
from drivers.api.legs import AnyLegEvent, WorkerFactory, WorkerLink
from gateway.config import TelephonyConfig
from gateway.metrics import Metrics
from gateway.telephony.room import Room
from gateway.telephony.slot_states import HEALTHY_S, SlotEvent, SlotState, backoff_s, next_state
from gateway.telephony.worker import Worker

log = structlog.get_logger()

# Starts at once: a fork takes 20–30 ms of one core; more in parallel only slow each other and
# the calls that already run.
PARALLEL_STARTS = 4
START_DEADLINE_S = 15.0  # beyond the worker's own limit, so that its clear error comes first
QUIT_DEADLINE_S = 10.0  # hanging up four legs through the edge takes 3 s when the peers are dead
# Missed events of a whole worker: the backlog of four legs, with room for keys pressed.
EARLY_EVENTS_MAX = 4096


def kill_process(pid: int) -> None:
    """End a worker that does not listen; its connection stands, so the pid is still its own."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass(slots=True, kw_only=True)
class SlotContext:
    """What all slots of a pool share."""

    config: TelephonyConfig
    factory: WorkerFactory
    metrics: Metrics
    clock: Clock
    changed: Callable[[], None]  # after what may let a caller in or need a start
    kill: Callable[[int], None]
    legs: int  # of one more worker, as far as is known
    failed_starts: int = 0  # in a row, over all slots
    orphans: dict[CallId, Room] = field(default_factory=dict)  # lost before a flow asked for them
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Inlet:
    """Where a link delivers its events: kept until the books on the worker are open."""

    def __init__(self) -> None:
        self._early: deque[AnyLegEvent] = deque(maxlen=EARLY_EVENTS_MAX)
        self._worker: Worker | None = None

    def __call__(self, event: AnyLegEvent) -> None:
        """Take an event."""
        if self._worker is None:
            self._early.append(event)
        else:
            self._worker.receive(event)

    def open(self, worker: Worker) -> None:
        """Deliver what was kept, and from now on at once."""
        while self._early:
            worker.receive(self._early.popleft())
        self._worker = worker


class Slot:
    """One place for a worker. `start`, `adopt`, `drain` and `quit` are what can be asked of it."""

    def __init__(self, number: int, context: SlotContext) -> None:
        self.number = number
        self.state = SlotState.VACANT
        self.worker: Worker | None = None
        self.failures = 0  # in a row
        self._context = context
        self._life: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin a worker's life here; failures and the end are dealt with, until vacant again."""
        self._fire(SlotEvent.START)
        self._life = self._own(self._run())

    def adopt(self) -> asyncio.Event:
        """Attach to the worker that may live here; the event is set once that is decided."""
        self._fire(SlotEvent.START)
        decided = asyncio.Event()
        self._life = self._own(self._adopt(decided))
        return decided

    def drain(self) -> None:
        """Let no new calls in."""
        self._fire(SlotEvent.DRAIN)

    def quit(self) -> None:
        """Ask the worker to end, whatever it carries."""
        assert self.worker is not None, "only attached workers can be asked"
        self._fire(SlotEvent.QUIT)
        self._own(self._ask_to_quit(self.worker.link))

    async def ended(self) -> None:
        """Return when the worker that was asked to quit is gone, or will not go."""
        if self._life is not None:
            await asyncio.wait([self._life], timeout=QUIT_DEADLINE_S + 2)

    def _fire(self, event: SlotEvent) -> None:
        self.state = next_state(self.state, event)

    async def _run(self) -> None:
        """Own the slot from the start of a process until the slot is vacant again."""
        inlet = Inlet()
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                link = await self._context.factory.spawn(self.number, inlet)
        except Exception as exc:  # noqa: BLE001  a defect in one start must not end supervision
            self._start_failed(exc)
        else:
            self._context.metrics.pool_started.labels(result="started").inc()
            await self._serve(self._open(link, inlet, adopted=False))
        await self._rest()

    async def _adopt(self, attached: asyncio.Event) -> None:
        """Own the slot from the attach to a worker of an earlier daemon, if it lives."""
        inlet = Inlet()
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                link = await self._context.factory.adopt(self.number, inlet)
        except Exception as exc:  # noqa: BLE001  a defect in one worker must not end supervision
            self._start_failed(exc)
            attached.set()
        else:
            if link is None:
                self._fire(SlotEvent.ABSENT)
                attached.set()
                return
            self._context.metrics.pool_started.labels(result="adopted").inc()
            worker = self._open(link, inlet, adopted=True)
            attached.set()
            await self._serve(worker)
        await self._rest()

    def _open(self, link: WorkerLink, inlet: Inlet, *, adopted: bool) -> Worker:
        worker = Worker(
            link,
            self._context.config,
            clock=self._context.clock,
            changed=self._context.changed,
            adopted=adopted,
        )
        if worker.limit < self._context.legs:
            log.warning(
                "worker_smaller_than_configured", legs=worker.limit, configured=self._context.legs
            )
            self._context.legs = worker.limit
        self.worker = worker
        self._context.failed_starts = 0
        self._fire(SlotEvent.ATTACHED)
        log.info(
            "worker_ready",
            slot=self.number,
            pid=link.pid,
            legs=worker.limit,
            adopted=adopted,
            calls=len(worker.rooms),
        )
        inlet.open(worker)
        self._context.changed()
        return worker

    def _start_failed(self, exc: Exception) -> None:
        expected = isinstance(exc, WaistError | OSError)
        log.error(
            "worker_start_failed",
            slot=self.number,
            detail=str(exc) or type(exc).__name__,
            exc_info=None if expected else exc,
        )
        self._context.metrics.pool_started.labels(result="failed").inc()
        self.failures += 1
        self._context.failed_starts += 1
        self._fire(SlotEvent.FAILED)
        self._context.changed()

    async def _serve(self, worker: Worker) -> None:
        """Wait for the end of `worker` and settle what it leaves behind."""
        await worker.link.closed()
        asked = self.state is SlotState.QUITTING
        self.worker = None
        self._fire(SlotEvent.CLOSED)
        if asked:
            log.info("worker_ended", slot=self.number, calls_carried=worker.carried)
        else:
            self._count_loss(worker)
        self._context.orphans.update((room.call, room) for room in worker.lose())
        self._context.changed()

    def _count_loss(self, worker: Worker) -> None:
        lived = self._context.clock.monotonic() - worker.ready_since
        self.failures = 1 if lived >= HEALTHY_S else self.failures + 1
        self._context.metrics.pool_lost.inc()
        log.error(
            "worker_lost",
            slot=self.number,
            pid=worker.link.pid,
            lived_s=round(lived, 1),
            calls=sorted(worker.rooms),
        )

    async def _rest(self) -> None:
        if self.state is not SlotState.RESTING:
            return
        # A fault that all slots share slows all of them, not one after the other.
        together = self._context.failed_starts // PARALLEL_STARTS
        await asyncio.sleep(backoff_s(max(self.failures, together)))
        self._fire(SlotEvent.RESTED)
        self._context.changed()

    async def _ask_to_quit(self, link: WorkerLink) -> None:
        try:
            async with asyncio.timeout(QUIT_DEADLINE_S):
                await link.quit()
                await link.closed()
        except WorkerGone:
            log.debug("worker_gone_before_quit", slot=link.slot)
        except (TimeoutError, WaistError) as exc:
            log.exception("worker_does_not_quit", slot=link.slot, pid=link.pid, detail=str(exc))
            self._context.kill(link.pid)

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._context.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._context.tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.critical("worker_supervision_failed", exc_info=exc)
