"""One PJSIP call: its callbacks copy what happened into plain reports and return.

Callbacks run on the SIP thread, or inside a command on the main thread. They may not block, wire
audio or drop objects: `sink` only enqueues for the event loop.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pjsua2 as pj

from drivers.api.legs import StreamStats

PJ_ETOOMANY = 70_010  # PJ_ERRNO_START_STATUS + 10: the fifth call of the registry's wheel


@dataclass(frozen=True, slots=True)
class StateReport:
    """PJSIP's invite state; `code` and `reason` are the last response's."""

    at: float
    state: int
    code: int
    reason: str
    talk_s: float


@dataclass(frozen=True, slots=True)
class MediaReport:
    """Media was negotiated anew."""

    at: float
    usable: bool
    held: bool


@dataclass(frozen=True, slots=True)
class DigitReport:
    """A DTMF digit arrived."""

    at: float
    digit: str


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


Report = StateReport | MediaReport | DigitReport | ReplyReport | StreamReport | ErrorReport
Sink = Callable[["PjCall", Report], None]

_WIRED = (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD)
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

    def onCallState(self, prm: pj.OnCallStateParam) -> None:  # noqa: ARG002, N802 pjsua2's name
        """Copy the invite state."""
        try:
            info = self.getInfo()
        except pj.Error as exc:
            self._sink(self, ErrorReport("onCallState", exc.reason))
            return
        talk_s = info.connectDuration.sec + info.connectDuration.msec / 1000
        self._sink(
            self,
            StateReport(time.time(), info.state, info.lastStatusCode, info.lastReason, talk_s),
        )

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:  # noqa: ARG002, N802 same
        """Copy the state of the first audio stream."""
        try:
            info = self.getInfo()  # a name, because its parts die with it
        except pj.Error as exc:
            self._sink(self, ErrorReport("onCallMediaState", exc.reason))
            return
        status = next((m.status for m in info.media if m.type == pj.PJMEDIA_TYPE_AUDIO), None)
        self._sink(self, MediaReport(time.time(), status in _WIRED, status in _HELD))

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
    defaults: bool = False,
) -> pj.CallOpParam:
    """Return PJSUA's bag of options for an operation on a call."""
    prm = pj.CallOpParam(defaults)
    if code:
        prm.statusCode = code
    if local_uri:
        prm.txOption.localUri = local_uri
    if headers:
        vector = pj.SipHeaderVector()
        for name, value in headers:
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            vector.append(header)
        prm.txOption.headers = vector
    return prm
