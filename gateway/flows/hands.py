"""Carries out what a policy orders, for one call: legs, timers, messages, alarms.

Nothing here decides. A command that fails becomes the event that tells the policy so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from drivers.api import legs
from drivers.api.commands import ExpectCall, TellEventState
from drivers.api.errors import WaistError
from drivers.api.ids import EventId
from drivers.api.legs import AnyLegEvent, DialRequest, LegDialled, LegOutcome
from gateway.flows import headers
from gateway.flows.ledger import Ledger
from gateway.flows.model import (
    Advance,
    AlarmPerson,
    AnnounceCall,
    AnswerCaller,
    Bridge,
    Cause,
    DialTarget,
    DialTerminal,
    FlowCommand,
    FlowEvent,
    HangUp,
    LeaveRoom,
    LegEnded,
    LivingLeg,
    NoRoom,
    Note,
    OpenRoom,
    Play,
    PromptEnded,
    Resumed,
    Role,
    RoomOpened,
    StartRecording,
    StartTimer,
    StopPlaying,
    StopTimer,
    TellTerminal,
    TimerFired,
    Trigger,
    WorkerLost,
    role_of,
)
from gateway.flows.offers import Offers
from gateway.flows.parts import CallFacts, FlowParts
from gateway.flows.policies.emergency_call import Leg
from gateway.flows.seat import Seat
from gateway.flows.timers import Timers
from gateway.flows.translation import entry_of, flow_event, living_legs
from gateway.incidents.model import Change, LegRecord
from gateway.telephony.recordings import recording_directory
from protocols.text import clean_text

log = structlog.get_logger()

# The pool answers within `room_wait_s` (30 s at most); a pool that does not is as good as full.
ROOM_S: Final = 35.0
# Ending the dialogs of a dead worker took 0.4 s through the edge; ringing again must not wait long.
FREE_S: Final = 1.0
# A person in panic presses many times; the terminal needs the answer for its latest presses.
TOLD_MAX: Final = 10


class Hands:
    """The doing part of one call. Implements gateway.flows.seat.Listener."""

    def __init__(
        self, parts: FlowParts, facts: CallFacts, post: Callable[[FlowEvent], None]
    ) -> None:
        self._p = parts
        self._facts = facts
        self._post = post
        self.ledger = Ledger(facts.id, facts.incident.id, facts.incident.terminal, parts.metrics)
        self.timers = Timers(parts.schedule, lambda name: post(TimerFired(name)))
        self._told = [facts.incident.event_id]  # events of the terminal that await the outcome
        self._seat: Seat | None = None
        self._seated = asyncio.Event()  # set while there is a seat
        self._opening: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self.offers = Offers(parts.agents, facts.id, facts.incident.id)
        self._announced = 0
        self._recording = False
        self._invited = self._answered = not facts.measured
        self._log = log.bind(call=facts.id, incident=facts.incident.id)
        # Both tables pair a command with the method that takes exactly it.
        self._at_once: Mapping[type, Callable[[Any], None]] = {
            OpenRoom: self._open_room,
            LeaveRoom: self._leave_room,
            StartTimer: self._start_timer,
            StopTimer: self._stop_timer,
            TellTerminal: self._tell,
            AnnounceCall: self._announce,
            AlarmPerson: self._alarm,
            Advance: self._advance,
        }
        self._in_seat: Mapping[type, Callable[[Seat, Any], Awaitable[None]]] = {
            DialTarget: self._dial_target,
            DialTerminal: self._dial_terminal,
            AnswerCaller: self._answer_caller,
            HangUp: self._hang_up,
            Play: self._play,
            StopPlaying: self._stop_playing,
            Bridge: self._bridge,
            StartRecording: self._start_recording,
        }

    async def carry_out(self, command: FlowCommand) -> None:
        """Do one thing. Leg commands without a seat are void: WorkerLost is on its way."""
        at_once = self._at_once.get(type(command))
        if at_once is not None:
            at_once(command)
            return
        in_seat = self._in_seat.get(type(command))
        if in_seat is not None and self._seat is not None:
            await in_seat(self._seat, command)

    def adopt(self, known: Sequence[Leg]) -> bool:
        """Take over what lives in the call's worker; False when the worker is gone.

        `known`: the legs of the stored state. What has happened since the daemon attached is
        heard after this, from the event loop.
        """
        now = self._p.clock.time()
        for leg in known:
            self.ledger.begin(leg.name, leg.role, leg.party, now, leg.state)
        seat = Seat(self.ledger, self, self._p.clock)
        room = self._p.dialer.adopted(self._facts.id, seat.on_event)
        if room is None:
            return False
        seat.take(room)
        self._sit(seat)
        for found in self._living(seat):
            if found.name not in self.ledger.living:
                party = found.party or "unknown"
                self.ledger.begin(found.name, found.role, party, now, found.state)
            seat.adopt(found.name)
        return True

    def resumption(self, ended: Mapping[str, LegOutcome]) -> Resumed:
        """Return what was found; `ended` tells how legs ended that are not there any more."""
        seat = self._seat
        living = self._living(seat) if seat is not None else ()
        for name in set(self.ledger.living) - {leg.name for leg in living}:
            at = self._p.clock.time()
            record = self.ledger.close(name, LegOutcome.LOST, at, reason="gone meanwhile")
            if record is not None:
                self.record_leg(record)
        if seat is None:
            return Resumed(room=False)
        self._recording = self._facts.id in seat.room.link.snapshot.recordings
        return Resumed(room=True, legs=living, ended=ended, recording=self._recording)

    def _living(self, seat: Seat) -> tuple[LivingLeg, ...]:
        by_uri = {target.uri: target.name for target in self._facts.targets.values()}
        snapshot = seat.room.link.snapshot
        return living_legs(self._facts.id, snapshot, lambda uri: by_uri.get(uri, ""))

    def heard(self, event: AnyLegEvent, name: str) -> None:
        """Take an event of a leg."""
        match event:
            case LegDialled():
                self._measure_invitation(event, name)
            case legs.LegAnswered():
                self.offers.answered(name)
            case legs.LegEnded(outcome=outcome, by_us=by_us):
                self.offers.over(name, outcome, by_us=by_us)
            case _:
                pass
        told = flow_event(event, name)
        if told is not None:
            self._post(told)

    def leg_failed(self, name: str, outcome: LegOutcome) -> None:
        """Tell the policy of a leg that is gone without the worker having said so."""
        self.offers.over(name, outcome)
        self._post(LegEnded(name, outcome))

    def seat_lost(self, seat: Seat) -> None:
        """Tell the policy that the worker is gone."""
        if self._seat is seat:
            self._stand_up()
        self._recording = False
        self.offers.all_over()
        self._errand(self._begin_anew(seat))

    async def _begin_anew(self, seat: Seat) -> None:
        """Free the parties of a dead worker, so that they can be rung again; then go on."""
        if self._p.free_parties is not None:
            try:
                async with asyncio.timeout(FREE_S):
                    await self._p.free_parties(seat.room.link.contact)
            except (WaistError, TimeoutError) as error:
                self._log.warning("parties_not_freed", error=str(error))
        self._post(WorkerLost())
        await seat.leave(recording=False)

    def record_leg(self, record: LegRecord) -> None:
        """Commit the record of a leg that has ended."""
        incident = self._facts.incident.id
        self._p.committer.put(Change(incident=incident, at=record.ended_at, leg=record))

    def tell_also(self, event: EventId) -> None:
        """Tell the terminal of the next steps for `event`, too: it joined the incident."""
        if event not in self._told:
            self._told = [*self._told, event][-TOLD_MAX:]

    def alarm(self, cause: Cause) -> None:
        """Let a person know: by metric, log, timeline and whoever listens."""
        self._p.metrics.alarms.labels(cause.value).inc()
        self._log.error("person_alarmed", cause=cause.value)
        self.note(Note("alarm_raised", data={"cause": cause.value}))
        self._p.on_alarm(self._facts.incident.id, cause.value)

    def note(self, note: Note) -> None:
        """Commit a line of the timeline that no step has ordered."""
        now = self._p.clock.time()
        entry = entry_of(note, self._facts.id, now)
        change = Change(incident=self._facts.incident.id, at=now, entries=(entry,))
        self._p.committer.put(change)

    async def expect_caller(self) -> str:
        """Keep a leg for the terminal's own call; return the worker's SIP address once there is."""
        await self._seated.wait()
        if self._seat is None:
            raise AssertionError("seated without a seat")
        room = self._seat.room
        room.expect(1)
        return room.link.contact

    async def hang_up_all(self, reason: str) -> None:
        """End all legs."""
        if self._seat is not None:
            await self._seat.clear(reason)

    def drop_everything(self) -> None:
        """Forget what was wanted, hang up what lives; for a call that begins again."""
        self.timers.clear()
        if self._opening is not None:
            self._opening.cancel()
            self._own(self._opening)
            self._opening = None
        seat = self._stand_up()
        if seat is not None:
            self._errand(self._abandon(seat, recording=self._recording))
        self._recording = False

    async def rest(self) -> None:
        """Give the seat back; return when nothing of the call is under way."""
        self.timers.clear()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        self._leave_room(LeaveRoom())
        while self._errands:
            await asyncio.wait(self._errands)
        self.offers.all_over()
        await self.offers.told()

    async def cut(self) -> None:
        """Stop all that is under way and leave the legs alone: another daemon goes on."""
        self.timers.clear()
        tasks = [*self._errands, *([self._opening] if self._opening else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.ledger.abandon()

    @property
    def recording_directory(self) -> Path:
        """Return where the call is recorded; the day is the call's first, in UTC."""
        day = datetime.fromtimestamp(self._facts.started_at, tz=UTC).date()
        return recording_directory(
            self._p.settings.recordings_dir,
            day=day,
            incident=self._facts.incident.id,
            call=self._facts.id,
        )

    def _open_room(self, command: OpenRoom) -> None:
        self._opening = asyncio.create_task(self._open(command.legs))

    async def _open(self, legs: int) -> None:
        seat = Seat(self.ledger, self, self._p.clock)
        try:
            async with asyncio.timeout(ROOM_S):
                room = await self._p.dialer.room(
                    self._facts.id,
                    legs=legs,
                    emergency=self._facts.emergency,
                    on_event=seat.on_event,
                )
        except (WaistError, TimeoutError) as error:
            self._log.warning("no_room", legs=legs, error=str(error))
            self._post(NoRoom())
        except Exception:  # noqa: BLE001  a defect of the pool must not leave an SOS waiting for ever
            self._log.exception("room_defect", legs=legs)
            self._post(NoRoom())
        else:
            seat.take(room)
            if seat.lost:  # before it was ours
                await room.release()
                self._post(NoRoom())
                return
            self._sit(seat)
            self._post(RoomOpened())

    def _sit(self, seat: Seat) -> None:
        self._seat = seat
        self._seated.set()

    def _stand_up(self) -> Seat | None:
        seat, self._seat = self._seat, None
        self._seated.clear()
        return seat

    def _leave_room(self, _: LeaveRoom) -> None:
        seat = self._stand_up()
        if seat is not None:
            self._errand(seat.leave(recording=self._recording))
        self._recording = False

    async def _abandon(self, seat: Seat, *, recording: bool) -> None:
        await seat.clear("begun again")
        await seat.leave(recording=recording)

    async def _dial_target(self, seat: Seat, command: DialTarget) -> None:
        target = self._facts.targets.get(command.target)
        if target is None:  # the configuration changed while the call was under way
            self._log.error("target_unknown", target=command.target)
            self._post(LegEnded(command.leg, LegOutcome.FAILED))
            return
        uri, party = target.uri, target.name
        if target.group is not None:
            offer = await self.offers.draw(command.leg, target.group.name)
            if offer is None:  # nobody free: as if the group's line were busy
                self._post(LegEnded(command.leg, LegOutcome.BUSY))
                return
            uri, party = offer.uri, offer.agent
            self.note(Note("agent_offered", command.leg, {"agent": offer.agent}))
        request = DialRequest(
            leg=self.ledger.leg_id(command.leg),
            uri=uri,
            display_name=self._shown_name(),
            headers=headers.for_target(self._facts.incident.id, emergency=self._facts.emergency),
            ring_s=command.ring_s,
        )
        await seat.dial(command.leg, Role.TARGET, party, request)

    def _shown_name(self) -> str:
        terminal = self._facts.terminal
        return clean_text(
            terminal.label if terminal and terminal.label else self._facts.incident.terminal
        )

    async def _dial_terminal(self, seat: Seat, command: DialTerminal) -> None:
        terminal = self._facts.terminal
        if terminal is None:
            raise AssertionError("an unknown terminal has no voice")
        request = DialRequest(
            leg=self.ledger.leg_id(command.leg),
            uri=terminal.sip_uri,
            headers=headers.for_terminal(self._facts.incident.id),
            ring_s=command.ring_s,
        )
        await seat.dial(command.leg, Role.TERMINAL, "", request)

    async def _answer_caller(self, seat: Seat, command: AnswerCaller) -> None:
        await seat.answer(command.leg)

    async def _hang_up(self, seat: Seat, command: HangUp) -> None:
        await seat.hang_up(command.leg, command.reason)

    async def _play(self, seat: Seat, command: Play) -> None:
        own = self._facts.terminal.language if self._facts.terminal else None
        to_terminal = role_of(command.leg) is Role.TERMINAL
        path = self._p.prompts.path(command.prompt, own if to_terminal else None)
        if path is None:
            self._log.error("prompt_missing", prompt=command.prompt, leg=command.leg)
            if not command.loop:  # who waits for its end must not wait for ever
                self._post(PromptEnded(command.leg, command.prompt))
            return
        await seat.play(command.leg, command.prompt, path, loop=command.loop)

    async def _stop_playing(self, seat: Seat, command: StopPlaying) -> None:
        await seat.stop_playing(command.leg)

    async def _bridge(self, seat: Seat, command: Bridge) -> None:
        await seat.bridge(command.a, command.b)

    async def _start_recording(self, seat: Seat, _: StartRecording) -> None:
        segment_s = self._p.settings.recording.segment_s
        self._recording = await seat.record(self.recording_directory, segment_s=segment_s)
        self.note(Note("recording_started" if self._recording else "recording_failed"))

    def _start_timer(self, command: StartTimer) -> None:
        self.timers.start(command.name, command.seconds)

    def _stop_timer(self, command: StopTimer) -> None:
        self.timers.stop(command.name)

    def _tell(self, command: TellTerminal) -> None:
        incident = self._facts.incident
        for event in self._told:
            tell = TellEventState(event_id=event, state=command.state, incident=incident.id)
            self._p.messenger.tell(incident.terminal, tell)

    def _announce(self, command: AnnounceCall) -> None:
        self._announced += 1
        message = ExpectCall(
            message_id=f"{self._facts.id}.expect-{self._announced}-{command.until:.0f}",
            incident=self._facts.incident.id,
            auto_answer_until=command.until,
        )
        self._p.messenger.tell(self._facts.incident.terminal, message)

    def _alarm(self, command: AlarmPerson) -> None:
        self.alarm(command.cause)

    def _advance(self, command: Advance) -> None:
        """Measure; the trigger itself was committed with its step."""
        if command.trigger is Trigger.ANSWER and not self._answered:
            self._answered = True
            now, incident = self._p.clock.time(), self._facts.incident
            self._p.metrics.press_answer.observe(max(0.0, now - incident.pressed_at))
            self._p.metrics.receipt_answer.observe(max(0.0, now - incident.received_at))

    def _measure_invitation(self, event: LegDialled, name: str) -> None:
        if not self._invited and name.startswith(Role.TARGET.value):
            self._invited = True
            received = self._facts.incident.received_at
            self._p.metrics.press_invite.observe(max(0.0, event.at - received))

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        self._own(asyncio.create_task(work))

    def _own(self, task: asyncio.Task[None]) -> None:
        self._errands.add(task)
        task.add_done_callback(self._errand_done)

    def _errand_done(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("call_errand_failed", exc_info=error)
