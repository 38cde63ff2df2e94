import math
import struct
import wave
from pathlib import Path

import pytest

from sim.tones import level_dbfs, longest_gap_ms, spans


def write(path: Path, *parts: tuple[int, float]) -> Path:
    """Write (Hz, seconds) after each other at -6 dBFS; 0 Hz is silence."""
    samples = [
        int(16_384 * math.sin(2 * math.pi * hz * i / 8000))
        for hz, seconds in parts
        for i in range(int(8000 * seconds))
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


def test_level(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", (440, 1.0))
    assert level_dbfs(path, 440) == pytest.approx(-6.02, abs=0.1)
    assert level_dbfs(path, 1000) < -60
    assert level_dbfs(path, 440, start_s=2) == -120


def test_parts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", (440, 1.0), (1000, 1.0))
    assert level_dbfs(path, 440, start_s=1.0) < -50
    assert level_dbfs(path, 1000, start_s=1.0, end_s=2.0) > -7


def test_gaps(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", (0, 0.5), (440, 1.0), (0, 0.1), (440, 0.5), (0, 1.0))
    assert spans(path, 440) == [(0.5, 1.5), (1.6, 2.1)]
    assert longest_gap_ms(path, 440) == pytest.approx(100)
    assert math.isinf(longest_gap_ms(path, 1000))


def test_only_mono_of_16_bits(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
    with pytest.raises(ValueError, match="mono"):
        level_dbfs(tmp_path / "a.wav", 440)
