"""Runs an emergency call through events and keeps what it ordered."""

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.flows.model import FlowCommand, FlowEvent, Note, StartTimer, StopTimer
from gateway.flows.policies.emergency import step
from gateway.flows.policies.emergency_call import Callee, EmergencyCall, Plan, Rung

NOW = 1_000_000.0


def plan(*stages: Rung, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "stages": stages,
        "voice": True,
        "record": True,
        "emergency": True,
        "room_legs": 4,
        "auto_answer_s": 45.0,
        "terminal_ring_s": 30.0,
        "terminal_retry_s": 5.0,
        "terminal_attempts": 3,
        "rounds": 0,
        "pause_s": 10.0,
        "pause_max_s": 60.0,
        "agent_wait_s": 180.0,
        "silence_s": 15.0,
        "max_call_s": 7200.0,
    }
    return Plan(**{**values, **changes})


def in_order(*names: str, ring_s: float = 20.0) -> Rung:
    return Rung(tuple(Callee(name, ring_s) for name in names))


def together(*names: str, ring_s: float = 20.0) -> Rung:
    return Rung(tuple(Callee(name, ring_s) for name in names), together=True)


def run(
    what: Plan, events: Iterable[FlowEvent], *, now: float = NOW
) -> tuple[EmergencyCall, list[FlowCommand]]:
    """Return the call after `events` and the commands of the last of them."""
    call = EmergencyCall(plan=what)
    commands: tuple[FlowCommand, ...] = ()
    for event in events:
        call, commands = step(call, event, now)
    return call, list(commands)


def deeds(commands: Sequence[FlowCommand]) -> list[FlowCommand]:
    """Return the commands without notes and timers, which have tests of their own."""
    return [c for c in commands if not isinstance(c, Note | StartTimer | StopTimer)]


def words(commands: Sequence[FlowCommand]) -> list[str]:
    return [c.what for c in commands if isinstance(c, Note)]


def timers(commands: Sequence[FlowCommand]) -> list[FlowCommand]:
    return [c for c in commands if isinstance(c, StartTimer | StopTimer)]
