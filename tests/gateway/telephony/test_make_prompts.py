import json
import math
import shutil
import wave
from array import array
from pathlib import Path

import pytest

from gateway.telephony import make_prompts as making
from gateway.telephony.make_prompts import PromptError, main, make_prompts
from gateway.telephony.prompts import PROMPTS, PromptLibrary
from gateway.telephony.sound import levelled, resample, speech_level, trimmed

FEW = {name: PROMPTS[name] for name in ("training", "waiting")}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "PROMPTS", FEW)


def samples_of(path: Path) -> list[int]:
    with wave.open(str(path), "rb") as sound:
        return list(array("h", sound.readframes(sound.getnframes())))


def tone(hz: float, rate: int, seconds: float, amplitude: float = 10_000) -> list[int]:
    return [
        round(amplitude * math.sin(2 * math.pi * hz * n / rate)) for n in range(int(rate * seconds))
    ]


def amplitude(samples: list[float], hz: float, rate: int) -> float:
    inner = samples[100:-100]
    real = sum(s * math.cos(2 * math.pi * hz * n / rate) for n, s in enumerate(inner))
    imaginary = sum(s * math.sin(2 * math.pi * hz * n / rate) for n, s in enumerate(inner))
    return 2 * math.hypot(real, imaginary) / len(inner)


@pytest.mark.parametrize("hz", [300, 1000, 3000, 3400])
def test_resampling_keeps_the_telephone_band(hz: int) -> None:
    result = resample(tone(hz, 22_050, 0.2), 22_050, 8000)
    assert len(result) == pytest.approx(1600, abs=2)
    assert amplitude(result, hz, 8000) == pytest.approx(10_000, rel=0.1)


@pytest.mark.parametrize("hz", [4200, 5000, 7000, 10_000])
def test_resampling_folds_nothing_back(hz: int) -> None:
    result = resample(tone(hz, 22_050, 0.2), 22_050, 8000)
    assert max(map(abs, result[100:-100])) < 10_000 * 10 ** (-35 / 20)


def test_levelling_reaches_the_level_without_clipping() -> None:
    bursts = [s for k in range(20) for s in tone(440, 8000, 0.1, 300 if k % 5 else 9000)]
    result = levelled(bursts)
    assert speech_level(result) == pytest.approx(-16, abs=0.2)
    assert max(map(abs, result)) <= 32_768 * 10 ** (-0.99 / 20)


def test_silence_stays_silence() -> None:
    assert levelled([0.0] * 400) == [0.0] * 400
    assert list(trimmed([0.0] * 400)) == []


@pytest.mark.usefixtures("few")
def test_made_prompts_are_playable_level_and_end_in_silence(tmp_path: Path) -> None:
    written = make_prompts(tmp_path)
    assert len(written) == 4
    for path in written:
        samples = samples_of(path)
        assert speech_level(samples) == pytest.approx(-16, abs=0.5)
        assert max(map(abs, samples)) < 32_000
        pause = 12_000 if path.stem == "waiting" else 2000
        assert not any(samples[-pause:])
        assert any(samples[-pause - 200 : -pause])
    assert [p for p in PromptLibrary((tmp_path,), "en").check() if "no WAV" not in p] == []


@pytest.mark.usefixtures("few")
def test_making_is_deterministic_and_skips_what_is_up_to_date(tmp_path: Path) -> None:
    written = make_prompts(tmp_path)
    before = {path: path.read_bytes() for path in written}
    assert make_prompts(tmp_path) == []
    damaged, gone = written[0], written[1]
    damaged.write_bytes(b"cut")
    gone.unlink()
    assert set(make_prompts(tmp_path)) == {damaged, gone}
    assert {path: path.read_bytes() for path in written} == before
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.usefixtures("few")
def test_a_new_text_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_prompts(tmp_path)
    monkeypatch.setattr(making, "PROMPTS", FEW | {"training": PROMPTS["next_target"]})
    assert {path.stem for path in make_prompts(tmp_path)} == {"training"}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("content", ["no json", "[]"])
def test_a_spoilt_list_only_costs_time(tmp_path: Path, content: str) -> None:
    (tmp_path / ".made.json").write_text(content)
    assert len(make_prompts(tmp_path)) == 4
    assert len(json.loads((tmp_path / ".made.json").read_text())) == 4


def test_chinese_is_read_as_chinese() -> None:
    # espeak-ng marks words it reads with English rules; its plain Mandarin voice did so with all.
    voice = making._voice(making.VOICES["zh-CN"])
    for name, prompt in PROMPTS.items():
        phonemes = making._espeak("-v", voice, "-q", "-x", "--", prompt.texts["zh-CN"])
        assert "(en)" not in phonemes, name


def test_without_espeak_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(PromptError, match="apt-get install espeak-ng"):
        make_prompts(tmp_path)
    assert main([str(tmp_path)]) == 1
    assert "espeak-ng is not installed" in capsys.readouterr().err


@pytest.mark.usefixtures("few")
def test_the_command_makes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "new" / "prompts")]) == 0
    assert capsys.readouterr().out == f"4 of {2 * len(FEW)} prompts made\n"
