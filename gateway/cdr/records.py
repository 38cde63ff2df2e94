"""Call detail records, made from what the timeline's tables keep of calls and legs. Pure.

Ids, times and numbers; no name, no number of a person, no text of a peer.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from drivers.api.legs import StreamStats
from gateway.cdr.causes import ended_by, q850
from gateway.incidents.model import CallRecord, Incident, LegRecord, Scalar

# An estimate of the mean opinion score (ITU-T G.107, 1 to 4.5) from a leg's statistics, or None.
Mos = Callable[[StreamStats], float | None]

CALLER_PREFIX: Final = "caller-"  # legs that came to us are named so (drivers.api.legs.LegOffered)


class LegCdr(msgspec.Struct, frozen=True, kw_only=True):
    """One leg. Times are Unix seconds, losses per cent, `mos` of the worse direction."""

    leg: str
    role: str
    party: str
    direction: str  # "in": came to us, "out": we dialled
    started_at: float
    answered_at: float | None
    ended_at: float
    setup_s: float | None  # from the invitation to the answer
    talk_s: float
    outcome: str
    code: int | None
    q850: int | None
    ended_by: str
    codec: str
    rx_packets: int
    tx_packets: int
    rx_loss_pct: float | None
    tx_loss_pct: float | None
    jitter_ms: float
    rtt_ms: float
    mos: float | None


class CallCdr(msgspec.Struct, frozen=True, kw_only=True):
    """One call with its legs, oldest first."""

    call: str
    incident: str
    terminal: str
    kind: str  # the key or alarm
    flow: str
    direction: str  # "in" when the terminal called
    started_at: float
    answered_at: float | None  # the first target's answer
    ended_at: float | None
    setup_s: float | None  # until that answer
    talk_s: float  # while terminal and a target were both there
    outcome: str | None
    legs: list[LegCdr]


def no_mos(_: StreamStats) -> None:
    """Estimate nothing."""


def call_cdr(
    call: CallRecord, legs: Iterable[LegRecord], *, terminal: str, kind: str, mos: Mos = no_mos
) -> CallCdr:
    """Return the record of `call`; legs of other calls are left out."""
    own = sorted((leg for leg in legs if leg.call == call.id), key=lambda leg: leg.started_at)
    made = [leg_cdr(leg, mos) for leg in own]
    answers = [leg.answered_at for leg in own if leg.role == "target" and leg.answered_at]
    answered_at = min(answers, default=None)
    return CallCdr(
        call=call.id,
        incident=call.incident,
        terminal=terminal,
        kind=kind,
        flow=call.flow,
        direction="in" if any(leg.direction == "in" for leg in made) else "out",
        started_at=call.started_at,
        answered_at=answered_at,
        ended_at=call.ended_at,
        setup_s=_span(call.started_at, answered_at),
        talk_s=talk_s(own),
        outcome=call.outcome,
        legs=made,
    )


def incident_cdrs(
    incident: Incident, calls: Iterable[CallRecord], legs: Sequence[LegRecord], mos: Mos = no_mos
) -> list[CallCdr]:
    """Return the records of all calls of an incident."""
    return [
        call_cdr(call, legs, terminal=incident.terminal, kind=incident.kind, mos=mos)
        for call in calls
    ]


def leg_cdr(leg: LegRecord, mos: Mos = no_mos) -> LegCdr:
    """Return the record of a leg."""
    stats = stats_of(leg.stats)
    name = leg.id.removeprefix(f"{leg.call}.")
    estimate = mos(stats) if stats.rx_packets or stats.tx_packets else None
    return LegCdr(
        leg=leg.id,
        role=leg.role,
        party=leg.party,
        direction="in" if name.startswith(CALLER_PREFIX) else "out",
        started_at=leg.started_at,
        answered_at=leg.answered_at,
        ended_at=leg.ended_at,
        setup_s=_span(leg.started_at, leg.answered_at),
        talk_s=_span(leg.answered_at, leg.ended_at) or 0.0,
        outcome=leg.outcome,
        code=leg.code,
        q850=q850(leg.outcome, leg.code, leg.reason),
        ended_by=ended_by(leg.outcome, leg.code, leg.stats.get("by_us")).value,
        codec=stats.codec,
        rx_packets=stats.rx_packets,
        tx_packets=stats.tx_packets,
        rx_loss_pct=loss_pct(stats.rx_packets, stats.rx_lost),
        tx_loss_pct=loss_pct(stats.tx_packets, stats.tx_lost, sent=True),
        jitter_ms=round(stats.jitter_ms, 1),
        rtt_ms=round(stats.rtt_ms, 1),
        mos=None if estimate is None else round(estimate, 2),
    )


def stats_of(kept: Mapping[str, Scalar]) -> StreamStats:
    """Return the statistics that were kept; what another version wrote differently is 0."""

    def number(name: str) -> float:
        value = kept.get(name)
        plain = isinstance(value, (int, float)) and math.isfinite(value)
        return max(0.0, float(value)) if plain and value is not None else 0.0

    codec = kept.get("codec")
    return StreamStats(
        codec=codec if isinstance(codec, str) else "",
        rx_packets=int(number("rx_packets")),
        rx_lost=int(number("rx_lost")),
        tx_packets=int(number("tx_packets")),
        tx_lost=int(number("tx_lost")),
        jitter_ms=number("jitter_ms"),
        rtt_ms=number("rtt_ms"),
    )


def loss_pct(packets: int, lost: int, *, sent: bool = False) -> float | None:
    """Return the loss in per cent; `packets` arrived, or were sent. None without packets."""
    expected = packets if sent else packets + lost
    return round(min(100.0, 100.0 * lost / expected), 2) if packets else None


def talk_s(legs: Iterable[LegRecord]) -> float:
    """Return for how many seconds the terminal and at least one other party were both answered."""
    steps: list[tuple[float, bool, int]] = []
    for leg in legs:
        if leg.answered_at is not None and leg.ended_at > leg.answered_at:
            steps += [
                (leg.answered_at, leg.role == "terminal", 1),
                (leg.ended_at, leg.role == "terminal", -1),
            ]
    there = {True: 0, False: 0}
    total = since = 0.0
    for at, is_terminal, change in sorted(steps):
        if there[True] and there[False]:
            total += at - since
        there[is_terminal] += change
        since = at
    return round(total, 3)


def _span(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else round(max(0.0, end - begin), 3)
