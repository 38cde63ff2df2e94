"""How a conversation sounded: an estimated MOS from what RTCP counted. Pure.

The E-model of ITU-T G.107 (06/2015) with all parameters but delay, loss and codec at their default:
R = 93.2 - Id - Ie,eff. Id in the short form of Cole and Rosenbluth, "Voice over IP performance
monitoring" (ACM CCR 31(2), 2001), which follows G.107 within one point of R up to 400 ms.
Losses are taken as independent (BurstR = 1), since RTCP does not tell their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.api.legs import StreamStats

R_DEFAULT = 93.2  # G.107 §7.7, defaults of table 2
MOS_MIN, MOS_MAX = 1.0, 4.5  # G.107 annex B
PACKET_MS = 20.0  # packetisation of all our codecs
# PJMEDIA's adaptive jitter buffer settles at about two mean jitters beyond one frame.
JITTERS_BUFFERED = 2.0
DELAY_KNEE_MS = 177.3  # Cole and Rosenbluth, equation 4


@dataclass(frozen=True, slots=True)
class CodecImpairment:
    """G.113 (11/2007) appendix I: equipment impairment and robustness against loss."""

    ie: float
    bpl: float


# G.711 with packet loss concealment (PJMEDIA has one); the others have it built in.
CODECS: Mapping[str, CodecImpairment] = {
    "PCMA": CodecImpairment(ie=0.0, bpl=25.1),
    "PCMU": CodecImpairment(ie=0.0, bpl=25.1),
    "GSM": CodecImpairment(ie=26.0, bpl=43.0),
    "G729": CodecImpairment(ie=11.0, bpl=19.0),
    "ILBC": CodecImpairment(ie=11.0, bpl=32.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """An estimate for one direction. Per cent, milliseconds."""

    r: float
    mos: float
    loss: float
    delay_ms: float


def quality_heard_by_us(stats: StreamStats) -> Quality | None:
    """Return how the party sounded at our end; None without packets or for an unknown codec."""
    return _quality(stats, packets=stats.rx_packets, lost=stats.rx_lost)


def quality_heard_by_party(stats: StreamStats) -> Quality | None:
    """Return how we sounded at the party's end, as its RTCP reports tell; None as above.

    What was lost is part of `tx_packets`; the jitter there is taken to be like ours.
    """
    arrived = max(0, stats.tx_packets - stats.tx_lost)
    return _quality(stats, packets=arrived, lost=stats.tx_lost)


def estimate(*, codec: str, loss: float, delay_ms: float) -> float | None:
    """Return the rating R (0 to 100) for a loss in per cent and a mouth-to-ear delay.

    None for a codec without published values.
    """
    impairment = CODECS.get(codec.upper())
    if impairment is None:
        return None
    loss = min(100.0, max(0.0, loss))
    effective = impairment.ie + (95.0 - impairment.ie) * loss / (loss + impairment.bpl)
    return min(R_DEFAULT, max(0.0, R_DEFAULT - delay_impairment(delay_ms) - effective))


def delay_impairment(delay_ms: float) -> float:
    """Return Id for a one-way delay."""
    delay_ms = max(0.0, delay_ms)
    return 0.024 * delay_ms + 0.11 * max(0.0, delay_ms - DELAY_KNEE_MS)


def mos_of(r: float) -> float:
    """Return the mean opinion score of a rating (G.107 annex B): 1 (bad) to 4.5."""
    if r <= 0:
        return MOS_MIN
    if r >= 100:
        return MOS_MAX
    # The cubic dips below 1 for ratings under 6.5.
    return max(MOS_MIN, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def _quality(stats: StreamStats, *, packets: int, lost: int) -> Quality | None:
    if packets + lost <= 0 or packets < 0 or lost < 0:
        return None
    loss = 100.0 * lost / (packets + lost)
    delay_ms = PACKET_MS + stats.rtt_ms / 2 + JITTERS_BUFFERED * stats.jitter_ms
    r = estimate(codec=stats.codec.split("/")[0], loss=loss, delay_ms=delay_ms)
    return None if r is None else Quality(r=r, mos=mos_of(r), loss=loss, delay_ms=delay_ms)
