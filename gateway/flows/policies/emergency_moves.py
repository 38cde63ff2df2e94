"""What the flow `emergency` does: ring, connect, go on, end. Each move writes into a draft."""

from typing import Final

from drivers.api.commands import EventState
from drivers.api.legs import LegOutcome, LegState
from gateway.flows.model import (
    CALLER_PREFIX,
    Advance,
    AlarmPerson,
    AnnounceCall,
    AnswerCaller,
    Bridge,
    CallOutcome,
    Cause,
    DialTarget,
    DialTerminal,
    EndCall,
    HangUp,
    LeaveRoom,
    OpenRoom,
    Role,
    StartRecording,
    Trigger,
)
from gateway.flows.policies.emergency_call import Callee, Draft, Leg, Phase, Rung

# Prompts, by the names of their files.
CONNECTING: Final = "connecting"  # to the terminal: somebody is being called
NO_ANSWER_YET: Final = "no_answer_yet"  # to the terminal: we go on calling
AGENT_CONNECTING: Final = "agent_connecting"  # to the agent: the person is being connected
TERMINAL_UNREACHABLE: Final = "terminal_unreachable"  # to the agent: the terminal does not answer
TERMINAL_WITHOUT_VOICE: Final = "terminal_without_voice"  # to the agent: look at the card
PRESS_CANCELLED: Final = "press_cancelled"  # to the agent, once: the person took it back

# From our route answer to the INVITE at the worker: the edge's retransmissions at 0.5 and 1.5 s
# and an ACK lost on the way fit in (RFC 3261 §17.1.1.2).
CALLER_S: Final = 4.0
# The worker ends a leg that rings too long by itself; our own timer is for a worker that does not.
RING_GRACE_S: Final = 1.0
# With a pause of 0 and targets that fail at once, the chain would otherwise spin.
PAUSE_FLOOR_S: Final = 1.0
# A worker starts within half a second; a full pool stays full for longer.
ROOM_RETRY_S: Final = 0.5
ROOM_RETRY_MAX_S: Final = 5.0
ROOM_FAILURES_ALARM: Final = 2
# Agents whose line broke twice in one call are passed over: else a target without working audio
# would be rung for ever while nobody else is.
LOSSES_MAX: Final = 2
# Between reminders of an incident that nobody is rung for: often enough to be noticed in a shift,
# rare enough that the page stays readable.
REMIND_S: Final = 300.0


def open_room(d: Draft) -> None:
    """Ask for room: for the widest stage, or after a refusal for the least that helps."""
    width = max((len(s.callees) for s in d.call.queue if s.together), default=1)
    legs = d.voice + (width if d.call.room_failures == 0 else 1)
    # Two at least: a second agent or the leg that is just being cancelled.
    d.set(phase=Phase.OPENING, room_legs=max(2, min(legs, d.plan.room_legs)))
    d.do(OpenRoom(d.call.room_legs))


def begin_round(d: Draft, trigger: Trigger = Trigger.RING) -> None:
    """Ring the targets of the queue and, if it is not there, the terminal."""
    d.stop("chain")
    d.set(phase=Phase.SEEKING, attempts=0)
    ring_terminal = d.plan.voice and d.terminal() is None and not d.call.coming
    if ring_terminal:
        announce(d)
    if d.call.coming and "caller" not in d.call.timers:
        d.start("caller", CALLER_S)
    d.do(Advance(trigger))
    d.tell(EventState.RINGING)
    seek(d)
    if d.call.phase is Phase.STRANDED:
        return
    if ring_terminal:
        dial_terminal(d)
    prompt_terminal(d)


def seek(d: Draft) -> None:
    """Ring the next targets, as many as the stage and the room allow; or find that none is left."""
    while d.call.queue:
        stage, *rest = d.call.queue
        ringing = sum(1 for _ in d.of(Role.TARGET))
        width = max(1, d.call.room_legs - d.voice) if stage.together else 1
        if ringing >= width or (ringing and not stage.callees):
            return
        if stage.callees:
            callee, *others = stage.callees
            d.set(queue=(Rung(tuple(others), stage.together), *rest))
            dial_target(d, callee)
        else:
            d.set(queue=tuple(rest))
    if not any(d.of(Role.TARGET)):
        exhaust(d)


def dial_target(d: Draft, callee: Callee) -> None:
    """Ring a target."""
    name = d.next_name(Role.TARGET)
    d.add(Leg(name, Role.TARGET, callee.name, LegState.DIALLING))
    d.do(DialTarget(name, callee.name, callee.ring_s))
    d.start(f"ring:{name}", callee.ring_s + RING_GRACE_S)
    d.note("target_dialled", name, target=callee.name)


def announce(d: Draft) -> None:
    """Let the terminal expect the call."""
    d.do(AnnounceCall(d.now + d.plan.auto_answer_s))


def dial_terminal(d: Draft) -> None:
    """Ring the terminal; `announce` comes before."""
    d.stop("terminal")
    name = d.next_name(Role.TERMINAL)
    d.set(attempts=d.call.attempts + 1)
    d.add(Leg(name, Role.TERMINAL, "", LegState.DIALLING))
    d.do(DialTerminal(name, d.plan.terminal_ring_s))
    d.start(f"ring:{name}", d.plan.terminal_ring_s + RING_GRACE_S)
    d.note("terminal_dialled", name, attempt=d.call.attempts)


def ring_terminal_now(d: Draft) -> None:
    """Ring the terminal unless it is there, is on its way or cannot be rung."""
    if d.plan.voice and d.terminal() is None and not d.call.coming:
        announce(d)
        dial_terminal(d)


def retry_terminal(d: Draft) -> None:
    """Ring the terminal again in a while, unless it was tried often enough for now."""
    if not d.plan.voice:
        return
    if d.call.attempts < d.plan.terminal_attempts:
        d.start("terminal", d.plan.terminal_retry_s)
    else:
        d.note("terminal_given_up", attempts=d.call.attempts)


def exhaust(d: Draft) -> None:
    """Nobody answered: alarm a person, and pause before all are rung again."""
    d.set(rounds=d.call.rounds + 1, moved_on=True)
    d.note("chain_exhausted", round=d.call.rounds)
    d.give_up(Cause.NOBODY_ANSWERED)
    if d.plan.rounds and d.call.rounds >= d.plan.rounds:
        strand(d)
        return
    first = max(d.plan.pause_s, PAUSE_FLOOR_S)
    pause = min(2 * d.call.pause_s, max(d.plan.pause_max_s, first)) if d.call.pause_s else first
    d.set(phase=Phase.PAUSING, pause_s=pause)
    d.start("chain", pause)
    prompt_terminal(d)


def new_round(d: Draft) -> None:
    """Ring the whole chain again."""
    d.set(queue=d.plan.stages)
    begin_round(d)


def prompt_terminal(d: Draft) -> None:
    """Let a terminal that waits for an agent hear where its call stands."""
    terminal = d.terminal()
    if terminal is not None and not d.call.winner:
        d.play(terminal, NO_ANSWER_YET if d.call.moved_on else CONNECTING)


def prompt_agent(d: Draft) -> None:
    """Let an agent who waits for the terminal hear why."""
    agent = d.leg(d.call.winner)
    if agent is None or d.call.bridged:
        return
    if not d.voice:
        d.play(agent, TERMINAL_WITHOUT_VOICE)
    else:
        d.play(agent, TERMINAL_UNREACHABLE if d.call.informed else AGENT_CONNECTING)


def say_cancelled(d: Draft) -> None:
    """Tell an agent who waits for the terminal that the person took the press back."""
    agent = d.leg(d.call.winner)
    if agent is not None and not d.call.bridged:
        d.play(agent, PRESS_CANCELLED, loop=False)


def answered(d: Draft, leg: Leg) -> None:
    """Go on after the far end of a wanted leg answered."""
    leg = d.update(leg, state=LegState.ANSWERED)
    d.stop(f"ring:{leg.name}")
    d.note(f"{leg.role.value}_answered", leg.name, target=leg.party or None)
    if leg.role is Role.TARGET:
        win(d, leg)
    elif d.call.winner:
        bridge(d)
    else:
        prompt_terminal(d)


def win(d: Draft, agent: Leg) -> None:
    """Give the call to the agent who answered first; the others stop ringing."""
    for other in list(d.of(Role.TARGET)):
        if other.name != agent.name:
            d.let_go(other, "answered elsewhere")
    d.stop("chain")
    d.set(phase=Phase.TALKING, winner=agent.name, attempts=0, informed=not d.voice)
    d.set(rounds=0, pause_s=0.0)
    d.do(Advance(Trigger.ANSWER, agent.party or None))
    d.tell(EventState.ANSWERED)
    d.start("max_call", d.plan.max_call_s)
    terminal = d.terminal()
    if terminal is not None and terminal.state is LegState.ANSWERED:
        bridge(d)
        return
    if d.call.cancelled:
        say_cancelled(d)
    else:
        prompt_agent(d)
    if d.voice:
        d.start("agent_wait", d.plan.agent_wait_s)
    ring_terminal_now(d)


def bridge(d: Draft) -> None:
    """Let agent and terminal talk."""
    agent, terminal = d.leg(d.call.winner), d.terminal()
    if agent is None or terminal is None:
        raise AssertionError("a bridge needs both legs")
    d.hush(agent)
    d.hush(terminal)
    d.stop("agent_wait")
    d.set(bridged=True, informed=True, attempts=0)
    d.do(Bridge(agent.name, terminal.name))
    d.note("bridged", agent.name)
    record(d)


def record(d: Draft) -> None:
    """Record from now on, if the operator wants it."""
    if d.plan.record and not d.call.recording:
        d.set(recording=True, recorded=True)
        d.do(StartRecording())


def caller_coming(d: Draft) -> None:
    """Expect the terminal's own call; when it does not come, the terminal is rung."""
    d.set(coming=True, called=True)
    d.stop("terminal")
    if d.call.phase in {Phase.SEEKING, Phase.PAUSING, Phase.TALKING}:
        d.start("caller", CALLER_S)


def caller_missing(d: Draft) -> None:
    """Ring the terminal whose own call did not come."""
    d.set(coming=False)
    d.note("caller_not_arrived")
    ring_terminal_now(d)


def caller_arrived(d: Draft, name: str) -> None:
    """Answer the terminal's own call; it takes the place of a leg that we were ringing."""
    d.stop("caller")
    d.stop("terminal")
    d.set(coming=False, called=True)
    old = d.terminal()
    if old is not None:
        d.set(bridged=False)
        d.let_go(old, "the terminal calls by itself")
    d.add(Leg(name, Role.TERMINAL, "", LegState.RINGING))
    d.do(AnswerCaller(name))
    d.start(f"ring:{name}", CALLER_S)
    d.note("caller_arrived", name)


def leg_over(d: Draft, leg: Leg, outcome: LegOutcome) -> None:
    """Go on after a wanted leg has ended."""
    d.forget(leg)
    if leg.role is Role.TERMINAL:
        _terminal_over(d, leg, outcome)
    elif leg.name == d.call.winner:
        _agent_over(d, leg, outcome)
    else:
        d.note("target_failed", leg.name, target=leg.party, outcome=outcome.value)
        d.set(moved_on=True)
        prompt_terminal(d)
        seek(d)


def _terminal_over(d: Draft, leg: Leg, outcome: LegOutcome) -> None:
    was_there = leg.state is LegState.ANSWERED
    what = "terminal_dropped" if was_there else "terminal_failed"
    d.note(what, leg.name, outcome=outcome.value)
    if d.call.bridged and outcome is LegOutcome.COMPLETED:
        finish(d, CallOutcome.COMPLETED, Trigger.HANG_UP)
    elif d.call.bridged:  # it broke off: the agent waits while the terminal is rung again at once
        d.set(bridged=False)
        prompt_agent(d)
        d.start("agent_wait", d.plan.agent_wait_s)
        ring_terminal_now(d)
    elif was_there and not d.plan.persistent and not d.call.winner:
        d.note("call_back_due", leg.name)
        finish(d, CallOutcome.ABANDONED, Trigger.HANG_UP)
    elif was_there and leg.name.startswith(CALLER_PREFIX) and d.plan.persistent:
        d.set(informed=bool(d.call.winner))  # an SOS that hung up early is rung back at once
        prompt_agent(d)
        ring_terminal_now(d)
    else:
        d.set(informed=bool(d.call.winner))
        prompt_agent(d)
        retry_terminal(d)


def _agent_over(d: Draft, leg: Leg, outcome: LegOutcome) -> None:
    d.note("agent_left", leg.name, target=leg.party, outcome=outcome.value)
    if outcome is LegOutcome.COMPLETED and d.call.informed:
        talked = d.call.bridged or not d.voice
        end = CallOutcome.COMPLETED if talked else CallOutcome.TERMINAL_UNREACHABLE
        finish(d, end, Trigger.HANG_UP)
        return
    # From the start after a broken conversation. An agent (or a voice box) who hung up before
    # there was one is passed over, else it would keep the call from everybody after it.
    if d.call.bridged and d.call.losses < LOSSES_MAX:
        d.set(queue=d.plan.stages, losses=d.call.losses + 1, moved_on=False)
    d.stop("agent_wait")
    d.stop("max_call")
    d.set(winner="", bridged=False, informed=False)
    begin_round(d, Trigger.LOSE)


def lose_worker(d: Draft) -> None:
    """All legs are dead: ask for another room, to ring first who had or was being offered it."""
    d.note("worker_lost")
    ringing = tuple(_callee(d, leg.party) for leg in d.of(Role.TARGET) if leg.party)
    queue = d.plan.stages if d.call.phase is not Phase.SEEKING else d.call.queue
    if d.call.phase is Phase.TALKING:
        d.do(Advance(Trigger.LOSE))
    if ringing:
        queue = (Rung(ringing, together=True), *queue)
    for name in list(d.call.timers):
        d.stop(name)
    d.set(legs=(), queue=queue or d.plan.stages, room_failures=0)
    d.set(winner="", bridged=False, informed=False, recording=False)
    open_room(d)


def _callee(d: Draft, name: str) -> Callee:
    known = (c for stage in d.plan.stages for c in stage.callees if c.name == name)
    return next(known, Callee(name, d.plan.terminal_ring_s))


def no_room(d: Draft) -> None:
    """Ask again, later each time; a person is alarmed meanwhile."""
    failures = d.call.room_failures + 1
    d.set(room_failures=failures)
    if failures == ROOM_FAILURES_ALARM:
        d.note("no_capacity")
        d.give_up(Cause.NO_CAPACITY)
    # The exponent is bounded because an outage may last for days.
    d.start("room", min(ROOM_RETRY_S * 2 ** min(failures - 1, 10), ROOM_RETRY_MAX_S))


def strand(d: Draft) -> None:
    """Ring nobody any more; a person is reminded until somebody presses again or closes."""
    for leg in d.call.legs:
        d.let_go(leg, "nobody answered")
    for name in list(d.call.timers):
        d.stop(name)
    d.set(phase=Phase.STRANDED, queue=(), recording=False)
    d.do(LeaveRoom())
    d.start("remind", REMIND_S)


def strand_without_route(d: Draft) -> None:
    """There is nobody to ring: a person is alarmed, and the incident stays visible."""
    d.give_up(Cause.NO_ROUTE)
    d.set(phase=Phase.STRANDED)
    d.start("remind", REMIND_S)


def remind(d: Draft) -> None:
    """Alarm a person again."""
    d.do(AlarmPerson(Cause.NOBODY_ANSWERED if d.plan.stages else Cause.NO_ROUTE))
    d.start("remind", REMIND_S)


def finish(d: Draft, outcome: CallOutcome, trigger: Trigger | None = None) -> None:
    """Hang up what is left and end the call."""
    d.do(*(HangUp(leg.name, outcome.value) for leg in d.call.legs))
    d.note("call_ended", outcome=outcome.value)
    if trigger is not None:
        d.do(Advance(trigger))
    d.set(phase=Phase.ENDED, legs=(), queue=(), timers={}, winner="", bridged=False)
    d.do(EndCall(outcome))
