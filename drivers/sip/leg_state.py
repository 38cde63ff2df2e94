"""The life of a leg as data: one transition table, and the sums that outlive a stream. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from drivers.api.ids import CallId, LegId
from drivers.api.legs import LegEnded, LegOutcome, LegSnapshot, LegState, StreamStats
from drivers.sip.outcomes import Ending, inbound_outcome_of, outcome_of
from protocols.text import clean_text


class Signal(StrEnum):
    """What can happen to a leg."""

    ALERTING = "alerting"
    PROGRESSED = "progressed"  # a caller hears us before the answer
    ACCEPTED = "accepted"  # we answered a caller
    CONFIRMED = "confirmed"  # the far end answered; from a caller: the ACK
    GONE = "gone"  # the stack says so
    GIVEN_UP = "given_up"  # we hung up and the far end does not confirm: we do not wait for it


_S, _N = LegState, Signal
# ENDED swallows what the stack still says about a leg that was given up.
TRANSITIONS: Mapping[tuple[LegState, Signal], LegState] = {
    (_S.OFFERED, _N.ALERTING): _S.OFFERED,  # our own 180
    (_S.OFFERED, _N.PROGRESSED): _S.EARLY,
    (_S.OFFERED, _N.ACCEPTED): _S.ANSWERED,
    (_S.OFFERED, _N.GONE): _S.ENDED,
    (_S.OFFERED, _N.GIVEN_UP): _S.ENDED,
    (_S.EARLY, _N.ALERTING): _S.EARLY,
    (_S.EARLY, _N.PROGRESSED): _S.EARLY,
    (_S.EARLY, _N.ACCEPTED): _S.ANSWERED,
    (_S.EARLY, _N.GONE): _S.ENDED,
    (_S.EARLY, _N.GIVEN_UP): _S.ENDED,
    (_S.DIALLING, _N.ALERTING): _S.RINGING,
    (_S.DIALLING, _N.CONFIRMED): _S.ANSWERED,
    (_S.DIALLING, _N.GONE): _S.ENDED,
    (_S.DIALLING, _N.GIVEN_UP): _S.ENDED,
    (_S.RINGING, _N.ALERTING): _S.RINGING,  # 180 then 183, or a forked second 180
    (_S.RINGING, _N.CONFIRMED): _S.ANSWERED,
    (_S.RINGING, _N.GONE): _S.ENDED,
    (_S.RINGING, _N.GIVEN_UP): _S.ENDED,
    (_S.ANSWERED, _N.ACCEPTED): _S.ANSWERED,  # PJSIP's report of the answer we gave
    (_S.ANSWERED, _N.CONFIRMED): _S.ANSWERED,  # the caller's ACK
    (_S.ANSWERED, _N.GONE): _S.ENDED,
    (_S.ANSWERED, _N.GIVEN_UP): _S.ENDED,
    (_S.ENDED, _N.ALERTING): _S.ENDED,
    (_S.ENDED, _N.ACCEPTED): _S.ENDED,
    (_S.ENDED, _N.CONFIRMED): _S.ENDED,
    (_S.ENDED, _N.GONE): _S.ENDED,
}


class UndeclaredTransition(AssertionError):
    """A signal that the table does not foresee in that state: a defect of ours."""


def step(state: LegState, signal: Signal) -> LegState:
    """Return the state after `signal`; raises UndeclaredTransition."""
    try:
        return TRANSITIONS[state, signal]
    except KeyError as exc:
        raise UndeclaredTransition(f"{signal} in {state}") from exc


@dataclass(slots=True, kw_only=True)
class LegRecord:
    """What is known about one leg."""

    call: CallId
    leg: LegId
    uri: str
    state: LegState = LegState.DIALLING
    rang: bool = False
    answered: bool = False
    direction: Literal["in", "out"] = "out"
    held: bool = False
    held_by_us: bool = False  # what is wanted; the stream follows when the peer agrees
    media: bool = False  # there is a stream that can be wired
    ending: Ending = Ending.PEER
    verdict: LegOutcome | None = None  # with Ending.REJECTION: what the caller was told
    q850: int | None = None
    past: StreamStats = field(default_factory=StreamStats)  # streams that re-INVITEs replaced

    def apply(self, signal: Signal) -> bool:
        """Take a signal; tell whether the state changed."""
        before, self.state = self.state, step(self.state, signal)
        self.rang = self.rang or signal is Signal.ALERTING
        if self.state is LegState.ANSWERED and self.ending is Ending.PEER:
            self.answered = True  # an answer that crosses our CANCEL is hung up and does not count
        return self.state is not before

    def add(self, stream: StreamStats) -> None:
        """Add the final statistics of a stream that is gone."""
        self.past = total(self.past, stream)

    @property
    def hears(self) -> bool:
        """Tell whether the party can be played a prompt."""
        return self.state in {LegState.EARLY, LegState.ANSWERED}

    def snapshot(self) -> LegSnapshot:
        """Return what an attaching daemon is told."""
        return LegSnapshot(
            call=self.call,
            leg=self.leg,
            state=self.state,
            uri=self.uri,
            held=self.held,
            held_by_us=self.held_by_us,
            direction=self.direction,
        )

    def ended(self, *, at: float, code: int | None, reason: str, talk_s: float) -> LegEnded:
        """Return the leg's last event."""
        return LegEnded(
            call=self.call,
            leg=self.leg,
            at=at,
            outcome=self._outcome(code),
            code=code,
            reason=clean_text(reason),
            by_us=self.ending is not Ending.PEER,
            talk_s=talk_s if self.answered else 0.0,
            stats=self.past,
            q850=self.q850,
        )

    def _outcome(self, code: int | None) -> LegOutcome:
        if self.direction == "out" or self.answered:
            return outcome_of(code, answered=self.answered, rang=self.rang, ending=self.ending)
        return inbound_outcome_of(code, ending=self.ending, verdict=self.verdict)


@dataclass(slots=True)
class Reception:
    """Whether RTP still arrives, judged by the packet counter of one stream."""

    receiving: bool = True
    _packets: int = -1
    _grew_at: float = 0.0

    def restart(self) -> None:
        """Begin the wait anew: nothing is expected at the moment."""
        self._packets = -1

    def changed(self, packets: int, now: float, loss_s: float) -> bool:
        """Take a look at the counter; tell whether `receiving` became another."""
        if packets != self._packets:
            self._packets, self._grew_at = packets, now
        before, self.receiving = self.receiving, now - self._grew_at < loss_s
        return self.receiving is not before


def total(past: StreamStats, now: StreamStats) -> StreamStats:
    """Return the sum of packets; jitter and round trip are the newer stream's, if it had any."""
    return replace(
        now,
        codec=now.codec or past.codec,
        rx_packets=past.rx_packets + now.rx_packets,
        rx_lost=past.rx_lost + now.rx_lost,
        tx_packets=past.tx_packets + now.tx_packets,
        tx_lost=past.tx_lost + now.tx_lost,
        jitter_ms=now.jitter_ms or past.jitter_ms,
        rtt_ms=now.rtt_ms or past.rtt_ms,
    )
