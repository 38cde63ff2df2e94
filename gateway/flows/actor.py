"""One running call: a mailbox, the policy that decides, and the hands that do.

The state is committed behind the doing (commits.py): dialling never waits for the store.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec
import structlog

from drivers.api.ids import EventId
from gateway.flows.hands import Hands
from gateway.flows.model import (
    CallOutcome,
    CallView,
    Cause,
    EndCall,
    FlowCommand,
    FlowEvent,
    IncidentClosed,
    LegEnded,
    Started,
)
from gateway.flows.parts import FLOW, CallFacts, FlowParts
from gateway.flows.policies.emergency import step
from gateway.flows.policies.emergency_call import EmergencyCall
from gateway.flows.timers import Cancellable
from gateway.flows.translation import changes_of
from gateway.incidents.model import CallRecord, Change

log = structlog.get_logger()

# A call makes some ten events a minute; beyond this somebody floods it with keys or re-INVITEs.
MAILBOX_MAX: Final = 1_000
# Between restarts of a call whose flow fails again and again.
RESTART_S: Final = 5.0


class MailboxFlooded(Exception):
    """More events than any call makes."""


class CallActor:
    """Runs one call to its end."""

    def __init__(self, parts: FlowParts, facts: CallFacts, state: EmergencyCall) -> None:
        self._p = parts
        self.facts = facts
        self._state = state
        self._mailbox: deque[FlowEvent] = deque()
        self._mail = asyncio.Event()
        self._hands = Hands(parts, facts, self.post)
        self._defects = 0
        self._restart: Cancellable | None = None
        self._closed = False
        self.outcome: CallOutcome | None = None

    @property
    def view(self) -> CallView:
        """Return the call for a page."""
        return CallView(
            call=self.facts.id,
            incident=self.facts.incident.id,
            flow=FLOW,
            phase=self._state.phase.value,
            started_at=self.facts.started_at,
            legs=self._hands.ledger.views(),
        )

    def post(self, event: FlowEvent) -> None:
        """Put an event into the mailbox; never blocks."""
        self._closed = self._closed or isinstance(event, IncidentClosed)
        if len(self._mailbox) <= MAILBOX_MAX:  # the one too many tells the reader
            self._mailbox.append(event)
        self._mail.set()

    def tell_also(self, event: EventId) -> None:
        """Tell the terminal of the next steps for `event`, too."""
        self._hands.tell_also(event)

    async def expect_caller(self) -> str:
        """Keep a leg for the terminal's own call; return its worker's "address:port"."""
        return await self._hands.expect_caller()

    async def take_over(self) -> bool:
        """Take the call over from its worker, before `run`; False when the worker is gone."""
        found = self._hands.adopt(self._state.legs)
        # What happened since the attach is delivered from the loop, in order: how legs ended that
        # are gone is known then, and nobody is rung who has said goodbye.
        await asyncio.sleep(0)
        ended = {e.leg: e.outcome for e in self._mailbox if isinstance(e, LegEnded)}
        self._mailbox.appendleft(self._hands.resumption(ended))
        self._mail.set()
        return found

    async def run(self) -> None:
        """Answer events until the call is over."""
        self._p.metrics.calls_active.labels(FLOW).inc()
        try:
            while self.outcome is None:
                await self._mail.wait()
                try:
                    await self._take_next()
                except Exception as defect:  # noqa: BLE001  an SOS does not end by a defect of ours
                    self._recover(defect)
            self._p.metrics.calls.labels(FLOW, self.outcome.value).inc()
        finally:
            self._p.metrics.calls_active.labels(FLOW).dec()

    async def clear_up(self) -> None:
        """Wait for the legs to end, give the room back and finish the recording."""
        self._forget_restart()
        await self._hands.rest()
        if self._state.recorded:
            facts = self.facts
            await self._p.finish_recording(
                facts.id, facts.incident.id, self._hands.recording_directory
            )

    async def hang_up(self) -> None:
        """End all legs; the call itself is not over, another daemon would ring again."""
        await self._hands.hang_up_all("gateway stops")

    async def cut(self) -> None:
        """Let go of everything, with the legs left alive."""
        self._forget_restart()
        await self._hands.cut()

    async def _take_next(self) -> None:
        if len(self._mailbox) > MAILBOX_MAX:
            raise MailboxFlooded(f"more than {MAILBOX_MAX} events wait")
        event = self._mailbox.popleft()
        if not self._mailbox:
            self._mail.clear()
        now = self._p.clock.time()
        before = self._state
        self._state, commands = step(before, event, now)
        self._commit(commands, now, changed=self._state is not before)
        try:
            for command in commands:
                await self._hands.carry_out(command)
        finally:  # whatever a command met, a call that the policy ended does not begin again
            self.outcome = next((c.outcome for c in commands if isinstance(c, EndCall)), None)

    def _commit(self, commands: Sequence[FlowCommand], now: float, *, changed: bool) -> None:
        facts = self.facts
        changes = changes_of(commands, incident=facts.incident, call=facts.id, now=now)
        if not changes:
            if not changed:
                return
            changes = [Change(incident=facts.incident.id, at=now)]
        # All carry the state after the step: a crash between two of them loses no more of it.
        record = self._record(now, commands)
        for change in changes:
            self._p.committer.put(replace(change, call=record))

    def _record(self, now: float, commands: Sequence[FlowCommand]) -> CallRecord:
        outcome = next((c.outcome.value for c in commands if isinstance(c, EndCall)), None)
        return CallRecord(
            id=self.facts.id,
            incident=self.facts.incident.id,
            flow=FLOW,
            started_at=self.facts.started_at,
            state=msgspec.json.encode(self._state),
            ended_at=now if outcome else None,
            outcome=outcome,
        )

    def _recover(self, defect: Exception) -> None:
        """Alarm a person of a defect, and start the flow anew unless the call was at its end."""
        log.error(
            "flow_defect",
            call=self.facts.id,
            incident=self.facts.incident.id,
            exc_info=defect,
        )
        self._hands.drop_everything()
        if self.outcome is None:
            self._begin_again()
        self._hands.alarm(Cause.FLOW_DEFECT)

    def _begin_again(self) -> None:
        """Start from nothing: at once the first time, then after a while."""
        self._mailbox.clear()
        self._mail.clear()
        self._forget_restart()
        old = self._state
        self._state = EmergencyCall(
            plan=old.plan,
            serial=old.serial,
            recorded=old.recorded,
            cancelled=old.cancelled,
        )
        self._defects += 1
        if self._closed:
            self.post(IncidentClosed())
        elif self._defects == 1:
            self.post(Started())
        else:
            self._restart = self._p.schedule(RESTART_S, lambda: self.post(Started()))

    def _forget_restart(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
