"""The legs of one worker from INVITE to the last event.

Everything here runs on the event loop; PJSIP's reports arrive through `call_soon_threadsafe`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pjsua2 as pj
import structlog

from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    AnyLegEvent,
    DialRequest,
    LegAnswered,
    LegDialled,
    LegDigit,
    LegMedia,
    LegRinging,
    LegState,
    StreamStats,
)
from drivers.sip.call import (
    PJ_ETOOMANY,
    DigitReport,
    ErrorReport,
    MediaReport,
    PjCall,
    ReplyReport,
    Report,
    StateReport,
    StreamReport,
    parameters,
)
from drivers.sip.config import SipConfig
from drivers.sip.leg_state import LegRecord, Reception, Signal, total
from drivers.sip.outcomes import Ending, quoted, reason_header
from drivers.sip.stack import SipStack
from drivers.sip.wire import ErrorKind

log = structlog.get_logger()

# A far end that lives confirms a BYE or CANCEL in one round trip; a dead one would hold the flow
# for 32 s (RFC 3261 timers B and F).
GIVE_UP_S = 2.0
# The audio clock closes files and removes ports; it must outlive the last leg by some ticks.
REST_AFTER_S = 1.0
SLOT_TRIES, SLOT_WAIT_S = 10, 0.002

_SIGNALS: Mapping[int, Signal] = {
    pj.PJSIP_INV_STATE_EARLY: Signal.ALERTING,
    pj.PJSIP_INV_STATE_CONFIRMED: Signal.CONFIRMED,
    pj.PJSIP_INV_STATE_DISCONNECTED: Signal.GONE,
}


class CommandRefused(Exception):
    """A command was not carried out; `kind` is what the daemon is told."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(slots=True, kw_only=True)
class Leg:
    """A leg, its PJSIP call (the only reference to it) and its timers."""

    record: LegRecord
    call: PjCall
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    reception: Reception = field(default_factory=Reception)
    heard: bool = False  # any response to the INVITE

    def cancel_timers(self) -> None:
        """Forget all deadlines."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    def audio(self) -> pj.AudioMedia | None:
        """Return the conference port of the moment; None while there is none to wire."""
        if not self.record.media or self.record.state is LegState.ENDED:
            return None
        try:
            return self.call.getAudioMedia(-1)
        except pj.Error as exc:  # the stream went; its report is on the way
            log.info("no_audio", leg=self.record.leg, detail=exc.reason)
            return None

    def statistics(self) -> StreamStats:
        """Return the sums over all streams, the living one included."""
        if not self.record.media:
            return self.record.past
        try:
            return total(self.record.past, self.call.stats())
        except pj.Error:  # the stream went; its final figures are on the way
            return self.record.past


class AudioWiring(Protocol):
    """What has to know when legs come, change and go."""

    def rewire(self) -> None:
        """Wire anew: some leg has other media, or may hear prompts now."""
        ...

    def forget(self, leg: LegId) -> None:
        """Take a leg out that is about to end."""
        ...


class Legs:
    """`emit` gets every event, in order, on the event loop. Set `wiring` before the first dial."""

    wiring: AudioWiring

    def __init__(
        self, config: SipConfig, stack: SipStack, emit: Callable[[AnyLegEvent], None]
    ) -> None:
        self._config = config
        self._stack = stack
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._legs: dict[LegId, Leg] = {}
        self._lingering: set[PjCall] = set()  # given up, but not yet gone: each takes a PJSIP slot
        self._all_gone = asyncio.Event()
        self.dialled = 0

    def __iter__(self) -> Iterator[Leg]:
        """Iterate over the living legs, oldest first."""
        return iter(self._legs.values())

    @property
    def idle(self) -> bool:
        """Tell whether no leg lives, not even in PJSIP."""
        return not self._legs and not self._lingering

    def get(self, leg: LegId) -> Leg | None:
        """Return a living leg or None."""
        return self._legs.get(leg)

    def living(self, leg: LegId) -> Leg:
        """Return a living leg; raises CommandRefused (unknown_leg)."""
        if leg not in self._legs:
            raise CommandRefused(ErrorKind.UNKNOWN_LEG, f"no leg {leg}")
        return self._legs[leg]

    def dial(self, call: CallId, request: DialRequest) -> None:
        """Send the INVITE. Raises CommandRefused."""
        name = request.leg
        if name in self._legs:
            raise CommandRefused(ErrorKind.REFUSED, f"leg {name} exists")
        if len(self._legs) + len(self._lingering) >= self._config.legs_per_worker:
            raise CommandRefused(ErrorKind.NO_CAPACITY, "all legs are in use")
        prm = self._invitation(request)
        self._stack.wake()
        leg = Leg(
            record=LegRecord(call=call, leg=name, uri=request.uri),
            call=PjCall(self._stack.account, self._sink(name)),
        )
        self._legs[name] = leg  # before the INVITE, whose reports look it up
        at = time.time()
        try:
            _make_call(leg.call, request.uri, prm)
        except pj.Error as exc:
            del self._legs[name]
            self._rest_later()
            raise refusal(exc) from exc
        self.dialled += 1
        self._emit(LegDialled(call=call, leg=name, at=at))
        self._arm(leg, self._config.no_reply_s, self._on_no_reply)
        self._arm(leg, request.ring_s, self._on_ring_timeout)

    def end(self, leg: Leg, ending: Ending, reason: str) -> None:
        """Hang up; the last event comes when the far end confirms, or soon without it."""
        if leg.record.ending is not Ending.PEER or leg.record.state is LegState.ENDED:
            return
        leg.record.ending = ending
        leg.cancel_timers()
        # Before any reply there is no CANCEL to confirm: PJSIP sends it should one come.
        self._arm(leg, GIVE_UP_S if leg.heard else 0, self._give_up)
        _hang_up(leg.call, answered=leg.record.answered, reason=reason)

    async def close(self, wait_s: float) -> None:
        """Hang up all legs, wait up to `wait_s` until they are gone, let go of every call."""
        for leg in list(self):
            self.end(leg, Ending.COMMAND, "")
        if not self.idle:
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), wait_s)
        for leg in list(self):
            self._give_up(leg)
        self._lingering.clear()

    def _invitation(self, request: DialRequest) -> pj.CallOpParam:
        if not self._stack.valid_uri(request.uri):
            raise CommandRefused(ErrorKind.REFUSED, f"no SIP URI: {request.uri!r:.100}")
        check_headers(request.headers)
        local = ""
        if request.display_name:
            local = f"{quoted(request.display_name)} <{self._config.identity}>"
        return parameters(headers=request.headers, local_uri=local, defaults=True)

    def _sink(self, name: LegId) -> Callable[[PjCall, Report], None]:
        return lambda call, report: self._post(name, call, report)

    def _post(self, name: LegId, call: PjCall, report: Report) -> None:
        self._loop.call_soon_threadsafe(self._on_report, name, call, report)

    def _on_report(self, name: LegId, call: PjCall, report: Report) -> None:
        leg = self._legs.get(name)
        if leg is None or leg.call is not call:
            self._on_lingering(call, report)
            return
        match report:
            case StateReport():
                self._on_state(leg, report)
            case MediaReport():
                self._on_media(leg, report)
            case DigitReport():
                who = leg.record
                self._emit(LegDigit(call=who.call, leg=name, at=report.at, digit=report.digit))
            case ReplyReport():
                leg.heard = True
            case StreamReport():
                leg.record.add(report.stats)
            case ErrorReport():
                log.info("callback_failed", leg=name, where=report.where, detail=report.detail)

    def _on_lingering(self, call: PjCall, report: Report) -> None:
        if not isinstance(report, StateReport) or call not in self._lingering:
            return
        if report.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._lingering.discard(call)
            self._rest_later()
        elif report.state == pj.PJSIP_INV_STATE_CONFIRMED:
            _hang_up(call, answered=True, reason="")  # the 200 crossed our CANCEL

    def _on_state(self, leg: Leg, report: StateReport) -> None:
        signal = _SIGNALS.get(report.state)
        if signal is None or not leg.record.apply(signal):
            return
        record = leg.record
        if record.state is LegState.RINGING:
            self._emit(LegRinging(call=record.call, leg=record.leg, at=report.at))
        elif record.state is LegState.ANSWERED:
            self._on_answer(leg, report.at)
        else:
            # One turn later, so that the statistics of the last stream, reported with this, count.
            self._loop.call_soon(self._ended, leg, report)

    def _on_answer(self, leg: Leg, at: float) -> None:
        if leg.record.ending is not Ending.PEER:  # the 200 crossed our CANCEL
            _hang_up(leg.call, answered=True, reason="")
            return
        leg.cancel_timers()
        self._emit(LegAnswered(call=leg.record.call, leg=leg.record.leg, at=at))
        self.wiring.rewire()

    def _on_media(self, leg: Leg, report: MediaReport) -> None:
        record = leg.record
        if not (report.usable or report.held or record.media):
            return  # nothing was, nothing is
        record.media, record.held = report.usable, report.held
        leg.reception = Reception()
        active = report.usable and not report.held
        self._emit(
            LegMedia(
                call=record.call, leg=record.leg, at=report.at, active=active, held=report.held
            )
        )
        self.wiring.rewire()

    def _on_no_reply(self, leg: Leg) -> None:
        if not leg.heard:
            self.end(leg, Ending.NO_REPLY, "no reply")

    def _on_ring_timeout(self, leg: Leg) -> None:
        self.end(leg, Ending.RING_TIMEOUT, "no answer")

    def _give_up(self, leg: Leg) -> None:
        if leg.record.apply(Signal.GIVEN_UP):
            self._lingering.add(leg.call)
            self._ended(leg, StateReport(time.time(), -1, 0, "", 0.0))

    def _ended(self, leg: Leg, report: StateReport) -> None:
        record = leg.record
        leg.cancel_timers()
        del self._legs[record.leg]
        self.wiring.forget(record.leg)
        self._emit(
            record.ended(
                at=report.at, code=report.code or None, reason=report.reason, talk_s=report.talk_s
            )
        )
        self._rest_later()

    def _arm(self, leg: Leg, after_s: float, handler: Callable[[Leg], None]) -> None:
        leg.timers.append(self._loop.call_later(after_s, handler, leg))

    def _rest_later(self) -> None:
        if self.idle:
            self._all_gone.set()
            self._loop.call_later(REST_AFTER_S, self._rest_if_idle)

    def _rest_if_idle(self) -> None:
        if self.idle:
            self._stack.rest()


def refusal(exc: pj.Error) -> CommandRefused:
    """Return what the daemon is told about an error of PJSIP."""
    kind = ErrorKind.NO_CAPACITY if exc.status == PJ_ETOOMANY else ErrorKind.FAILED
    return CommandRefused(kind, exc.reason)


def check_headers(headers: Sequence[tuple[str, str]]) -> None:
    """Raise CommandRefused for a header that would break the message (line ends, bad names)."""
    for name, value in headers:
        plain = name.isascii() and name.replace("-", "").isalnum()
        if not plain or not value.isprintable():
            raise CommandRefused(ErrorKind.REFUSED, f"bad header {name!r:.40}")


def _make_call(call: PjCall, uri: str, prm: pj.CallOpParam) -> None:
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


def _hang_up(call: PjCall, *, answered: bool, reason: str) -> None:
    headers = [("Reason", reason_header(reason, answered=answered))] if reason else ()
    try:
        call.hangup(parameters(headers=headers))
    except pj.Error as exc:  # it went by itself at the same moment: its report is on the way
        log.info("hang_up_failed", detail=exc.reason)
