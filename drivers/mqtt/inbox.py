"""From arrival to receipt: terminals side by side, each terminal's events in order."""

import asyncio
from collections import deque

import structlog

from drivers.api.driver import DriverContext
from drivers.api.errors import TransientError
from drivers.api.events import AnyTerminalEvent, Refusal
from drivers.api.ids import TerminalId
from drivers.mqtt.acks import AckPump, AckToken
from drivers.mqtt.flood import FloodGuard
from drivers.mqtt.links import Backoff

log = structlog.get_logger()

# A busy database clears within a second; a full disk takes a person.
RETRY_FIRST_S = 0.2
RETRY_LONGEST_S = 5.0
# An event on which our own code fails is given up after so many attempts, or it would hold the
# ordered acknowledgements of all terminals for ever.
DEFECT_ATTEMPTS = 4


class Inbox:
    """Submits events and settles their tokens. Bounded by the connection's Receive Maximum.

    Events outlive their connection by one attempt: a press in our hands is committed even if the
    broker does not come back, and what comes again is a duplicate to the gateway.
    """

    def __init__(
        self,
        ctx: DriverContext,
        pump: AckPump,
        guard: FloodGuard,
        tasks: asyncio.TaskGroup,
        *,
        submit_timeout_s: float,
    ) -> None:
        self._ctx = ctx
        self._pump = pump
        self._guard = guard
        self._tasks = tasks
        self._submit_timeout_s = submit_timeout_s
        self._queues: dict[TerminalId, deque[tuple[AnyTerminalEvent, AckToken]]] = {}

    def add(self, event: AnyTerminalEvent, token: AckToken) -> None:
        """Take an event in the order of arrival; never blocks."""
        queue = self._queues.get(event.terminal)
        if queue is not None:
            queue.append((event, token))
            return
        self._queues[event.terminal] = deque([(event, token)])
        self._tasks.create_task(self._serve(event.terminal), name=f"mqtt-{event.terminal}")

    async def _serve(self, terminal: TerminalId) -> None:
        queue = self._queues[terminal]
        try:
            while queue:
                await self._commit(*queue[0])
                queue.popleft()
        finally:
            del self._queues[terminal]

    async def _commit(self, event: AnyTerminalEvent, token: AckToken) -> None:
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        defects = 0
        while True:
            try:
                async with asyncio.timeout(self._submit_timeout_s):
                    await self._ctx.submit(event)
            except (TransientError, TimeoutError) as error:
                if not self._pump.is_current(token):
                    return  # unacknowledged: the broker delivers it again
                log.warning("event_not_committed", **_ids(event), reason=repr(error))
            except Exception:
                defects += 1
                log.exception("event_defect", **_ids(event), attempt=defects)
                if defects == DEFECT_ATTEMPTS:
                    self._give_up(event, token)
                    return
            else:
                self._guard.committed(event)
                self._pump.settle(token)
                return
            await asyncio.sleep(backoff.next())

    def _give_up(self, event: AnyTerminalEvent, token: AckToken) -> None:
        # The terminal has no application acknowledgement, so it goes on repeating the event.
        self._ctx.refused(event.terminal, Refusal.INTERNAL, f"event {event.event_id} given up")
        self._pump.settle(token)


def _ids(event: AnyTerminalEvent) -> dict[str, str]:
    return {"terminal": event.terminal, "event_id": event.event_id}
