"""From configuration and routing to the plan of one emergency call. Pure."""

from collections.abc import Callable

from gateway.config import Settings
from gateway.flows.policies.emergency_call import Callee, Plan, Rung
from gateway.routing.model import Decision, Stage, Target


def _one(_group: str) -> int:
    return 1


def plan_of(
    settings: Settings, decision: Decision, *, voice: bool, free: Callable[[str], int] = _one
) -> Plan:
    """Return the plan; `voice` tells whether the terminal can be rung. Seconds throughout.

    `free` tells how many agents of a group could be rung now: each is rung once in a round, at
    least one, who may have become free by then.
    """
    config = settings.emergency
    return Plan(
        stages=_stages(settings, decision, free),
        voice=voice,
        record=settings.recording.enabled,
        emergency=decision.emergency,
        persistent=decision.emergency,
        room_legs=settings.telephony.legs_per_worker,
        auto_answer_s=config.auto_answer_s,
        terminal_ring_s=config.terminal_ring_s,
        terminal_retry_s=config.terminal_retry_s,
        terminal_attempts=config.terminal_attempts,
        rounds=config.chain_rounds,
        pause_s=config.chain_pause_s,
        pause_max_s=config.chain_pause_max_s,
        agent_wait_s=config.agent_wait_s,
        silence_s=config.silence_s,
        max_call_s=config.max_call_s,
    )


def _stages(settings: Settings, decision: Decision, free: Callable[[str], int]) -> tuple[Rung, ...]:
    offer_s = settings.agents.offer_s
    stages = tuple(rung for stage in decision.chain for rung in _rungs(stage, offer_s, free))
    if decision.last_resort is None:
        return stages
    last = Callee(decision.last_resort.name, settings.emergency.last_resort_ring_s)
    return (*stages, Rung((last,)))


def _rungs(stage: Stage, offer_s: float, free: Callable[[str], int]) -> tuple[Rung, ...]:
    """Return a stage with its groups spelt out, and the stage of their overflow."""
    callees: list[Callee] = []
    overflow: list[Callee] = []
    together = stage.together
    for target in stage.targets:
        callees += _callees(target, offer_s, free)
        if target.group is not None:
            together = together or (target.group.together and len(stage.targets) == 1)
            if target.group.overflow is not None:
                overflow += _callees(target.group.overflow, offer_s, free)
    first = Rung(tuple(callees), together=together)
    return (first, Rung(tuple(overflow))) if overflow else (first,)


def _callees(target: Target, offer_s: float, free: Callable[[str], int]) -> list[Callee]:
    if target.group is None:
        return [Callee(target.name, target.ring_s)]
    # As many offers as fit into the time that the group may keep the call.
    most = max(1, int(target.ring_s // offer_s))
    return [Callee(target.name, offer_s)] * min(most, max(1, free(target.group.name)))
