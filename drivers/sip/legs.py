"""The legs of one worker from INVITE to the last event.

Everything here runs on the event loop; PJSIP's reports arrive through `call_soon_threadsafe`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
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
    LegOffered,
    LegOutcome,
    LegRinging,
    LegState,
    LegTransferAsked,
    StreamStats,
)
from drivers.sip.call import (
    DigitReport,
    ErrorReport,
    MediaReport,
    PjCall,
    ReplyReport,
    Report,
    StateReport,
    StreamReport,
    TransferReport,
    parameters,
)
from drivers.sip.call_book import CallBook
from drivers.sip.config import SipConfig
from drivers.sip.invitation import Invitation
from drivers.sip.leg_state import LegRecord, Reception, Signal, total
from drivers.sip.outcomes import REJECTIONS, UNANSWERED, Ending, quoted
from drivers.sip.sending import (
    CommandRefused,
    check_headers,
    check_parts,
    hang_up,
    make_call,
    refusal,
    refuse,
    reply,
)
from drivers.sip.stack import SipStack
from drivers.sip.wire import ErrorKind

log = structlog.get_logger()

# A far end that lives confirms a BYE or CANCEL in one round trip; a dead one would hold the flow
# for 32 s (RFC 3261 timers B and F).
GIVE_UP_S = 2.0
# The audio clock closes files and removes ports; it must outlive the last leg by some ticks.
REST_AFTER_S = 1.0

_SIGNALS: Mapping[int, Signal] = {
    pj.PJSIP_INV_STATE_EARLY: Signal.ALERTING,
    pj.PJSIP_INV_STATE_CONNECTING: Signal.ACCEPTED,
    pj.PJSIP_INV_STATE_CONFIRMED: Signal.CONFIRMED,
    pj.PJSIP_INV_STATE_DISCONNECTED: Signal.GONE,
}


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
        self._by_call: dict[PjCall, Leg] = {}
        self._lingering: set[PjCall] = set()  # given up, but not yet gone: each takes a PJSIP slot
        self._all_gone = asyncio.Event()
        self._book = CallBook()
        self.attended = False  # a daemon is there to decide about callers
        stack.on_invitation = self._on_invitation

    def __iter__(self) -> Iterator[Leg]:
        """Iterate over the living legs, oldest first."""
        return iter(self._legs.values())

    @property
    def calls_carried(self) -> int:
        """Return how many different calls were carried."""
        return self._book.carried

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
            call=PjCall(self._stack.account, self._post),
        )
        self._add(leg)  # before the INVITE, whose reports look it up
        at = time.time()
        try:
            make_call(leg.call, request.uri, prm)
        except pj.Error as exc:
            self._remove(leg)
            self._rest_later()
            raise refusal(exc) from exc
        self._book.enter(call)
        self._emit(LegDialled(call=call, leg=name, at=at))
        self._arm(leg, self._config.no_reply_s, self._on_no_reply)
        self._arm(leg, request.ring_s, self._on_ring_timeout)

    def progress(self, name: LegId) -> None:
        """Send 183 with SDP. Raises CommandRefused."""
        leg = self._caller(name)
        if leg.record.state is not LegState.OFFERED:
            return
        reply(leg.call, pj.PJSIP_SC_PROGRESS)
        leg.cancel_timers()
        leg.record.apply(Signal.PROGRESSED)
        self.wiring.rewire()

    def answer(self, name: LegId) -> None:
        """Send 200. Raises CommandRefused."""
        leg = self._caller(name)
        if leg.record.state is LegState.ANSWERED:
            return
        reply(leg.call, pj.PJSIP_SC_OK)
        leg.record.apply(Signal.ACCEPTED)
        self._on_answer(leg, time.time())
        self._arm(leg, self._config.ack_s, self._on_no_ack)

    def reject(self, name: LegId, outcome: LegOutcome, retry_after_s: int) -> None:
        """Refuse a caller; one who has left is no error. Raises CommandRefused."""
        if outcome not in REJECTIONS:
            raise CommandRefused(ErrorKind.REFUSED, f"{outcome} is no way to refuse")
        if name not in self._legs:
            return
        leg = self._legs[name]
        if leg.record.direction == "out" or leg.record.state is LegState.ANSWERED:
            raise CommandRefused(ErrorKind.REFUSED, f"{name} is no waiting caller")
        if self._begin_end(leg, Ending.REJECTION):
            leg.record.verdict = outcome
            refuse(leg.call, REJECTIONS[outcome], retry_after_s=retry_after_s)

    def end(self, leg: Leg, ending: Ending, reason: str = "", cause: int | None = None) -> None:
        """Hang up; the last event comes when the far end confirms, or soon without it."""
        if not self._begin_end(leg, ending):
            return
        if leg.record.direction == "in" and not leg.record.answered:
            refuse(leg.call, UNANSWERED[ending], reason=reason)
        else:
            hang_up(leg.call, answered=leg.record.answered, reason=reason, cause=cause)

    def turn_away(self) -> None:
        """Give back to the edge all callers who wait: nobody looks after them."""
        for leg in list(self):
            if leg.record.direction == "in" and not leg.record.answered:
                self.end(leg, Ending.DESERTED)

    async def close(self, wait_s: float) -> None:
        """Hang up all legs, wait up to `wait_s` until they are gone, let go of every call."""
        self.turn_away()
        for leg in list(self):
            self.end(leg, Ending.COMMAND)
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
        if request.from_uri and not self._stack.valid_uri(request.from_uri):
            raise CommandRefused(ErrorKind.REFUSED, f"no SIP URI: {request.from_uri!r:.100}")
        check_headers(request.headers)
        check_parts(request.parts)
        local = request.from_uri
        if request.display_name:
            local = f"{quoted(request.display_name)} <{local or self._config.identity}>"
        return parameters(
            headers=request.headers, local_uri=local, parts=request.parts, defaults=True
        )

    def _caller(self, name: LegId) -> Leg:
        """Return the leg of a caller who is there; raises CommandRefused."""
        leg = self.living(name)
        if leg.record.direction == "out":
            raise CommandRefused(ErrorKind.REFUSED, f"{name} is no caller's leg")
        if leg.record.ending is not Ending.PEER or leg.record.state is LegState.ENDED:
            raise CommandRefused(ErrorKind.UNKNOWN_LEG, f"{name} is ending")
        return leg

    def _begin_end(self, leg: Leg, ending: Ending) -> bool:
        """Note who ends the leg, once; tell whether it is still to be done."""
        if leg.record.ending is not Ending.PEER or leg.record.state is LegState.ENDED:
            return False
        leg.record.ending = ending
        leg.cancel_timers()
        # Before any reply there is no CANCEL to confirm: PJSIP sends it should one come.
        self._arm(leg, GIVE_UP_S if leg.heard else 0, self._give_up)
        return True

    def _on_invitation(self, call_id: int, invitation: Invitation, source: str) -> None:
        """Take a call in. On the SIP thread: PJSIP wants the object before this returns."""
        call = PjCall(self._stack.account, self._post, call_id)
        self._loop.call_soon_threadsafe(self._offer, call, invitation, source)

    def _offer(self, call: PjCall, invitation: Invitation, source: str) -> None:
        if not self.attended:
            self._lingering.add(call)
            refuse(call, UNANSWERED[Ending.DESERTED])
            return
        self._stack.wake()
        record = LegRecord(
            call=invitation.call,
            leg=self._book.caller(invitation.call),
            uri=invitation.from_uri,
            direction="in",
            state=LegState.OFFERED,
        )
        leg = Leg(record=record, call=call, heard=True)
        self._add(leg)
        self._emit(
            LegOffered(
                call=record.call,
                leg=record.leg,
                at=time.time(),
                from_user=invitation.from_user,
                from_name=invitation.from_name,
                to_user=invitation.to_user,
                source=source,
                headers=invitation.headers,
            )
        )
        self._arm(leg, self._config.decide_s, self._on_undecided)
        try:
            reply(call, pj.PJSIP_SC_RINGING)
        except CommandRefused as exc:  # the caller has left: the report is on the way
            log.info("caller_left_at_once", leg=record.leg, detail=str(exc))

    def _add(self, leg: Leg) -> None:
        self._legs[leg.record.leg] = self._by_call[leg.call] = leg

    def _remove(self, leg: Leg) -> None:
        del self._legs[leg.record.leg], self._by_call[leg.call]

    def _post(self, call: PjCall, report: Report) -> None:
        self._loop.call_soon_threadsafe(self._on_report, call, report)

    def _on_report(self, call: PjCall, report: Report) -> None:
        leg = self._by_call.get(call)
        if leg is None:
            self._on_lingering(call, report)
            return
        who = leg.record
        match report:
            case StateReport():
                self._on_state(leg, report)
            case MediaReport():
                self._on_media(leg, report)
            case DigitReport():
                self._emit(LegDigit(call=who.call, leg=who.leg, at=report.at, digit=report.digit))
            case TransferReport(at=at, target=target, attended=attended):
                self._emit(
                    LegTransferAsked(
                        call=who.call, leg=who.leg, at=at, target=target, attended=attended
                    )
                )
            case ReplyReport():
                leg.heard = True
            case StreamReport():
                leg.record.add(report.stats)
            case ErrorReport():
                log.info("callback_failed", leg=who.leg, where=report.where, detail=report.detail)

    def _on_lingering(self, call: PjCall, report: Report) -> None:
        if not isinstance(report, StateReport) or call not in self._lingering:
            return
        if report.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._lingering.discard(call)
            self._rest_later()
        elif report.state == pj.PJSIP_INV_STATE_CONFIRMED:
            hang_up(call, answered=True)  # the 200 crossed our CANCEL, or the ACK came late

    def _on_state(self, leg: Leg, report: StateReport) -> None:
        signal, record = _SIGNALS.get(report.state), leg.record
        if signal is None or (signal is Signal.ACCEPTED and record.direction == "out"):
            return
        if signal is Signal.CONFIRMED and record.direction == "in" and record.answered:
            leg.cancel_timers()  # the ACK
        if not record.apply(signal):
            return
        if record.state is LegState.RINGING:
            self._emit(LegRinging(call=record.call, leg=record.leg, at=report.at))
        elif record.state is LegState.ANSWERED:
            self._on_answer(leg, report.at)
        else:
            record.q850 = report.q850
            # One turn later, so that the statistics of the last stream, reported with this, count.
            self._loop.call_soon(self._ended, leg, report)

    def _on_answer(self, leg: Leg, at: float) -> None:
        if leg.record.ending is not Ending.PEER:  # the 200 crossed our CANCEL
            hang_up(leg.call, answered=True)
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
                call=record.call,
                leg=record.leg,
                at=report.at,
                active=active,
                held=report.held,
                by_us=report.by_us,
            )
        )
        self.wiring.rewire()

    def _on_no_reply(self, leg: Leg) -> None:
        if not leg.heard:
            self.end(leg, Ending.NO_REPLY, "no reply")

    def _on_ring_timeout(self, leg: Leg) -> None:
        self.end(leg, Ending.RING_TIMEOUT, "no answer")

    def _on_undecided(self, leg: Leg) -> None:
        log.warning("caller_undecided", leg=leg.record.leg)
        self.end(leg, Ending.UNDECIDED)

    def _on_no_ack(self, leg: Leg) -> None:
        self.end(leg, Ending.NO_ACK, "no ACK")

    def _give_up(self, leg: Leg) -> None:
        if leg.record.apply(Signal.GIVEN_UP):
            self._lingering.add(leg.call)
            self._ended(leg, StateReport(time.time(), -1, 0, "", 0.0))

    def _ended(self, leg: Leg, report: StateReport) -> None:
        record = leg.record
        leg.cancel_timers()
        self._remove(leg)
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
