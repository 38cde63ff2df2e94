"""Calls as the gateway sees them: legs, the events they emit and the workers that carry them.

Free of SIP codes and AT results: `LegEnded.code` and `reason` are for the timeline and the CDR
only; decisions use `LegOutcome`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

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

    OFFERED = "offered"  # a caller whom nobody has decided about
    EARLY = "early"  # a caller who hears us before the answer
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
    """Audio became usable, was held, or stopped arriving. `by_us` tells who holds."""

    active: bool
    held: bool = False
    by_us: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LegDigit(LegEvent):
    """A DTMF digit arrived (RFC 4733 or INFO)."""

    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegTransferAsked(LegEvent):
    """A party asks to be transferred (REFER, RFC 3515). It was refused there: we dial instead.

    `target` is the cleaned URI without header parts. `attended`: it named one of its own dialogs
    that we should replace, which we cannot.
    """

    target: str
    attended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LegEnded(LegEvent):
    """The leg is gone. `by_us` tells who ended it."""

    outcome: LegOutcome
    code: int | None = None
    reason: str = ""
    by_us: bool = False
    talk_s: float = 0.0
    stats: StreamStats = field(default_factory=StreamStats)
    q850: int | None = None  # the peer's cause (RFC 3326 Reason), 1 to 127


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
    | LegTransferAsked
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
class BodyPart:
    """A part beside the SDP in a multipart INVITE (RFC 5621), e.g. PIDF-LO or RFC 7852 data.

    `content_id` without angle brackets, as a cid: URI of a header names it; empty for none.
    """

    content_type: str  # "type/subtype"
    content_id: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRequest:
    """Whom to ring and what to say about it. Header values must already be cleaned."""

    leg: LegId
    uri: str
    display_name: str = ""
    headers: Sequence[tuple[str, str]] = ()
    from_uri: str = ""  # SIP URI for From; empty: the gateway's own
    parts: Sequence[BodyPart] = ()
    ring_s: float = 60.0  # the worker cancels after this by itself, should the daemon be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class LegSnapshot:
    """One leg as the worker knows it."""

    call: CallId
    leg: LegId
    state: LegState
    uri: str
    held: bool = False
    held_by_us: bool = False
    direction: Literal["in", "out"] = "out"  # "in": the party called us


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """All a worker knows, sent first on every attach."""

    legs: Sequence[LegSnapshot]
    bridges: Sequence[tuple[LegId, LegId]]
    recordings: Mapping[CallId, Path]  # call → directory of its running recording
    calls_carried: int  # different calls since the worker's start, for recycling
    connections: Sequence[tuple[LegId, LegId]] = ()  # one-way only: (source, sink)
    paused: Sequence[CallId] = ()  # of `recordings`


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

    async def progress(self, leg: LegId) -> None:
        """Let an offered caller hear us before the answer (183 with SDP); idempotent.

        Raises UnknownLeg when the caller has left, PermanentError when the leg is not a caller's.
        """
        ...

    async def answer(self, leg: LegId) -> None:
        """Answer an offered leg (200); idempotent. Raises like `progress`."""
        ...

    async def reject(self, leg: LegId, outcome: LegOutcome, *, retry_after_s: int = 0) -> None:
        """Refuse an offered leg: busy, declined, no_answer, unreachable (503) or failed (500).

        `retry_after_s` > 0 goes along as Retry-After. A caller who has left is no error; an
        answered leg or another outcome raises PermanentError.
        """
        ...

    async def hang_up(self, leg: LegId, *, reason: str = "", cause: int | None = None) -> None:
        """End a leg (CANCEL before the answer, BYE after); a leg already gone is no error.

        `cause` is a Q.850 cause (1 to 127) for the Reason header; None: 16 after the answer,
        SIP 487 before it.
        """
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

    async def connect(self, source: LegId, sink: LegId) -> None:
        """Let `sink` hear `source`, not the other way round; half a `bridge`."""
        ...

    async def disconnect(self, source: LegId, sink: LegId) -> None:
        """Let `sink` no longer hear `source`; not connected is no error."""
        ...

    async def hold(self, leg: LegId) -> None:
        """Hold an answered leg: it hears only its prompt, nobody hears it. LegMedia follows."""
        ...

    async def unhold(self, leg: LegId) -> None:
        """End our hold; the wiring is as before. Not held is no error. LegMedia follows."""
        ...

    async def record(self, call: CallId, directory: Path, *, segment_s: float) -> None:
        """Record the mix of all legs of `call`, present and coming, in segments."""
        ...

    async def pause_recording(self, call: CallId) -> None:
        """Record nothing until `resume_recording`; a gap between two segments. Idempotent."""
        ...

    async def resume_recording(self, call: CallId) -> None:
        """Go on recording in a new segment; not paused is no error."""
        ...

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        """End the recording; returns its closed segment files in order."""
        ...

    async def send_digits(self, leg: LegId, digits: str) -> None:
        """Send DTMF as RFC 4733 events, or by INFO to a peer that did not offer these."""
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

    def expect(self, callers: int) -> None:
        """Keep legs of the room free for so many callers whom the edge is sending here.

        Each LegOffered takes one of them; 0 gives up waiting.
        """
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
