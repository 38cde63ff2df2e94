"""JSON lines between the daemon and a worker: commands down, replies and numbered events up.

Pure. The events and snapshots are the waist's own dataclasses, so there is no second vocabulary.
`decode_*` raise DecodeError for anything they do not understand, and nothing else.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    AnyLegEvent,
    DialRequest,
    LegAnswered,
    LegDialled,
    LegDigit,
    LegEnded,
    LegMedia,
    LegOffered,
    LegOutcome,
    LegRinging,
    LegTransferAsked,
    PromptEnded,
    StreamStats,
    WorkerSnapshot,
)
from protocols.errors import DecodeError, DecodeReason

# A line with the paths of 1,000 recording segments of 200 bytes stays below.
MAX_LINE = 262_144


class ErrorKind(StrEnum):
    """Why a command was not carried out."""

    NO_CAPACITY = "no_capacity"
    UNKNOWN_LEG = "unknown_leg"
    REFUSED = "refused"  # repeating cannot help: bad URI, missing file, garbage
    FAILED = "failed"  # may work later


class CommandBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="cmd"):
    """Common part: `id` comes back in the reply."""

    id: int


class Attach(CommandBase, frozen=True, kw_only=True, tag="attach"):
    """Be the worker's daemon, in place of whoever was; answered by Attached."""


class Acknowledge(CommandBase, frozen=True, kw_only=True, tag="ack"):
    """Events up to `seq` were taken over; the worker may forget them. Has no reply."""

    seq: int


class Dial(CommandBase, frozen=True, kw_only=True, tag="dial"):
    """WorkerLink.dial."""

    call: CallId
    request: DialRequest


class HangUp(CommandBase, frozen=True, kw_only=True, tag="hang_up"):
    """WorkerLink.hang_up."""

    leg: LegId
    reason: str = ""
    cause: Annotated[int, msgspec.Meta(ge=1, le=127)] | None = None


class Progress(CommandBase, frozen=True, kw_only=True, tag="progress"):
    """WorkerLink.progress."""

    leg: LegId


class Answer(CommandBase, frozen=True, kw_only=True, tag="answer"):
    """WorkerLink.answer."""

    leg: LegId


class Reject(CommandBase, frozen=True, kw_only=True, tag="reject"):
    """WorkerLink.reject."""

    leg: LegId
    outcome: LegOutcome
    retry_after_s: Annotated[int, msgspec.Meta(ge=0)] = 0


class Hold(CommandBase, frozen=True, kw_only=True, tag="hold"):
    """WorkerLink.hold."""

    leg: LegId


class Unhold(CommandBase, frozen=True, kw_only=True, tag="unhold"):
    """WorkerLink.unhold."""

    leg: LegId


class Play(CommandBase, frozen=True, kw_only=True, tag="play"):
    """WorkerLink.play."""

    leg: LegId
    prompt: str
    path: Path
    loop: bool


class StopPlaying(CommandBase, frozen=True, kw_only=True, tag="stop_playing"):
    """WorkerLink.stop_playing."""

    leg: LegId


class Bridge(CommandBase, frozen=True, kw_only=True, tag="bridge"):
    """WorkerLink.bridge."""

    a: LegId
    b: LegId


class Unbridge(CommandBase, frozen=True, kw_only=True, tag="unbridge"):
    """WorkerLink.unbridge."""

    a: LegId
    b: LegId


class Connect(CommandBase, frozen=True, kw_only=True, tag="connect"):
    """WorkerLink.connect."""

    source: LegId
    sink: LegId


class Disconnect(CommandBase, frozen=True, kw_only=True, tag="disconnect"):
    """WorkerLink.disconnect."""

    source: LegId
    sink: LegId


class Record(CommandBase, frozen=True, kw_only=True, tag="record"):
    """WorkerLink.record."""

    call: CallId
    directory: Path
    segment_s: Annotated[float, msgspec.Meta(gt=0)]


class PauseRecording(CommandBase, frozen=True, kw_only=True, tag="pause_recording"):
    """WorkerLink.pause_recording."""

    call: CallId


class ResumeRecording(CommandBase, frozen=True, kw_only=True, tag="resume_recording"):
    """WorkerLink.resume_recording."""

    call: CallId


class StopRecording(CommandBase, frozen=True, kw_only=True, tag="stop_recording"):
    """WorkerLink.stop_recording; answered by Files."""

    call: CallId


class SendDigits(CommandBase, frozen=True, kw_only=True, tag="send_digits"):
    """WorkerLink.send_digits."""

    leg: LegId
    digits: str


class GetStatistics(CommandBase, frozen=True, kw_only=True, tag="statistics"):
    """WorkerLink.statistics; answered by Statistics."""


class Quit(CommandBase, frozen=True, kw_only=True, tag="quit"):
    """WorkerLink.quit."""


Command = (
    Attach
    | Acknowledge
    | Dial
    | HangUp
    | Progress
    | Answer
    | Reject
    | Hold
    | Unhold
    | Play
    | StopPlaying
    | Bridge
    | Unbridge
    | Connect
    | Disconnect
    | Record
    | PauseRecording
    | ResumeRecording
    | StopRecording
    | SendDigits
    | GetStatistics
    | Quit
)


class ReplyBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="msg"):
    """Common part: `id` is the command's."""

    id: int


class Done(ReplyBase, frozen=True, kw_only=True, tag="done"):
    """The command was carried out."""


class Failed(ReplyBase, frozen=True, kw_only=True, tag="failed"):
    """It was not."""

    kind: ErrorKind
    detail: str


class Attached(ReplyBase, frozen=True, kw_only=True, tag="attached"):
    """The worker and all it carries; the events not yet acknowledged follow."""

    pid: int
    legs_limit: int
    contact: str  # "address:port" of the SIP socket
    dropped: int  # events lost because nobody fetched them in time
    snapshot: WorkerSnapshot


class Files(ReplyBase, frozen=True, kw_only=True, tag="files"):
    """The closed segments of a recording, in order."""

    files: Sequence[Path]


class Statistics(ReplyBase, frozen=True, kw_only=True, tag="statistics"):
    """The statistics of all living legs."""

    legs: Mapping[LegId, StreamStats]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="msg", tag="event"):
    """One numbered event: `body` is the dataclass that `kind` names."""

    seq: int
    kind: str
    body: msgspec.Raw


Reply = Done | Failed | Attached | Files | Statistics

EVENT_TYPES: Mapping[str, type[AnyLegEvent]] = {
    "offered": LegOffered,
    "dialled": LegDialled,
    "ringing": LegRinging,
    "answered": LegAnswered,
    "media": LegMedia,
    "digit": LegDigit,
    "transfer": LegTransferAsked,
    "ended": LegEnded,
    "prompt_ended": PromptEnded,
}
_EVENT_KINDS = {kind: name for name, kind in EVENT_TYPES.items()}

_Decoded = TypeVar("_Decoded")


def encode(message: Command | Reply | Event) -> bytes:
    """Return `message` as one line with its line end."""
    return _ENCODER.encode(message) + b"\n"


def encode_event(seq: int, event: AnyLegEvent) -> bytes:
    """Return `event` as one numbered line with its line end."""
    body = msgspec.Raw(_ENCODER.encode(event))
    return encode(Event(seq=seq, kind=_EVENT_KINDS[type(event)], body=body))


def decode_command(line: bytes) -> Command:
    """Return the command in `line`."""
    return _decode(_COMMANDS, line)


def decode_message(line: bytes) -> Reply | Event:
    """Return the reply or event in `line`; see `event_of` for the event's body."""
    return _decode(_MESSAGES, line)


def event_of(message: Event) -> AnyLegEvent:
    """Return the event inside `message`."""
    decoder = _EVENTS.get(message.kind)
    if decoder is None:
        raise DecodeError(DecodeReason.UNKNOWN_TYPE, f"event {message.kind!r:.40}")
    return _decode(decoder, bytes(message.body))


def _decode(decoder: "msgspec.json.Decoder[_Decoded]", line: bytes) -> _Decoded:
    if len(line) > MAX_LINE:
        raise DecodeError(DecodeReason.TOO_LARGE, f"{len(line)} bytes")
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as exc:
        raise DecodeError(DecodeReason.WRONG_SHAPE, str(exc)) from exc
    except UnicodeDecodeError as exc:
        raise DecodeError(DecodeReason.NOT_UTF8, str(exc)) from exc
    except (msgspec.DecodeError, RecursionError) as exc:
        raise DecodeError(DecodeReason.NOT_JSON, str(exc)) from exc


def _from_wire(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"no {kind.__name__}: {value!r:.40}")  # becomes a ValidationError


def _to_wire(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no wire form for {type(value)}")


_ENCODER = msgspec.json.Encoder(enc_hook=_to_wire)
_COMMANDS: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command, dec_hook=_from_wire)
_MESSAGES: msgspec.json.Decoder[Reply | Event] = msgspec.json.Decoder(
    Reply | Event, dec_hook=_from_wire
)
_EVENTS: dict[str, msgspec.json.Decoder[AnyLegEvent]] = {
    name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()
}
