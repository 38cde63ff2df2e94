"""Keeps the right number of workers alive: starts what is missing, renews, ends the idle."""

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from gateway.telephony.placement import Sizes, workers_kept, workers_wanted
from gateway.telephony.slot import PARALLEL_STARTS, START_DEADLINE_S, Slot, SlotContext
from gateway.telephony.slot_states import SlotState
from gateway.telephony.worker import Worker

log = structlog.get_logger()


class Supervisor:
    """Owns the slots."""

    def __init__(self, context: SlotContext) -> None:
        config = context.config
        self._context = context
        self._sizes = Sizes(
            least=min(config.min_workers, config.max_workers),
            most=config.max_workers,
            spare=config.spare_workers,
        )
        self.slots = {number: Slot(number, context) for number in range(config.max_workers)}
        self._first_starts = asyncio.Event()
        self._balancing = False  # not before the adoptions, not after the stop

    def workers(self, *states: SlotState) -> Iterator[Worker]:
        """Yield the attached workers whose slots are in one of `states` (default: any)."""
        for slot in self.slots.values():
            if slot.worker is not None and (not states or slot.state in states):
                yield slot.worker

    def count(self, *states: SlotState) -> int:
        """Return how many slots are in one of `states`."""
        return sum(slot.state in states for slot in self.slots.values())

    async def start(self) -> None:
        """Attach to every living worker, then start what is missing.

        Returns when the least number of workers is ready or a start has failed: the daemon serves
        data without voice, too.
        """
        decided = []
        for number in self._context.factory.living_slots():
            slot = self.slots.setdefault(number, Slot(number, self._context))
            decided.append(slot.adopt())
        for event in decided:
            await event.wait()
        self._balancing = True
        self._context.changed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_DEADLINE_S):
                await self._first_starts.wait()

    def balance(self, waiting_legs: int) -> None:
        """Start, renew and end workers as the present load and `waiting_legs` ask for."""
        if not self._balancing:
            return
        for worker in self.workers():
            worker.expire()
        fresh = [worker for worker in self.workers(SlotState.READY) if not worker.due]
        busy = sum(not worker.empty for worker in fresh)
        wanted = workers_wanted(
            self._sizes, busy=busy, waiting_legs=waiting_legs, legs=self._context.legs
        )
        self._drain(enough=len(fresh) >= wanted)
        self._start_missing(wanted - len(fresh))
        self._end_superfluous(len(fresh) - workers_kept(self._sizes, busy=busy))
        attached = self.count(SlotState.READY, SlotState.DRAINING)
        if attached >= self._sizes.least or self._context.failed_starts:
            self._first_starts.set()

    async def abandon_unclaimed(self) -> None:
        """End the calls of an earlier daemon that no flow has asked for."""
        self._context.orphans.clear()
        for worker in list(self.workers()):
            await worker.abandon_unclaimed()

    async def stop(self, *, quit_workers: bool) -> None:
        """End supervision; returns when nothing of it runs any more."""
        self._balancing = False
        self._first_starts.set()
        if quit_workers:
            for slot in self.slots.values():
                if slot.state in {SlotState.READY, SlotState.DRAINING}:
                    slot.quit()
            leaving = [s for s in self.slots.values() if s.state is SlotState.QUITTING]
            await asyncio.gather(*(slot.ended() for slot in leaving))
        tasks = list(self._context.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drain(self, *, enough: bool) -> None:
        """Close to new calls who has carried its share, once another can take its place."""
        for slot in self.slots.values():
            if slot.state is not SlotState.READY or slot.worker is None:
                continue
            if slot.number >= self._sizes.most:  # of an earlier, larger configuration
                slot.drain()
            elif slot.worker.due and (enough or self._no_place_left()):
                log.info("worker_recycled", slot=slot.number, calls_carried=slot.worker.carried)
                slot.drain()

    def _no_place_left(self) -> bool:
        """Tell whether a replacement needs the very slot, and no other slot is being cleared."""
        return not self.count(
            SlotState.VACANT,
            SlotState.STARTING,
            SlotState.RESTING,
            SlotState.DRAINING,
            SlotState.QUITTING,
        )

    def _start_missing(self, missing: int) -> None:
        starting = self.count(SlotState.STARTING)
        # Slots that rest are replaced by others, but only a few: when nothing starts at all,
        # trying every slot helps nobody.
        resting = max(0, self.count(SlotState.RESTING) - PARALLEL_STARTS)
        missing = min(missing - starting - resting, PARALLEL_STARTS - starting)
        vacant = [
            slot
            for slot in self.slots.values()
            if slot.state is SlotState.VACANT and slot.number < self._sizes.most
        ]
        vacant.sort(key=lambda slot: (slot.failures, slot.number))
        for slot in vacant[: max(0, missing)]:
            slot.start()

    def _end_superfluous(self, surplus: int) -> None:
        for slot in sorted(self.slots.values(), key=lambda slot: -slot.number):
            worker = slot.worker
            if worker is None or not worker.empty:
                continue
            if slot.state is SlotState.DRAINING:
                slot.quit()
            elif (
                surplus > 0
                and slot.state is SlotState.READY
                and not worker.due
                and worker.idle_s >= self._context.config.idle_s
            ):
                surplus -= 1
                slot.quit()
