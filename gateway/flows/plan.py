"""From configuration and routing to the plan of one emergency call. Pure."""

from gateway.config import Settings
from gateway.flows.policies.emergency_call import Callee, Plan, Rung
from gateway.routing.model import Decision, Stage


def plan_of(settings: Settings, decision: Decision, *, voice: bool) -> Plan:
    """Return the plan; `voice` tells whether the terminal can be rung. Seconds throughout."""
    config = settings.emergency
    return Plan(
        stages=_stages(decision, config.last_resort_ring_s),
        voice=voice,
        record=settings.recording.enabled,
        emergency=decision.emergency,
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


def _stages(decision: Decision, last_resort_ring_s: float) -> tuple[Rung, ...]:
    stages = tuple(_rung(stage) for stage in decision.chain)
    if decision.last_resort is None:
        return stages
    return (*stages, Rung((Callee(decision.last_resort.name, last_resort_ring_s),)))


def _rung(stage: Stage) -> Rung:
    callees = tuple(Callee(target.name, target.ring_s) for target in stage.targets)
    return Rung(callees, together=stage.together)
