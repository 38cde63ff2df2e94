"""One PJSIP call: its callbacks copy what happened into plain reports and return.

Callbacks run on the SIP thread, or inside a command on the main thread. They may not block, wire
audio or drop objects: `sink` only enqueues for the event loop.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pjsua2 as pj

from drivers.api.legs import BodyPart, StreamStats
from drivers.sip.invitation import headers_of, transfer_target
from drivers.sip.outcomes import q850_of

PJ_ETOOMANY = 70_010  # PJ_ERRNO_START_STATUS + 10: the fifth call of the registry's wheel


@dataclass(frozen=True, slots=True)
class StateReport:
    """PJSIP's invite state; `code` and `reason` are the last response's."""

    at: float
    state: int
    code: int
    reason: str
    talk_s: float
    q850: int | None = None  # the cause that the peer gave with its BYE, CANCEL or refusal


@dataclass(frozen=True, slots=True)
class MediaReport:
    """Media was negotiated anew."""

    at: float
    usable: bool
    held: bool
    by_us: bool


@dataclass(frozen=True, slots=True)
class DigitReport:
    """A DTMF digit arrived."""

    at: float
    digit: str


@dataclass(frozen=True, slots=True)
class TransferReport:
    """The peer sent REFER, which was refused."""

    at: float
    target: str
    attended: bool


@dataclass(frozen=True, slots=True)
class ReplyReport:
    """The first response to our INVITE came, be it 100 Trying."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A stream is about to vanish: its final statistics."""

    stats: StreamStats


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """A callback failed inside PJSIP."""

    where: str
    detail: str


Report = (
    StateReport
    | MediaReport
    | DigitReport
    | TransferReport
    | ReplyReport
    | StreamReport
    | ErrorReport
)
Sink = Callable[["PjCall", Report], None]

# Held by us, the stream still sends: the party hears its prompt.
_WIRED = (
    pj.PJSUA_CALL_MEDIA_ACTIVE,
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD,
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD,
)
_HELD = (pj.PJSUA_CALL_MEDIA_REMOTE_HOLD, pj.PJSUA_CALL_MEDIA_LOCAL_HOLD)


class PjCall(pj.Call):  # type: ignore[misc] # pjsua2 has no stubs
    """A call that reports to `sink`. Keep a reference until it is gone: losing it hangs up."""

    def __init__(self, account: pj.Account, sink: Sink, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        pj.Call.__init__(self, account, call_id)
        self._sink = sink
        self._heard = False

    def stats(self) -> StreamStats:
        """Return the statistics of the living audio stream; raises pj.Error when there is none."""
        stat, info = (
            self.getStreamStat(0),
            self.getStreamInfo(0),
        )  # names: their parts die with them
        rtcp = stat.rtcp
        return StreamStats(
            codec=info.codecName,
            rx_packets=rtcp.rxStat.pkt,
            rx_lost=rtcp.rxStat.loss,
            tx_packets=rtcp.txStat.pkt,
            tx_lost=rtcp.txStat.loss,
            jitter_ms=rtcp.rxStat.jitterUsec.mean / 1000,
            rtt_ms=rtcp.rttUsec.mean / 1000,
        )

    def onCallState(self, prm: pj.OnCallStateParam) -> None:  # noqa: N802 pjsua2's name
        """Copy the invite state."""
        try:
            info = self.getInfo()
        except pj.Error as exc:
            self._sink(self, ErrorReport("onCallState", exc.reason))
            return
        talk_s = info.connectDuration.sec + info.connectDuration.msec / 1000
        gone = info.state == pj.PJSIP_INV_STATE_DISCONNECTED
        cause = q850_of(headers_of(_received(prm)).get("reason", ())) if gone else None
        code, reason = info.lastStatusCode, info.lastReason
        self._sink(self, StateReport(time.time(), info.state, code, reason, talk_s, cause))

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:  # noqa: ARG002, N802 same
        """Copy the state of the first audio stream."""
        try:
            info = self.getInfo()  # a name, because its parts die with it
        except pj.Error as exc:
            self._sink(self, ErrorReport("onCallMediaState", exc.reason))
            return
        status = next((m.status for m in info.media if m.type == pj.PJMEDIA_TYPE_AUDIO), None)
        by_us = status == pj.PJSUA_CALL_MEDIA_LOCAL_HOLD
        self._sink(self, MediaReport(time.time(), status in _WIRED, status in _HELD, by_us))

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:  # noqa: N802 same
        """Copy the digit."""
        self._sink(self, DigitReport(time.time(), prm.digit))

    def onStreamDestroyed(self, prm: pj.OnStreamDestroyedParam) -> None:  # noqa: ARG002, N802 same
        """Copy the last statistics: the next stream starts at zero."""
        try:
            stats = self.stats()
        except pj.Error as exc:
            self._sink(self, ErrorReport("onStreamDestroyed", exc.reason))
            return
        self._sink(self, StreamReport(stats))

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:  # noqa: N802 same
        """Notice the first response: 100 Trying makes no other callback."""
        if self._heard or prm.e.type != pj.PJSIP_EVENT_TSX_STATE:
            return
        change = prm.e.body.tsxState
        if change.type == pj.PJSIP_EVENT_RX_MSG:
            self._heard = True
            self._sink(self, ReplyReport())

    def onCallTransferRequest(  # noqa: N802 same
        self, prm: pj.OnCallTransferRequestParam
    ) -> None:
        """Refuse REFER: accepted, PJSUA would dial with this object and crash at the end of one."""
        prm.statusCode = pj.PJSIP_SC_DECLINE
        target, attended = transfer_target(prm.dstUri)
        self._sink(self, TransferReport(time.time(), target, attended))

    def onCallReplaceRequest(  # noqa: N802 same
        self, prm: pj.OnCallReplaceRequestParam
    ) -> None:
        """Refuse Replaces for the same reason."""
        prm.statusCode = pj.PJSIP_SC_DECLINE


def parameters(
    *,
    code: int = 0,
    headers: Sequence[tuple[str, str]] = (),
    local_uri: str = "",
    parts: Sequence[BodyPart] = (),
    defaults: bool = False,
) -> pj.CallOpParam:
    """Return PJSUA's bag of options for an operation on a call."""
    prm = pj.CallOpParam(defaults)
    if code:
        prm.statusCode = code
    if local_uri:
        prm.txOption.localUri = local_uri
    if headers:
        prm.txOption.headers = _header_vector(headers)
    if parts:
        prm.txOption.multipartContentType = _media_type("multipart/mixed")
        prm.txOption.multipartParts = _part_vector(parts)
    return prm


def _header_vector(headers: Sequence[tuple[str, str]]) -> pj.SipHeaderVector:
    vector = pj.SipHeaderVector()
    for name, value in headers:
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        vector.append(header)
    return vector


def _part_vector(parts: Sequence[BodyPart]) -> pj.SipMultipartPartVector:
    vector = pj.SipMultipartPartVector()
    for part in parts:
        made = pj.SipMultipartPart()
        made.contentType = _media_type(part.content_type)
        made.body = part.data
        if part.content_id:
            made.headers = _header_vector([("Content-ID", f"<{part.content_id}>")])
        vector.append(made)
    return vector


def _media_type(name: str) -> pj.SipMediaType:
    made = pj.SipMediaType()
    made.type, _, made.subType = name.partition("/")
    return made


def _received(prm: pj.OnCallStateParam) -> str:
    """Return the message that changed the state; empty if it was none that came in."""
    event = prm.e
    if event.type == pj.PJSIP_EVENT_RX_MSG:
        return str(event.body.rxMsg.rdata.wholeMsg)
    if event.type != pj.PJSIP_EVENT_TSX_STATE:
        return ""
    change = event.body.tsxState
    return str(change.src.rdata.wholeMsg) if change.type == pj.PJSIP_EVENT_RX_MSG else ""
