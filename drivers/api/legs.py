"""Calls as the gateway sees them: legs, the events they emit and the workers that carry them.

Free of SIP codes and AT results: `LegEnded.code` and `reason` are for the timeline and the CDR
only; decisions use `LegOutcome`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from drivers.api.ids import CallId, LegId


class LegOutcome(StrEnum):
    """How a leg ended; closed, a metric label."""

    COMPLETED = "completed"  # was answered, then hung up by either side
    BUSY = "busy"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    UNREACHABLE = "unreachable"  # not registered, no route, host dead
    CANCELLED = "cancelled"  # by us, before the answer
    FAILED = "failed"  # anything else the peer or network said
    LOST = "lost"  # the worker died, or media stopped for good


class LegState(StrEnum):
    """Where a leg stands, in snapshots."""

    DIALLING = "dialling"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStats:
    """RTP statistics of a leg, summed over its streams. Packets, milliseconds."""

    codec: str = ""
    rx_packets: int = 0
    rx_lost: int = 0
    tx_packets: int = 0
    tx_lost: int = 0
    jitter_ms: float = 0.0
    rtt_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEvent:
    """Common part: `at` is Unix seconds in the worker."""

    call: CallId
    leg: LegId
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LegOffered(LegEvent):
    """An incoming call that the edge sent here reached the worker; it waits for a decision.

    The leg's id is "<call>.caller-<n>". All texts are cleaned.
    """

    from_user: str
    from_name: str = ""
    to_user: str = ""
    source: str = ""  # "address:port" it came from
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegDialled(LegEvent):
    """The invitation has left the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRinging(LegEvent):
    """The far end is alerting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegAnswered(LegEvent):
    """The far end answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegMedia(LegEvent):
    """Audio became usable, was held, or stopped arriving."""

    active: bool
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LegDigit(LegEvent):
    """A DTMF digit arrived (RFC 4733 or INFO)."""

    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded(LegEvent):
    """The leg is gone. `by_us` tells who ended it."""

    outcome: LegOutcome
    code: int | None = None
    reason: str = ""
    by_us: bool = False
    talk_s: float = 0.0
    stats: StreamStats = field(default_factory=StreamStats)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEnded(LegEvent):
    """A prompt that does not loop has been played to its end."""

    prompt: str


AnyLegEvent = (
    LegOffered
    | LegDialled
    | LegRinging
    | LegAnswered
    | LegMedia
    | LegDigit
    | LegEnded
    | PromptEnded
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """The worker that carried `call` died with all its legs; the parties were told nothing."""

    call: CallId
    at: float


CallEvent = AnyLegEvent | WorkerLost


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRequest:
    """Whom to ring and what to say about it. Header values must already be cleaned."""

    leg: LegId
    uri: str
    display_name: str = ""
    headers: Sequence[tuple[str, str]] = ()
    ring_s: float = 60.0  # the worker cancels after this by itself, should the daemon be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class LegSnapshot:
    """One leg as the worker knows it."""

    call: CallId
    leg: LegId
    state: LegState
    uri: str
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """All a worker knows, sent first on every attach."""

    legs: Sequence[LegSnapshot]
    bridges: Sequence[tuple[LegId, LegId]]
    recordings: Mapping[CallId, Path]  # call → directory of its running recording
    calls_carried: int  # since the worker's start, for recycling


class WorkerLink(Protocol):
    """The daemon's end of one worker process. One object per connection, never reused."""

    @property
    def slot(self) -> int:
        """Return the worker's slot number: names its socket, its SIP and its RTP ports."""
        ...

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        ...

    @property
    def contact(self) -> str:
        """Return the worker's SIP address, "address:port"."""
        ...

    @property
    def legs_limit(self) -> int:
        """Return how many legs the worker's PJSIP build carries."""
        ...

    @property
    def snapshot(self) -> WorkerSnapshot:
        """Return what the worker carried at the moment of the attach."""
        ...

    async def dial(self, call: CallId, request: DialRequest) -> None:
        """Start a leg. Raises NoCapacity when the worker is full, WorkerGone when it died."""
        ...

    async def answer(self, leg: LegId) -> None:
        """Answer an offered leg; raises UnknownLeg when the caller has left."""
        ...

    async def hang_up(self, leg: LegId, *, reason: str = "") -> None:
        """End a leg (CANCEL before the answer, BYE after); a leg already gone is no error."""
        ...

    async def play(self, leg: LegId, prompt: str, path: Path, *, loop: bool) -> None:
        """Play a WAV to one leg, replacing what was playing to it. Allowed before the answer."""
        ...

    async def stop_playing(self, leg: LegId) -> None:
        """Stop the prompt of a leg; none playing is no error."""
        ...

    async def bridge(self, a: LegId, b: LegId) -> None:
        """Let two legs hear each other; kept through re-INVITEs until either ends."""
        ...

    async def unbridge(self, a: LegId, b: LegId) -> None:
        """Undo `bridge`."""
        ...

    async def record(self, call: CallId, directory: Path, *, segment_s: float) -> None:
        """Record the mix of all legs of `call`, present and coming, in segments."""
        ...

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        """End the recording; returns its closed segment files in order."""
        ...

    async def send_digits(self, leg: LegId, digits: str) -> None:
        """Send DTMF as RFC 4733 events."""
        ...

    async def statistics(self) -> Mapping[LegId, StreamStats]:
        """Return the statistics of all living legs."""
        ...

    async def quit(self) -> None:
        """Ask the worker to hang up what it has, close its files and exit."""
        ...

    async def closed(self) -> None:
        """Return when the connection to the worker has ended, for whatever reason."""
        ...


class WorkerFactory(Protocol):
    """Starts workers and finds those that an earlier daemon left alive."""

    async def spawn(self, slot: int, on_event: Callable[[AnyLegEvent], None]) -> WorkerLink:
        """Start the process of `slot` and attach; raises TransientError when it fails to."""
        ...

    async def adopt(self, slot: int, on_event: Callable[[AnyLegEvent], None]) -> WorkerLink | None:
        """Attach to a living worker of `slot`; None (and its socket removed) when there is none."""
        ...

    def living_slots(self) -> Sequence[int]:
        """Return the slots whose sockets exist."""
        ...


class CallRoom(Protocol):
    """Room for one call in one worker: the flow runner's only way to telephony."""

    @property
    def call(self) -> CallId:
        """Return the call this room is for."""
        ...

    @property
    def link(self) -> WorkerLink:
        """Return the worker that carries it."""
        ...

    async def dial(self, request: DialRequest) -> None:
        """Start a leg, paced; raises NoCapacity or WorkerGone."""
        ...

    async def release(self) -> None:
        """Give the room back once its legs have ended; idempotent."""
        ...


class LegDialer(Protocol):
    """The pool of workers."""

    async def room(
        self, call: CallId, *, legs: int, emergency: bool, on_event: Callable[[CallEvent], None]
    ) -> CallRoom:
        """Reserve `legs` legs in one worker; raises NoCapacity. Only SOS may use the reserve."""
        ...

    def adopted(self, call: CallId, on_event: Callable[[CallEvent], None]) -> CallRoom | None:
        """Return the room of a call that outlived an earlier daemon, or None."""
        ...
