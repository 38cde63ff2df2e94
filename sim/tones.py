"""Did the sound arrive? Level of a tone in a WAV, and the longest hole in it. Pure Python."""

import math
import wave
from array import array
from itertools import pairwise
from pathlib import Path

WINDOW_S = 0.02  # one RTP packet
SILENT_DBFS = -120.0
PRESENT_DBFS = -35.0  # a window holds the tone from here on; codec noise stays below -60


def level_dbfs(path: Path, hz: float, *, start_s: float = 0.0, end_s: float = math.inf) -> float:
    """Return the peak level of `hz` between two moments of a 16-bit mono WAV, in dBFS."""
    samples, rate = _read(path)
    last = len(samples) if math.isinf(end_s) else int(end_s * rate)
    return _goertzel(samples[int(start_s * rate) : last], hz, rate)


def spans(path: Path, hz: float, *, threshold: float = PRESENT_DBFS) -> list[tuple[float, float]]:
    """Return when the tone was there: (from, to) in seconds, in windows of 20 ms."""
    samples, rate = _read(path)
    size = int(WINDOW_S * rate)
    found: list[tuple[float, float]] = []
    for first in range(0, len(samples) - size + 1, size):
        if _goertzel(samples[first : first + size], hz, rate) <= threshold:
            continue
        start, end = first / rate, (first + size) / rate
        if found and math.isclose(found[-1][1], start):
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def longest_gap_ms(path: Path, hz: float, *, threshold: float = PRESENT_DBFS) -> float:
    """Return the longest hole between the tone's first and last moment; inf without any tone."""
    there = spans(path, hz, threshold=threshold)
    if not there:
        return math.inf
    holes = (after[0] - before[1] for before, after in pairwise(there))
    return max(holes, default=0.0) * 1000


def _read(path: Path) -> "tuple[array[int], int]":
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:
            raise ValueError(f"{path}: 16-bit mono wanted")
        return array("h", file.readframes(file.getnframes())), file.getframerate()


def _goertzel(samples: "array[int]", hz: float, rate: int) -> float:
    """Return the level by Goertzel's algorithm (1958), for any frequency, not only bins."""
    if not samples:
        return SILENT_DBFS
    turn = 2 * math.pi * hz / rate
    double_cos = 2 * math.cos(turn)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + double_cos * last - before
    power = last * last + before * before - double_cos * last * before
    peak = 2 * math.sqrt(max(power, 0.0)) / len(samples) / 32768
    return max(20 * math.log10(peak), SILENT_DBFS) if peak else SILENT_DBFS
