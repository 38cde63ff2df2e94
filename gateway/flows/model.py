"""What the runner tells a call policy, and what a policy wants done.

Policies see leg names of their own ("terminal-1", "target-3"), never a SIP code, a socket or a
clock. The runner turns `LegEvent`s into `FlowEvent`s and carries out the `FlowCommand`s in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from drivers.api.commands import EventState
from drivers.api.ids import CallId, IncidentId, LegId
from drivers.api.legs import LegOutcome, LegState
from gateway.incidents.model import Scalar
from gateway.incidents.states import Trigger

__all__ = ["Scalar", "Trigger"]  # handed on: policies import nothing of the gateway but its flows


class Role(StrEnum):
    """Which side of the call a leg is; closed, a metric label."""

    TERMINAL = "terminal"
    TARGET = "target"


CALLER_PREFIX = "caller-"  # legs that came to us; the worker numbers them


def role_of(leg: str) -> Role:
    """Return the role that a leg's name tells."""
    incoming = leg.startswith((CALLER_PREFIX, f"{Role.TERMINAL.value}-"))
    return Role.TERMINAL if incoming else Role.TARGET


class CallOutcome(StrEnum):
    """How a call ended; closed, a metric label."""

    COMPLETED = "completed"  # an agent had it, and it was hung up in the ordinary way
    TERMINAL_UNREACHABLE = "terminal_unreachable"  # an agent knows that the terminal is not there
    CLOSED = "closed"  # the incident was closed
    ABANDONED = "abandoned"  # the caller left before an agent answered, and may
    TOO_LONG = "too_long"  # max_call_s
    UNREADABLE = "unreadable"  # stored by another version; the incident gets another call


class Cause(StrEnum):
    """Why a person must be alarmed; closed, a metric label."""

    NO_CAPACITY = "no_capacity"
    NO_ROUTE = "no_route"
    NOBODY_ANSWERED = "nobody_answered"
    FLOW_DEFECT = "flow_defect"


@dataclass(frozen=True, slots=True)
class Started:
    """The call begins."""


@dataclass(frozen=True, slots=True)
class RoomOpened:
    """The room that was asked for is there."""


@dataclass(frozen=True, slots=True)
class NoRoom:
    """No worker has room now."""


@dataclass(frozen=True, slots=True)
class LegRinging:
    """The far end of `leg` is alerting."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegAnswered:
    """The far end of `leg` answered."""

    leg: str


@dataclass(frozen=True, slots=True)
class LegEnded:
    """`leg` is gone."""

    leg: str
    outcome: LegOutcome
    by_us: bool = False


@dataclass(frozen=True, slots=True)
class MediaChanged:
    """Audio from `leg` arrives or has stopped; a leg on hold is silent on purpose."""

    leg: str
    active: bool
    held: bool = False


@dataclass(frozen=True, slots=True)
class PromptEnded:
    """A prompt that does not loop has been played to its end."""

    leg: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Digit:
    """A DTMF digit from `leg`."""

    leg: str
    digit: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The timer `name` ran out."""

    name: str


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker and with it all legs and the room are gone; the parties were told nothing."""


@dataclass(frozen=True, slots=True)
class CallerComing:
    """The terminal is calling by itself: ringing it would meet a busy line."""


@dataclass(frozen=True, slots=True)
class CallerArrived:
    """The terminal's own call is here, as `leg`, and waits to be answered."""

    leg: str


@dataclass(frozen=True, slots=True)
class PressedAgain:
    """The person pressed again."""


@dataclass(frozen=True, slots=True)
class PressCancelled:
    """The person took the press back."""


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    """A person or the clock closed the incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingLeg:
    """A leg found alive in the worker after a restart of the daemon."""

    name: str
    role: Role
    party: str  # target name where it is known
    state: LegState


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A new daemon has taken the call over. `room` is False when its worker did not survive."""

    room: bool
    legs: Sequence[LivingLeg] = ()
    ended: Mapping[str, LegOutcome] = field(default_factory=dict)  # how the others ended, if known
    recording: bool = False


FlowEvent = (
    Started
    | RoomOpened
    | NoRoom
    | LegRinging
    | LegAnswered
    | LegEnded
    | MediaChanged
    | PromptEnded
    | Digit
    | TimerFired
    | WorkerLost
    | CallerComing
    | CallerArrived
    | PressedAgain
    | PressCancelled
    | IncidentClosed
    | Resumed
)


@dataclass(frozen=True, slots=True)
class OpenRoom:
    """Reserve room for `legs` legs; answered by RoomOpened or NoRoom."""

    legs: int


@dataclass(frozen=True, slots=True)
class LeaveRoom:
    """Give the room back: nobody is rung for now."""


@dataclass(frozen=True, slots=True)
class DialTerminal:
    """Ring the terminal's own voice for at most `ring_s` seconds."""

    leg: str
    ring_s: float


@dataclass(frozen=True, slots=True)
class AnswerCaller:
    """Answer a leg that came to us."""

    leg: str


@dataclass(frozen=True, slots=True)
class DialTarget:
    """Ring a target for at most `ring_s` seconds."""

    leg: str
    target: str
    ring_s: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """End a leg; whatever it still says does not matter any more."""

    leg: str
    reason: str


@dataclass(frozen=True, slots=True)
class Play:
    """Play a prompt to a leg instead of what it hears now."""

    leg: str
    prompt: str
    loop: bool


@dataclass(frozen=True, slots=True)
class StopPlaying:
    """Stop the prompt of a leg."""

    leg: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """Let two legs hear each other until either ends; repeating it changes nothing."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Record the call; a second worker goes on where the first was cut off."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Fire TimerFired(name) after `seconds`; replaces a running timer of that name."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    """Forget a timer."""

    name: str


@dataclass(frozen=True, slots=True)
class TellTerminal:
    """Tell the terminal what became of its event."""

    state: EventState


@dataclass(frozen=True, slots=True)
class AnnounceCall:
    """Ask the terminal to answer by itself until `until` (Unix seconds)."""

    until: float


@dataclass(frozen=True, slots=True)
class Advance:
    """Move the incident."""

    trigger: Trigger
    answered_by: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the timeline."""

    what: str
    leg: str = ""
    data: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlarmPerson:
    """The flow cannot help by itself now: somebody must know."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class EndCall:
    """The call is over: always the last command; its timers are void."""

    outcome: CallOutcome


FlowCommand = (
    OpenRoom
    | LeaveRoom
    | DialTerminal
    | AnswerCaller
    | DialTarget
    | HangUp
    | Play
    | StopPlaying
    | Bridge
    | StartRecording
    | StartTimer
    | StopTimer
    | TellTerminal
    | AnnounceCall
    | Advance
    | Note
    | AlarmPerson
    | EndCall
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegView:
    """A living leg, as a page shows it."""

    leg: LegId
    role: Role
    party: str  # terminal id or target name
    state: LegState


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """A running call, as a page shows it."""

    call: CallId
    incident: IncidentId
    flow: str
    phase: str
    started_at: float
    legs: Sequence[LegView]
