"""What a worker sends for a leg: the INVITE, answers, the end; checked before PJSIP sees it."""

import time
from collections.abc import Sequence

import pjsua2 as pj
import structlog

from drivers.api.legs import BodyPart
from drivers.sip.call import PJ_ETOOMANY, PjCall, parameters
from drivers.sip.outcomes import reason_header
from drivers.sip.wire import ErrorKind

log = structlog.get_logger()

PJSIP_ESESSIONTERMINATED = 171_140  # PJSIP_ERRNO_START_PJSIP + 140
SLOT_TRIES, SLOT_WAIT_S = 10, 0.002
MAX_PARTS_SIZE = 32_768  # characters in all; an INVITE must fit into one UDP datagram of 64 KiB


class CommandRefused(Exception):
    """A command was not carried out; `kind` is what the daemon is told."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def refusal(exc: pj.Error) -> CommandRefused:
    """Return what the daemon is told about an error of PJSIP."""
    kinds = {
        PJ_ETOOMANY: ErrorKind.NO_CAPACITY,
        PJSIP_ESESSIONTERMINATED: ErrorKind.UNKNOWN_LEG,
    }
    return CommandRefused(kinds.get(exc.status, ErrorKind.FAILED), exc.reason)


def check_headers(headers: Sequence[tuple[str, str]]) -> None:
    """Raise CommandRefused for a header that would break the message (line ends, bad names)."""
    for name, value in headers:
        plain = name.isascii() and name.replace("-", "").isalnum()
        if not plain or not value.isprintable():
            raise CommandRefused(ErrorKind.REFUSED, f"bad header {name!r:.40}")


def check_parts(parts: Sequence[BodyPart]) -> None:
    """Raise CommandRefused for body parts that would break the message or not fit."""
    if sum(len(part.data) for part in parts) > MAX_PARTS_SIZE:
        raise CommandRefused(ErrorKind.REFUSED, "body parts too large")
    for part in parts:
        kind, _, subtype = part.content_type.partition("/")
        named = part.content_id.isprintable() and not set(part.content_id) & set("<> ")
        if not (kind and subtype and named and part.content_type.isprintable()):
            raise CommandRefused(ErrorKind.REFUSED, f"bad body part {part.content_type!r:.40}")


def make_call(call: PjCall, uri: str, prm: pj.CallOpParam) -> None:
    """Send the INVITE; we counted a free slot, but PJSIP frees it just after the callback."""
    for _ in range(SLOT_TRIES):
        try:
            call.makeCall(uri, prm)
        except pj.Error as exc:
            if exc.status != PJ_ETOOMANY:
                raise
            time.sleep(SLOT_WAIT_S)  # lets the SIP thread finish; audio does not pass through us
        else:
            return
    call.makeCall(uri, prm)


def reply(call: PjCall, code: int) -> None:
    """Answer an INVITE; raises CommandRefused (unknown_leg) when the caller has left."""
    try:
        call.answer(parameters(code=code))
    except pj.Error as exc:
        raise refusal(exc) from exc


def refuse(call: PjCall, code: int, *, reason: str = "", retry_after_s: int = 0) -> None:
    """Refuse an INVITE with a final response."""
    headers = [("Reason", reason_header(reason, answered=False))] if reason else []
    if retry_after_s:
        headers.append(("Retry-After", str(retry_after_s)))
    _end(call, parameters(code=code, headers=headers))


def hang_up(call: PjCall, *, answered: bool, reason: str = "", cause: int | None = None) -> None:
    """Send BYE, or CANCEL for an INVITE of ours, with a Reason if there is one."""
    told = bool(reason) or cause is not None
    headers = [("Reason", reason_header(reason, answered=answered, cause=cause))] if told else ()
    _end(call, parameters(headers=headers))


def hold(call: PjCall) -> None:
    """Send a re-INVITE that only sends; raises CommandRefused."""
    try:
        call.setHold(parameters())
    except pj.Error as exc:
        raise refusal(exc) from exc


def unhold(call: PjCall) -> None:
    """Send a re-INVITE that takes the hold back; raises CommandRefused."""
    prm = parameters(defaults=True)
    prm.opt.flag = pj.PJSUA_CALL_UNHOLD
    try:
        call.reinvite(prm)
    except pj.Error as exc:
        raise refusal(exc) from exc


def send_digits(call: PjCall, digits: str) -> None:
    """Send RFC 4733 events, or INFO to a peer that did not offer these; raises CommandRefused."""
    prm = pj.CallSendDtmfParam()
    prm.digits = digits
    prm.method = pj.PJSUA_DTMF_METHOD_RFC2833
    try:
        try:
            call.sendDtmf(prm)
        except pj.Error as exc:
            log.info("digits_by_info", detail=exc.reason)
            prm.method = pj.PJSUA_DTMF_METHOD_SIP_INFO
            call.sendDtmf(prm)
    except pj.Error as exc:
        raise refusal(exc) from exc


def _end(call: PjCall, prm: pj.CallOpParam) -> None:
    try:
        call.hangup(prm)
    except pj.Error as exc:  # it went by itself at the same moment: its report is on the way
        log.info("hang_up_failed", detail=exc.reason)
