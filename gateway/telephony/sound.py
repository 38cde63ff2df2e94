"""Telephone sound from studio sound: 8 kHz, even level, no clipping. Pure, no numpy needed."""

import math
from array import array
from collections.abc import Sequence
from operator import mul
from typing import Final

# −16 dBFS over the spoken part is what network announcements are set to; 1 dB is left below full
# scale for codecs that overshoot.
LEVEL_DBFS: Final = -16.0
CEILING_DBFS: Final = -1.0
# Below this a block is a pause and does not count for the level.
PAUSE_DBFS: Final = -45.0
BLOCK: Final = 40  # samples: 5 ms at 8 kHz, short enough that a limited peak is not heard as a dip

_HALF_TAPS = 48  # at the source's rate: stop band −50 dB from 0.5 × the target's rate
_BETA = 4.55  # Kaiser window for 50 dB
_PASS = 0.915  # middle of the slope, so that it ends at half the target's rate


def resample(samples: Sequence[int], source_hz: int, target_hz: int) -> list[float]:
    """Return `samples` at the lower rate `target_hz`, low-passed (Kaiser-windowed sinc)."""
    shared = math.gcd(source_hz, target_hz)
    up, down = target_hz // shared, source_hz // shared
    bank = [_filter(phase / up, target_hz / source_hz) for phase in range(up)]
    padding = [0] * _HALF_TAPS
    padded = array("d", (*padding, *samples, *padding))
    taps = 2 * _HALF_TAPS
    result = []
    for n in range(len(samples) * up // down):
        whole, phase = divmod(n * down, up)
        result.append(sum(map(mul, bank[phase], padded[whole + 1 : whole + 1 + taps])))
    return result


def _filter(offset: float, ratio: float) -> list[float]:
    """Return the taps for a point `offset` samples after the middle, summing to 1."""
    taps = []
    for k in range(-_HALF_TAPS + 1, _HALF_TAPS + 1):
        x = k - offset
        window = _bessel(_BETA * math.sqrt(max(0.0, 1 - (x / _HALF_TAPS) ** 2)))
        turn = math.pi * x * ratio * _PASS
        taps.append(window * (math.sin(turn) / turn if turn else 1.0))
    total = sum(taps)
    return [tap / total for tap in taps]


def _bessel(x: float) -> float:
    """Return the modified Bessel function I0(x), by its series; 20 terms do for x < 10."""
    term = total = 1.0
    for k in range(1, 20):
        term *= (x / 2 / k) ** 2
        total += term
    return total


def trimmed(samples: Sequence[float]) -> Sequence[float]:
    """Return `samples` without the pauses before and after the speech."""
    loud = [n for n, level in enumerate(_levels(samples)) if level > PAUSE_DBFS]
    return samples[loud[0] * BLOCK : (loud[-1] + 1) * BLOCK] if loud else []


def levelled(samples: Sequence[float]) -> list[float]:
    """Return `samples` with the speech at LEVEL_DBFS and no peak above CEILING_DBFS."""
    result = list(samples)
    for _ in range(4):  # what the limiter takes away is made up for; this converges fast
        gain = _from_db(LEVEL_DBFS - speech_level(result))
        result = _limited([sample * gain for sample in result])
    return result


def speech_level(samples: Sequence[float]) -> float:
    """Return the RMS level of `samples` without its pauses, in dBFS; 0 for silence."""
    powers = [10 ** (level / 10) for level in _levels(samples) if level > PAUSE_DBFS]
    return 10 * math.log10(sum(powers) / len(powers)) if powers else 0.0


def _levels(samples: Sequence[float]) -> list[float]:
    """Return the RMS level of each block in dBFS."""
    result = []
    for start in range(0, len(samples), BLOCK):
        block = samples[start : start + BLOCK]
        power = sum(map(mul, block, block)) / len(block) / 32_768**2
        result.append(10 * math.log10(max(power, 1e-12)))
    return result


def _limited(samples: Sequence[float]) -> list[float]:
    """Turn loud blocks down, gliding from gain to gain.

    At the border of two blocks the lower of both gains holds, so that no sample inside a block
    gets more than the block's own.
    """
    ceiling = 32_768 * _from_db(CEILING_DBFS)
    blocks = [samples[start : start + BLOCK] for start in range(0, len(samples), BLOCK)]
    allowed = [min(1.0, ceiling / max(1.0, *map(abs, block))) for block in blocks]
    nodes = [min(pair) for pair in zip([1.0, *allowed], [*allowed, 1.0], strict=True)]
    result: list[float] = []
    for n, block in enumerate(blocks):
        step = (nodes[n + 1] - nodes[n]) / BLOCK
        result.extend(sample * (nodes[n] + step * k) for k, sample in enumerate(block))
    return result


def _from_db(level: float) -> float:
    return 10 ** (level / 20)
