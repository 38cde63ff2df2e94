"""How an emergency call goes on under a new daemon."""

from drivers.api.legs import LegOutcome, LegState
from gateway.flows.model import (
    CALLER_PREFIX,
    AnswerCaller,
    Bridge,
    HangUp,
    LeaveRoom,
    LivingLeg,
    Play,
    Resumed,
    Role,
    StartTimer,
)
from gateway.flows.policies.emergency_call import RESUME_GAP, Draft, Leg, Phase
from gateway.flows.policies.emergency_moves import (
    RING_GRACE_S,
    answered,
    begin_round,
    leg_over,
    lose_worker,
    open_room,
    record,
)


def resume(d: Draft, event: Resumed) -> None:
    """Reconcile what is stored with what lives; the stored state may be a few steps old."""
    d.set(serial=d.call.serial + RESUME_GAP)
    d.note("call_resumed", legs=len(event.legs))
    opening = d.call.phase is Phase.OPENING
    if not event.room:
        if opening:
            d.stop("room")
            open_room(d)
        else:
            lose_worker(d)
        return
    if opening:
        d.stop("room")
        d.set(phase=Phase.SEEKING, room_failures=0)
    d.set(recording=event.recording)
    d.do(*(StartTimer(n, max(0.0, due - d.now)) for n, due in d.call.timers.items()))
    _meet(d, event)
    if opening and d.call.phase is Phase.SEEKING:
        begin_round(d)
    _wish_again(d)


def resume_stranded(d: Draft, event: Resumed) -> None:
    """Go on waiting; legs that should be gone are hung up."""
    d.set(serial=d.call.serial + RESUME_GAP)
    d.do(*(HangUp(leg.name, "not needed") for leg in event.legs))
    d.do(LeaveRoom())
    d.do(*(StartTimer(n, max(0.0, due - d.now)) for n, due in d.call.timers.items()))


def _meet(d: Draft, event: Resumed) -> None:
    """Learn what happened to each leg while nobody listened."""
    living = {leg.name: leg for leg in event.legs if leg.state is not LegState.ENDED}
    known = {leg.name for leg in d.call.legs}
    gone = [leg for leg in d.call.legs if leg.name not in living]
    for leg in gone:  # first of all, so that none is played to or bridged on another's account
        d.update(leg, state=LegState.ENDED)
    for name in sorted(known & living.keys()):
        _catch_up(d, living[name])
    for leg in sorted(gone, key=lambda leg: leg.role, reverse=True):
        if d.leg(leg.name) is not None:
            leg_over(d, leg, event.ended.get(leg.name, LegOutcome.LOST))
    # Terminals first ("terminal" > "target"): an adopted answer would else ring another one.
    for name in sorted(living.keys() - known, reverse=True):
        _adopt(d, living[name])


def _catch_up(d: Draft, living: LivingLeg) -> None:
    leg = d.leg(living.name)
    if leg is None or leg.state is living.state:
        return
    if living.state is LegState.ANSWERED:
        answered(d, leg)
    elif leg.state is LegState.DIALLING:
        d.update(leg, state=living.state)


def _adopt(d: Draft, living: LivingLeg) -> None:
    """Want a leg that was dialled after the last commit; a terminal has one leg at most."""
    over = d.call.phase in {Phase.ENDED, Phase.STRANDED}
    if over or (living.role is Role.TARGET and d.call.winner):
        d.do(HangUp(living.name, "not needed"))
        return
    if living.role is Role.TERMINAL and (old := d.terminal()) is not None:
        if old.state is LegState.ANSWERED:
            d.do(HangUp(living.name, "not needed"))
            return
        d.let_go(old, "not needed")
    leg = Leg(living.name, living.role, living.party, LegState.RINGING)
    d.add(leg)
    if living.state is LegState.ANSWERED:
        answered(d, leg)
    else:
        d.start(f"ring:{leg.name}", d.plan.terminal_ring_s + RING_GRACE_S)
        answer_caller(d, leg)


def answer_caller(d: Draft, leg: Leg) -> None:
    """Answer a leg that came to us, if it is one."""
    if leg.name.startswith(CALLER_PREFIX):
        d.do(AnswerCaller(leg.name))


def _wish_again(d: Draft) -> None:
    """Repeat what the worker may not have been told any more; repeating changes nothing."""
    for leg in d.call.legs:
        if leg.state is not LegState.ANSWERED:
            answer_caller(d, leg)
    d.do(*(Play(leg.name, leg.prompt, leg.loop) for leg in d.call.legs if leg.prompt))
    terminal = d.terminal()
    if d.call.bridged and terminal is not None:
        d.do(Bridge(d.call.winner, terminal.name))
        record(d)
