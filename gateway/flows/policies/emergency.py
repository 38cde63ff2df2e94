"""The flow `emergency`: bring an agent and the terminal together, and never give up silently.

Pure: `step(call, event, now)` returns the call after the event and the commands to carry out, in
order. Which event means what in which phase stands in one table at the end of this file.

While targets are rung, so is the terminal: whoever is there first hears a prompt. A call that has
not ended always waits for something that will come by itself: a room, a leg with its ring timer,
or a timer.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from drivers.api.legs import LegOutcome, LegState
from gateway.flows.model import (
    CallerArrived,
    CallerComing,
    CallOutcome,
    Digit,
    FlowCommand,
    FlowEvent,
    HangUp,
    IncidentClosed,
    LegAnswered,
    LegEnded,
    LegRinging,
    MediaChanged,
    NoRoom,
    PressCancelled,
    PressedAgain,
    PromptEnded,
    Resumed,
    RoomOpened,
    Started,
    TimerFired,
    Trigger,
    WorkerLost,
)
from gateway.flows.policies.emergency_call import Draft, EmergencyCall, Phase
from gateway.flows.policies.emergency_moves import (
    answered,
    begin_round,
    caller_arrived,
    caller_coming,
    caller_missing,
    finish,
    leg_over,
    lose_worker,
    new_round,
    no_room,
    open_room,
    prompt_agent,
    prompt_terminal,
    remind,
    ring_terminal_now,
    say_cancelled,
    strand_without_route,
)
from gateway.flows.policies.emergency_resume import resume, resume_stranded


class UndeclaredEvent(Exception):
    """That event means nothing in that phase: a defect, never to be hidden."""

    def __init__(self, phase: Phase, event: FlowEvent) -> None:
        super().__init__(f"no answer to {type(event).__name__} in phase {phase.value!r}")


def step(
    call: EmergencyCall, event: FlowEvent, now: float
) -> tuple[EmergencyCall, tuple[FlowCommand, ...]]:
    """Return the call after `event` at `now` (Unix seconds) and what is to be done.

    Raises UndeclaredEvent for a pair that is not in TRANSITIONS.
    """
    handler = TRANSITIONS[call.phase].get(type(event))
    if handler is None:
        raise UndeclaredEvent(call.phase, event)
    draft = Draft(call, now)
    handler(draft, event)
    return draft.call, tuple(draft.commands)


def _started(d: Draft, _: Started) -> None:
    d.note("call_started")
    d.set(queue=d.plan.stages)
    if d.plan.stages:
        open_room(d)
    else:
        strand_without_route(d)


def _room_opened(d: Draft, _: RoomOpened) -> None:
    d.set(room_failures=0)
    begin_round(d)


def _no_room(d: Draft, _: NoRoom) -> None:
    no_room(d)


def _ringing(d: Draft, event: LegRinging) -> None:
    leg = d.leg(event.leg)
    if leg is not None and leg.state is LegState.DIALLING:
        d.update(leg, state=LegState.RINGING)
        d.note(f"{leg.role.value}_ringing", leg.name, target=leg.party or None)


def _answered(d: Draft, event: LegAnswered) -> None:
    leg = d.leg(event.leg)
    if leg is None:  # it was let go, and the answer crossed our hanging up
        d.do(HangUp(event.leg, "answered elsewhere"))
        d.note("late_answer", event.leg)
    elif leg.state is not LegState.ANSWERED:
        answered(d, leg)


def _late_answer(d: Draft, event: LegAnswered) -> None:
    d.do(HangUp(event.leg, "call ended"))


def _ended(d: Draft, event: LegEnded) -> None:
    leg = d.leg(event.leg)
    if leg is None:
        return
    # We forget the legs that we hang up; so this one its worker ended unasked, not the person.
    unasked = event.by_us and event.outcome is LegOutcome.COMPLETED
    leg_over(d, leg, LegOutcome.LOST if unasked else event.outcome)


def _media_changed(d: Draft, event: MediaChanged) -> None:
    leg = d.leg(event.leg)
    if leg is None:
        return
    timer = f"silence:{leg.name}"
    if event.active or event.held:
        d.stop(timer)
    elif leg.state is LegState.ANSWERED and timer not in d.call.timers:
        d.start(timer, d.plan.silence_s)


def _prompt_ended(d: Draft, event: PromptEnded) -> None:
    leg = d.leg(event.leg)
    if leg is not None and leg.prompt == event.prompt and not leg.loop:
        d.update(leg, prompt="", loop=True)
        prompt_agent(d)
        prompt_terminal(d)


def _timer_fired(d: Draft, event: TimerFired) -> None:
    if event.name not in d.call.timers:  # stopped while the event was under way
        return
    d.set(timers={name: due for name, due in d.call.timers.items() if name != event.name})
    what, _, name = event.name.partition(":")
    if name:
        _leg_timer_fired(d, what, name)
    else:
        TIMERS[what](d)


def _leg_timer_fired(d: Draft, what: str, name: str) -> None:
    leg = d.leg(name)
    if leg is None:
        raise AssertionError(f"timer of the unknown leg {name}")
    outcome, reason = LEG_TIMERS[what]
    d.do(HangUp(name, reason))
    leg_over(d, leg, outcome)


def _let_agent_go(d: Draft) -> None:
    finish(d, CallOutcome.TERMINAL_UNREACHABLE, Trigger.HANG_UP)


def _too_long(d: Draft) -> None:
    finish(d, CallOutcome.TOO_LONG, Trigger.HANG_UP)


def _worker_lost(d: Draft, _: WorkerLost) -> None:
    lose_worker(d)


def _caller_coming(d: Draft, _: CallerComing) -> None:
    caller_coming(d)


def _caller_arrived(d: Draft, event: CallerArrived) -> None:
    caller_arrived(d, event.leg)


def _late_caller(d: Draft, event: CallerArrived) -> None:
    d.do(HangUp(event.leg, "call ended"))


def _pressed_again(d: Draft, _: PressedAgain) -> None:
    d.note("pressed_again")
    d.set(cancelled=False)
    if d.call.phase is Phase.PAUSING:
        new_round(d)
    elif d.call.phase is not Phase.OPENING:
        d.set(attempts=0)
        ring_terminal_now(d)


def _pressed_while_stranded(d: Draft, _: PressedAgain) -> None:
    d.note("pressed_again")
    d.stop("remind")
    d.set(cancelled=False, rounds=0, pause_s=0.0, moved_on=False, queue=d.plan.stages)
    if d.plan.stages:
        open_room(d)
    else:
        strand_without_route(d)


def _called_while_stranded(d: Draft, _: CallerComing) -> None:
    caller_coming(d)


def _press_cancelled(d: Draft, _: PressCancelled) -> None:
    d.note("press_cancelled")
    d.set(cancelled=True)
    say_cancelled(d)


def _closed(d: Draft, _: IncidentClosed) -> None:
    finish(d, CallOutcome.CLOSED)


def _ignored(d: Draft, event: FlowEvent) -> None:
    """Declare that an event means nothing in a phase."""


# A handler takes the events it is declared for; the table pairs them.
Handler = Callable[[Draft, Any], None]

TIMERS: Final[Mapping[str, Callable[[Draft], None]]] = MappingProxyType(
    {
        "room": open_room,
        "chain": new_round,
        "caller": caller_missing,
        "terminal": ring_terminal_now,
        "agent_wait": _let_agent_go,
        "max_call": _too_long,
        "remind": remind,
    }
)
LEG_TIMERS: Final = MappingProxyType(
    {
        "ring": (LegOutcome.NO_ANSWER, "no answer"),
        "silence": (LegOutcome.LOST, "no audio"),
    }
)

# With room: legs live or may live.
_WITH_ROOM: Final[Mapping[type, Handler]] = {
    LegRinging: _ringing,
    LegAnswered: _answered,
    LegEnded: _ended,
    MediaChanged: _media_changed,
    PromptEnded: _prompt_ended,
    Digit: _ignored,  # no key of the telephone means anything to this flow
    TimerFired: _timer_fired,
    WorkerLost: _worker_lost,
    CallerComing: _caller_coming,
    CallerArrived: _caller_arrived,
    PressedAgain: _pressed_again,
    PressCancelled: _press_cancelled,
    IncidentClosed: _closed,
    Resumed: resume,
}
# Without room: what a worker says is about legs that are gone.
_LATE: Final[Mapping[type, Handler]] = {
    LegRinging: _ignored,
    LegAnswered: _ignored,
    LegEnded: _ignored,
    MediaChanged: _ignored,
    PromptEnded: _ignored,
    Digit: _ignored,
    WorkerLost: _ignored,
    CallerArrived: _late_caller,
}

TRANSITIONS: Final[Mapping[Phase, Mapping[type, Handler]]] = MappingProxyType(
    {
        Phase.NEW: {
            **_LATE,
            Started: _started,
            CallerComing: _caller_coming,
            TimerFired: _ignored,
            PressedAgain: _ignored,
            PressCancelled: _press_cancelled,
            IncidentClosed: _closed,
        },
        Phase.OPENING: {
            **_LATE,
            RoomOpened: _room_opened,
            NoRoom: _no_room,
            CallerComing: _caller_coming,
            TimerFired: _timer_fired,
            PressedAgain: _pressed_again,
            PressCancelled: _press_cancelled,
            IncidentClosed: _closed,
            Resumed: resume,
        },
        Phase.SEEKING: _WITH_ROOM,
        Phase.PAUSING: _WITH_ROOM,
        Phase.TALKING: _WITH_ROOM,
        Phase.STRANDED: {
            **_LATE,
            LegAnswered: _late_answer,
            TimerFired: _timer_fired,
            CallerComing: _called_while_stranded,
            PressedAgain: _pressed_while_stranded,
            PressCancelled: _press_cancelled,
            IncidentClosed: _closed,
            Resumed: resume_stranded,
        },
        Phase.ENDED: {
            **_LATE,
            LegAnswered: _late_answer,
            RoomOpened: _ignored,  # the runner gives it back
            NoRoom: _ignored,
            TimerFired: _ignored,
            CallerComing: _ignored,
            PressedAgain: _ignored,
            PressCancelled: _ignored,
            IncidentClosed: _ignored,
        },
    }
)
