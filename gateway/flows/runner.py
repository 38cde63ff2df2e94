"""All running calls: starts them, finds them by incident, takes them over, lets them go."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import structlog
from ulid import ULID

from drivers.api.clock import Clock
from drivers.api.ids import CallId, EventId, IncidentId
from drivers.api.legs import LegDialer
from gateway.config import Settings
from gateway.flows.actor import CallActor
from gateway.flows.commits import Committer
from gateway.flows.hands import Hands
from gateway.flows.model import (
    CallerComing,
    CallOutcome,
    CallView,
    FlowEvent,
    IncidentClosed,
    PressCancelled,
    PressedAgain,
    Started,
)
from gateway.flows.offers import Agents
from gateway.flows.parts import CallFacts, FlowParts, PromptSource
from gateway.flows.plan import plan_of
from gateway.flows.policies.emergency_call import EmergencyCall
from gateway.flows.timers import Schedule
from gateway.incidents.model import CallRecord, Change, Incident, IncidentDesk
from gateway.incidents.states import IncidentState
from gateway.metrics import Metrics
from gateway.routing.model import Decision, Target
from gateway.routing.rules import targets_of
from gateway.terminals.model import TerminalDirectory, TerminalMessenger

log = structlog.get_logger()

# At the end of the daemon: the store's own deadline for a batch, twice.
DRAIN_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a terminal's own call is expected."""

    call: CallId
    contact: str  # of the worker, "address:port"


class FlowRunner:
    """Runs the flow `emergency` for incidents, one call per incident at a time."""

    def __init__(
        self,
        *,
        settings: Settings,
        dialer: LegDialer,
        desk: IncidentDesk,
        messenger: TerminalMessenger,
        directory: TerminalDirectory,
        prompts: PromptSource,
        metrics: Metrics,
        clock: Clock,
        finish_recording: Callable[[CallId, IncidentId, Path], Awaitable[None]],
        on_alarm: Callable[[IncidentId, str], None] | None = None,
        free_parties: Callable[[str], Awaitable[None]] | None = None,
        agents: Agents | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Make the runner. `on_alarm` gets the incident and the cause of each alarm."""
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._committer = Committer(desk)
        self._parts = FlowParts(
            settings=settings,
            dialer=dialer,
            committer=self._committer,
            messenger=messenger,
            prompts=prompts,
            metrics=metrics,
            clock=clock,
            schedule=schedule or _on_the_loop,
            finish_recording=finish_recording,
            on_alarm=on_alarm or _nobody,
            free_parties=free_parties,
            agents=agents,
        )
        self._actors: dict[IncidentId, CallActor] = {}
        self._tasks: dict[asyncio.Task[None], CallActor] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def running(self) -> Sequence[CallView]:
        """Return the running calls, oldest first."""
        return tuple(actor.view for actor in self._actors.values())

    @property
    def active_calls(self) -> int:
        """Return how many calls run."""
        return len(self._actors)

    @property
    def call_ids(self) -> Collection[CallId]:
        """Return the calls that run or are being cleared up: their recordings are not finished."""
        return frozenset(actor.facts.id for actor in self._tasks.values())

    @property
    def incidents(self) -> Collection[IncidentId]:
        """Return the incidents with a call that runs or whose end is not committed yet."""
        return frozenset(self._actors) | self._committer.incidents

    def start(
        self,
        incident: Incident,
        decision: Decision,
        event: EventId | None = None,
        *,
        calling: bool = False,
    ) -> CallId:
        """Start a call, or tell the one that runs of another press; never blocks.

        `event` is the press that joined the incident, when it was not the one that opened it.
        `calling`: the terminal's own call is on its way (`place` says where it must go).
        """
        running = self._actors.get(incident.id)
        if running is not None:
            self.pressed_again(incident.id, event or incident.event_id, calling=calling)
            return running.facts.id
        terminal = self._directory.get(incident.terminal)
        agents = self._parts.agents
        plan = plan_of(
            self._settings,
            decision,
            voice=bool(terminal and terminal.sip_uri),
            free=agents.drawable_in if agents else lambda _group: 1,
        )
        now = self._clock.time()
        facts = CallFacts(
            id=CallId(str(ULID.from_timestamp(now))),
            incident=incident,
            terminal=terminal,
            targets=self._targets() | _targets_of(decision),
            emergency=decision.emergency,
            started_at=now,
            measured=incident.state is IncidentState.OPEN,
        )
        actor = CallActor(self._parts, facts, EmergencyCall(plan=plan))
        if event is not None:
            actor.tell_also(event)
        if calling:
            actor.post(CallerComing())
        actor.post(Started())
        self._run(actor)
        return facts.id

    async def resume(self, record: CallRecord, incident: Incident) -> bool:
        """Take over a call of an earlier daemon; False when its worker is gone.

        A call whose worker is gone goes on in another one. A call whose stored state cannot be
        read is ended; the incident needs another one.
        """
        state = _read(record)
        facts = CallFacts(
            id=record.id,
            incident=incident,
            terminal=self._directory.get(incident.terminal),
            targets=self._targets(),
            emergency=state.plan.emergency if state else True,
            started_at=record.started_at,
            measured=False,
        )
        if state is None:
            await self._end_unreadable(record, facts)
            return False
        actor = CallActor(self._parts, facts, state)
        found = await actor.take_over()
        self._run(actor)
        return found

    def pressed_again(self, incident: IncidentId, event: EventId, *, calling: bool = False) -> bool:
        """Tell the incident's call of another press; False when no call runs."""
        actor = self._actors.get(incident)
        if actor is not None:
            actor.tell_also(event)
            if calling:
                actor.post(CallerComing())
        return self._post(incident, PressedAgain())

    async def place(self, incident: IncidentId, *, deadline_s: float) -> Place | None:
        """Return where the caller's own call must go; None when there is no room in time."""
        actor = self._actors.get(incident)
        if actor is None:
            return None
        try:
            async with asyncio.timeout(deadline_s):
                return Place(call=actor.facts.id, contact=await actor.expect_caller())
        except TimeoutError:
            return None

    def press_cancelled(self, incident: IncidentId) -> bool:
        """Tell the incident's call that the person took the press back; False when none runs."""
        return self._post(incident, PressCancelled())

    def incident_closed(self, incident: IncidentId) -> bool:
        """End the incident's call; False when none runs."""
        return self._post(incident, IncidentClosed())

    async def run(self) -> None:
        """Run until cancelled. The calls have tasks of their own, which `stop` ends."""
        await asyncio.Event().wait()

    async def idle(self) -> None:
        """Return when no call runs or is being cleared up."""
        await self._quiet.wait()

    async def stop(self, *, hang_up: bool) -> None:
        """Let the calls go: to the workers and the next daemon, or (`hang_up`) hung up.

        Either way they are not over: an SOS that nobody closed is rung again by the next daemon.
        """
        actors = list(self._tasks.values())
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if hang_up:
            await asyncio.gather(*(actor.hang_up() for actor in actors))
        await asyncio.gather(*(actor.cut() for actor in actors))
        if not await self._committer.drain(deadline_s=DRAIN_S):
            log.error("steps_not_committed_at_stop")

    def _post(self, incident: IncidentId, event: FlowEvent) -> bool:
        actor = self._actors.get(incident)
        if actor is None:
            return False
        actor.post(event)
        return True

    def _run(self, actor: CallActor) -> None:
        self._actors[actor.facts.incident.id] = actor
        task = asyncio.create_task(self._whole(actor), name=f"call {actor.facts.id}")
        self._tasks[task] = actor
        self._quiet.clear()
        task.add_done_callback(self._done)

    async def _whole(self, actor: CallActor) -> None:
        try:
            await actor.run()
        finally:  # from here on another press of the incident starts another call
            if self._actors.get(actor.facts.incident.id) is actor:
                del self._actors[actor.facts.incident.id]
        await actor.clear_up()

    def _done(self, task: asyncio.Task[None]) -> None:
        actor = self._tasks.pop(task)
        if not self._tasks:
            self._quiet.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(
                "call_failed",
                call=actor.facts.id,
                incident=actor.facts.incident.id,
                exc_info=error,
            )

    async def _end_unreadable(self, record: CallRecord, facts: CallFacts) -> None:
        log.error("call_state_unreadable", call=record.id, incident=record.incident)
        hands = Hands(self._parts, facts, _unheard)
        hands.adopt(())
        hands.drop_everything()
        now = self._clock.time()
        ended = replace(record, ended_at=now, outcome=CallOutcome.UNREADABLE.value)
        self._committer.put(Change(incident=record.incident, at=now, call=ended))
        await hands.rest()

    def _targets(self) -> dict[str, Target]:
        return targets_of(self._settings.routing)


def _targets_of(decision: Decision) -> dict[str, Target]:
    last = (decision.last_resort,) if decision.last_resort else ()
    named = [target for stage in decision.chain for target in stage.targets]
    return {target.name: target for target in (*named, *last)}


def _read(record: CallRecord) -> EmergencyCall | None:
    try:
        return msgspec.json.decode(record.state, type=EmergencyCall)
    except msgspec.MsgspecError:
        return None


def _on_the_loop(seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, call)


def _unheard(event: FlowEvent) -> None:
    """Take an event of a call that has no policy."""


def _nobody(incident: IncidentId, cause: str) -> None:
    """Take an alarm that is only counted, logged and shown."""
