"""Commits the steps of calls behind the voice path: in order, repeated until the store takes them.

Dialling never waits for the store. While the store is away, changes of an incident are merged, so
that what waits is bounded by what happened, not by how often.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from drivers.api.errors import StoreUnavailable
from drivers.api.ids import IncidentId
from gateway.incidents.model import Change, IncidentDesk
from gateway.incidents.states import IncidentState, Trigger, WrongTransition

log = structlog.get_logger()

RETRY_S: Final = 0.1
RETRY_MAX_S: Final = 5.0  # the store is back within a check of readiness
# Per incident. A call that rings for ever writes about five lines a minute: a day of an absent
# store, after which the oldest lines go (what they say of the state is in the newer ones).
PENDING_MAX: Final = 2_000
ENTRIES_MAX: Final = 200  # lines in one merged change: bounds a transaction


class Committer:
    """One ordered queue per incident with something to commit."""

    def __init__(
        self, desk: IncidentDesk, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._desk = desk
        self._sleep = sleep
        self._queues: dict[IncidentId, deque[Change]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, change: Change) -> None:
        """Commit `change` after all earlier ones of its incident; never blocks."""
        queue = self._queues.get(change.incident)
        if queue is None:
            queue = self._queues[change.incident] = deque()
            task = asyncio.create_task(self._work(change.incident, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if len(queue) >= PENDING_MAX:
            lost = queue.popleft()
            log.error("timeline_lines_lost", incident=lost.incident, lines=len(lost.entries))
        queue.append(change)

    @property
    def incidents(self) -> frozenset[IncidentId]:
        """Return the incidents with changes that are not committed."""
        return frozenset(self._queues)

    async def drain(self, *, deadline_s: float) -> bool:
        """Wait until all is committed; False (and given up) when it takes longer."""
        tasks = set(self._tasks)
        if not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=deadline_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late

    async def _work(self, incident: IncidentId, queue: deque[Change]) -> None:
        try:
            while queue:
                await self._commit(merged(queue))
        finally:
            del self._queues[incident]

    async def _commit(self, change: Change) -> None:
        wait = RETRY_S
        while True:
            try:
                await self._apply(change)
            except StoreUnavailable as error:
                log.warning("step_not_committed", incident=change.incident, error=str(error))
                await self._sleep(wait)
                wait = min(2 * wait, RETRY_MAX_S)
            except LookupError:
                log.exception("step_of_unknown_incident", incident=change.incident)
                return
            else:
                return

    async def _apply(self, change: Change) -> None:
        """Commit; where the trigger lost a race, its lines are kept all the same."""
        try:
            await self._desk.apply(change)
        except WrongTransition as error:
            log.warning("trigger_lost_a_race", incident=change.incident, error=str(error))
            # A call that begins anew for an answered incident: its agent was lost.
            anew = (error.state, error.trigger) == (IncidentState.ANSWERED, Trigger.RING)
            instead = Trigger.LOSE if anew else None
            await self._desk.apply(replace(change, trigger=instead, answered_by=None))


def merged(queue: deque[Change]) -> Change:
    """Take from the queue what fits into one change: at most one trigger and one leg."""
    change = queue.popleft()
    while queue and _fit(change, queue[0]):
        following = queue.popleft()
        change = replace(
            change,
            at=following.at,
            entries=(*change.entries, *following.entries),
            trigger=following.trigger or change.trigger,
            answered_by=following.answered_by or change.answered_by,
            call=following.call or change.call,
            leg=following.leg or change.leg,
        )
    return change


def _fit(a: Change, b: Change) -> bool:
    return (
        not (a.trigger and b.trigger)
        and not (a.leg and b.leg)
        and not (a.call and b.call and a.call.id != b.call.id)
        and len(a.entries) + len(b.entries) <= ENTRIES_MAX
    )
