"""SCAIP requests to the gateway's events, and receipts to answers. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Final

from drivers.api.edge import MessageAnswer
from drivers.api.events import (
    AlarmRaised,
    KeyPressed,
    Position,
    PressCancelled,
    TelemetryReported,
)
from drivers.api.ids import EventId, TerminalId
from drivers.scaip.config import ScaipConfig
from protocols.mqtt_payload.topics import is_terminal_id
from protocols.scaip.meaning import Kind, Meaning, position_of
from protocols.scaip.messages import Answer, CallTo, Media, Request, Root, Status, encode_answer

# Some controllers count references and begin again, some never change them: for so long the same
# message with the same reference is a repeat, later it is a new press. Devices repeat every 10
# minutes at most; a repeat that is taken for new joins the open incident, which is harmless.
REPEAT_S: Final = 900.0
_REF_KEPT: Final = 40  # characters of a reference in an event id of at most 64

CONTENT_TYPE: Final = "application/scaip+xml"
# The second dialect says application/xml.
CONTENT_TYPES: Final = frozenset({CONTENT_TYPE, "application/xml", "text/xml"})

ScaipEvent = KeyPressed | AlarmRaised | PressCancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """A MESSAGE to send to `user` after the response: the answer of the first dialect."""

    user: str
    content_type: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaipAnswer(MessageAnswer):
    """The response to a MESSAGE, and what to send after it."""

    follow_up: FollowUp | None = None


def terminal_of(user: str, request: Request, relays: frozenset[str]) -> TerminalId | None:
    """Return whose message it is; None when that cannot be the name of a terminal."""
    name = request.cid.lstrip("+") if user in relays else user
    return TerminalId(name) if is_terminal_id(name) else None


def event_id_of(request: Request, body: bytes, *, received_at: float) -> EventId:
    """Return the same id for repeats of a message and another for all else."""
    window = int(received_at // REPEAT_S)
    digest = hashlib.sha256(body + str(window).encode()).hexdigest()[:12]
    return EventId(f"scaip-{request.ref[:_REF_KEPT]}-{digest}")


def to_event(
    terminal: TerminalId,
    request: Request,
    meaning: Meaning,
    *,
    event_id: EventId,
    received_at: float,
    cancels: EventId,
    calling: bool,
) -> ScaipEvent:
    """Return the event of a press, an alarm or a cancel (of the event `cancels`)."""
    if meaning.kind is Kind.CANCEL:
        return PressCancelled(
            terminal=terminal, event_id=event_id, received_at=received_at, cancels=cancels
        )
    if meaning.kind is Kind.PRESS:
        return KeyPressed(
            terminal=terminal,
            event_id=event_id,
            received_at=received_at,
            key=meaning.name,
            position=_position(request),
            calling=calling,
        )
    return AlarmRaised(
        terminal=terminal,
        event_id=event_id,
        received_at=received_at,
        alarm=meaning.name,
        code=meaning.codes,
        position=_position(request),
    )


def to_telemetry(
    terminal: TerminalId, request: Request, *, received_at: float
) -> TelemetryReported:
    """Return the sign of life in a heartbeat."""
    return TelemetryReported(
        terminal=terminal, received_at=received_at, position=_position(request)
    )


def _position(request: Request) -> Position | None:
    place = position_of(request)
    return Position(lat=place[0], lon=place[1]) if place is not None else None


def device_calls(request: Request, meaning: Meaning, config: ScaipConfig) -> bool:
    """Tell whether the device is to call: after a press, unless it asked to be called (`cha`)."""
    return meaning.kind is Kind.PRESS and request.cha != "1" and config.voice == "device"


def taken(request: Request, meaning: Meaning, config: ScaipConfig) -> Answer:
    """Return the answer to a request that is safe with us, with the voice route."""
    if device_calls(request, meaning, config):
        transferred = bool(config.call_uri)
        return Answer(
            ref=request.ref,
            status=Status.OK,
            media=Media.DUPLEX,
            call_to=CallTo.TRANSFERRED if transferred else CallTo.PREDEFINED,
            number=config.call_uri,
        )
    heartbeat = config.heartbeat if meaning.kind is Kind.ALIVE else ""
    return Answer(ref=request.ref, status=Status.OK, media=Media.NO_VOICE, heartbeat=heartbeat)


def response(answer: Answer, root: Root, user: str, config: ScaipConfig) -> ScaipAnswer:
    """Return the SIP response that carries `answer` in the right place."""
    body = encode_answer(answer, root).decode()
    by_message = (
        root is Root.MRQ if config.answer_in == "dialect" else config.answer_in == "message"
    )
    if by_message:
        follow_up = FollowUp(user=user, content_type=CONTENT_TYPE, body=body)
        return ScaipAnswer(code=202, reason="Accepted", follow_up=follow_up)
    content_type = CONTENT_TYPE if root is Root.MRQ else "application/xml"
    return ScaipAnswer(code=200, reason="OK", content_type=content_type, body=body)
