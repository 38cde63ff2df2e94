import wave
from pathlib import Path

import pytest

from gateway.telephony.prompts import LANGUAGES, PROMPTS, PromptLibrary, fault_of

DOCS = Path(__file__).parents[3] / "docs" / "prompts.md"


def put(
    directory: Path,
    language: str,
    name: str,
    *,
    rate: int = 8000,
    channels: int = 1,
    width: int = 2,
    frames: int = 80,
) -> Path:
    path = directory / language / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(bytes(frames * channels * width))
    return path


def rendered_table() -> str:
    rows = [
        "| name | heard by | repeated | 中文 (`zh-CN`) | English (`en`) |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| `{name}` | {prompt.heard_by} | {'yes' if prompt.loops else 'no'} "
        f"| {prompt.texts['zh-CN']} | {prompt.texts['en']} |"
        for name, prompt in PROMPTS.items()
    ]
    return "\n".join(rows)


def test_every_prompt_has_a_text_in_every_language() -> None:
    for name, prompt in PROMPTS.items():
        assert set(prompt.texts) == set(LANGUAGES), name
        assert all(prompt.texts.values()), name


def test_the_documented_table_is_the_table() -> None:
    assert rendered_table() in DOCS.read_text("utf-8"), (
        f"docs/prompts.md needs:\n{rendered_table()}"
    )


def test_own_recording_before_generated_and_asked_language_before_another(tmp_path: Path) -> None:
    own, made = tmp_path / "own", tmp_path / "made"
    library = PromptLibrary((own, made), "zh-CN")
    english = put(made, "en", "waiting")
    assert library.path("waiting") == english
    generated = put(made, "zh-CN", "waiting")
    assert library.path("waiting") == generated
    recorded = put(own, "zh-CN", "waiting")
    assert library.path("waiting") == recorded
    assert library.path("waiting", "en") == english
    assert library.path("waiting", "ug") == recorded
    assert library.path("connecting") is None


def test_an_operator_may_add_names_and_languages(tmp_path: Path) -> None:
    added = put(tmp_path, "ug", "flood_warning")
    assert PromptLibrary((tmp_path,), "zh-CN").path("flood_warning", "ug") == added


@pytest.mark.parametrize("name", ["../secret", "a/b", "", "A", ".hidden", "x" * 65])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    put(tmp_path, "zh-CN", "secret")
    assert PromptLibrary((tmp_path / "zh-CN",), "zh-CN").path(name) is None


def test_a_language_is_no_path(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere", "waiting")
    (tmp_path / "dir").mkdir()
    assert PromptLibrary((tmp_path / "dir",), "en").path("waiting", "../elsewhere") is None


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ({"rate": 8000}, ""),
        ({"rate": 16_000}, ""),
        ({"rate": 44_100}, "44100 Hz"),
        ({"channels": 2}, "2 channels"),
        ({"width": 1}, "8 bits"),
        ({"frames": 0}, "no sound"),
    ],
)
def test_only_what_the_worker_plays_passes(
    tmp_path: Path, shape: dict[str, int], fault: str
) -> None:
    found = fault_of(put(tmp_path, "en", "waiting", **shape))
    assert (fault in found) if fault else (found == "")


def test_check_names_bad_files_and_missing_prompts(tmp_path: Path) -> None:
    for name in PROMPTS:
        put(tmp_path, "zh-CN", name)
    library = PromptLibrary((tmp_path,), "zh-CN")
    assert library.check() == []
    (tmp_path / "zh-CN" / "waiting.wav").write_bytes(b"MP3, really")
    (tmp_path / "zh-CN" / "training.wav").unlink()
    problems = library.check()
    assert len(problems) == 2
    assert "waiting.wav" in problems[0]
    assert problems[1] == "no WAV for prompt training"
