"""What the flow `emergency` remembers, and the draft of one step. Frozen, JSON by msgspec."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from drivers.api.commands import EventState
from drivers.api.legs import LegState
from gateway.flows.model import (
    Advance,
    AlarmPerson,
    Cause,
    FlowCommand,
    HangUp,
    Note,
    Play,
    Role,
    Scalar,
    StartTimer,
    StopPlaying,
    StopTimer,
    TellTerminal,
    Trigger,
)

# Names used before a crash may be missing from the stored state (it is committed behind the
# dialling); leg names are unique for ever, so a resumed call counts on from here. No call dials
# this many legs in the fraction of a second that a commit takes.
RESUME_GAP: Final = 100


class Phase(StrEnum):
    """Where an emergency call stands."""

    NEW = "new"
    OPENING = "opening"  # waits for room in a worker
    SEEKING = "seeking"  # rings targets
    PAUSING = "pausing"  # everybody was rung; waits before the next round
    TALKING = "talking"  # an agent has it, with or without the terminal
    STRANDED = "stranded"  # rings nobody any more: waits for another press or for a person
    ENDED = "ended"


class Callee(msgspec.Struct, frozen=True):
    """A target of the plan, by name, and for how many seconds it is rung."""

    name: str
    ring_s: float


class Rung(msgspec.Struct, frozen=True):
    """Targets rung in order or together; what is left of them as the call goes on."""

    callees: tuple[Callee, ...]
    together: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All the flow needs of configuration and routing, fixed when the call begins. Seconds."""

    stages: tuple[Rung, ...]  # the last resort is the last one
    voice: bool  # the terminal can be rung
    record: bool
    emergency: bool  # may use the reserve, and says so to agents
    persistent: bool = True  # rung until somebody answers, even when the caller has left
    room_legs: int  # what one worker carries at most
    auto_answer_s: float
    terminal_ring_s: float
    terminal_retry_s: float
    terminal_attempts: int
    rounds: int  # 0 = until somebody answers or closes
    pause_s: float
    pause_max_s: float
    agent_wait_s: float
    silence_s: float
    max_call_s: float


class Leg(msgspec.Struct, frozen=True):
    """A leg that is wanted. Those hung up are forgotten at once."""

    name: str
    role: Role
    party: str
    state: LegState
    prompt: str = ""  # what it should be hearing
    loop: bool = True


class EmergencyCall(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the flow."""

    plan: Plan
    phase: Phase = Phase.NEW
    legs: tuple[Leg, ...] = ()
    serial: int = 0  # legs dialled so far; names them
    queue: tuple[Rung, ...] = ()  # who is still to be rung in this round
    room_legs: int = 0  # what was asked for
    room_failures: int = 0
    winner: str = ""  # leg of the agent who has it
    bridged: bool = False
    coming: bool = False  # the terminal's own call is on its way
    called: bool = (
        False  # the terminal has called us: it has a voice, whether it can be rung or not
    )
    informed: bool = False  # the agent knows of the person or knows that the terminal is not there
    cancelled: bool = False  # the person took the press back
    attempts: int = 0  # of the terminal, since the round or the answer
    rounds: int = 0
    losses: int = 0  # conversations that broke off on the agent's side
    moved_on: bool = False  # somebody was rung in vain
    pause_s: float = 0.0  # the last pause
    timers: dict[str, float] = {}  # name → when it fires, Unix seconds
    told: EventState | None = None
    recording: bool = False
    recorded: bool = False  # there is a recording, or the beginning of one


class Draft:
    """One step in the making: the call as it will be and the commands so far."""

    def __init__(self, call: EmergencyCall, now: float) -> None:
        self.call = call
        self.plan = call.plan
        self.now = now
        self.commands: list[FlowCommand] = []

    def set(self, **fields: Any) -> None:
        """Change fields of the call."""
        self.call = replace(self.call, **fields)

    def do(self, *commands: FlowCommand) -> None:
        """Add commands."""
        self.commands += commands

    def note(self, what: str, leg: str = "", **data: Scalar) -> None:
        """Add a line for the timeline."""
        self.do(Note(what, leg, data))

    def leg(self, name: str) -> Leg | None:
        """Return a wanted leg, or None."""
        return next((leg for leg in self.call.legs if leg.name == name), None)

    @property
    def voice(self) -> bool:
        """Tell whether the terminal can speak: it can be rung, or it has called."""
        return self.plan.voice or self.call.called

    def terminal(self) -> Leg | None:
        """Return the terminal's leg."""
        return next(self.of(Role.TERMINAL), None)

    def of(self, role: Role) -> Iterator[Leg]:
        """Yield the wanted legs of a role."""
        return (leg for leg in self.call.legs if leg.role is role)

    def next_name(self, role: Role) -> str:
        """Return a leg name that was never used in this call."""
        self.set(serial=self.call.serial + 1)
        return f"{role.value}-{self.call.serial}"

    def add(self, leg: Leg) -> None:
        """Want a leg."""
        self.set(legs=(*self.call.legs, leg))

    def update(self, leg: Leg, **fields: Any) -> Leg:
        """Change a wanted leg."""
        new = replace(leg, **fields)
        self.set(legs=tuple(new if x.name == leg.name else x for x in self.call.legs))
        return new

    def forget(self, leg: Leg) -> None:
        """Drop a leg that is gone, with its timers."""
        self.set(legs=tuple(x for x in self.call.legs if x.name != leg.name))
        self.stop(f"ring:{leg.name}")
        self.stop(f"silence:{leg.name}")

    def let_go(self, leg: Leg, reason: str) -> None:
        """End a leg and forget it."""
        self.do(HangUp(leg.name, reason))
        self.forget(leg)

    def start(self, name: str, seconds: float) -> None:
        """Start a timer."""
        self.set(timers={**self.call.timers, name: self.now + seconds})
        self.do(StartTimer(name, seconds))

    def stop(self, name: str) -> None:
        """Stop a timer, if it runs."""
        if name in self.call.timers:
            self.set(timers={k: v for k, v in self.call.timers.items() if k != name})
            self.do(StopTimer(name))

    def play(self, leg: Leg, prompt: str, *, loop: bool = True) -> None:
        """Let an answered leg hear a prompt; nothing changes when it already does."""
        if leg.state is LegState.ANSWERED and leg.prompt != prompt:
            self.update(leg, prompt=prompt, loop=loop)
            self.do(Play(leg.name, prompt, loop))

    def hush(self, leg: Leg) -> None:
        """Stop the prompt of a leg, if it has one."""
        if leg.prompt:
            self.update(leg, prompt="")
            self.do(StopPlaying(leg.name))

    def tell(self, state: EventState) -> None:
        """Tell the terminal, unless it was told just that."""
        if self.call.told is not state:
            self.set(told=state)
            self.do(TellTerminal(state))

    def give_up(self, cause: Cause) -> None:
        """Alarm a person and mark the incident unanswered; the terminal shows that we go on."""
        self.do(AlarmPerson(cause), Advance(Trigger.EXHAUST))
        self.tell(EventState.WAITING)
