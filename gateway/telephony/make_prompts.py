"""Makes the WAVs of all prompts with espeak-ng: `python -m gateway.telephony.make_prompts DIR`.

They are understandable, not beautiful: docs/prompts.md tells how to put recordings in their place.
Done once at install; what is up to date stays as it is.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import wave
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.telephony.prompts import PROMPTS, Prompt
from gateway.telephony.sound import levelled, resample, trimmed

RATE_HZ: Final = 8000
SILENCE_AFTER_S: Final = 0.25  # the last syllable is not cut by what follows
SILENCE_LOOP_S: Final = 1.5  # a breath between the repetitions of a waiting prompt
# The first voice that is installed speaks. `cmn` of espeak-ng 1.51 reads Chinese characters as
# English letters and digits ("nin two hao three"): the Pinyin voice goes first.
VOICES: Final[Mapping[str, Sequence[str]]] = {
    "zh-CN": ("cmn-latn-pinyin", "cmn"),
    "en": ("en-gb", "en"),
}
# About three syllables a second, for old ears; the voices differ in what they make of a number.
SPEEDS: Final[Mapping[str, int]] = {"zh-CN": 150, "en": 140}
MADE = ".made.json"
# Part of every file's key: raise it when the way of making changes.
VERSION: Final = 1
SPEAK_DEADLINE_S = 30.0  # it takes 30 ms


class PromptError(Exception):
    """Prompts cannot be made; the text says why and what to do."""


def make_prompts(directory: Path) -> Sequence[Path]:
    """Bring `<directory>/<language>/<name>.wav` up to date; return the files made.

    Blocks for some seconds when all are missing. Raises PromptError without espeak-ng or when it
    fails, OSError when the directory cannot be written.
    """
    made_before = _read_made(directory / MADE)
    made: dict[str, str] = {}
    written = []
    for language in VOICES:
        for name, prompt in PROMPTS.items():
            key = f"{language}/{name}.wav"
            path = directory / key
            recipe = _recipe(prompt, language)
            if made_before.get(key) != f"{recipe} {_digest(path)}":
                _make(path, prompt, language)
                written.append(path)
            made[key] = f"{recipe} {_digest(path)}"
    if made != made_before:
        _replace(directory / MADE, json.dumps(made, indent=1).encode() + b"\n")
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.telephony.make_prompts",
        description="Make the spoken prompts that are missing or out of date.",
    )
    parser.add_argument("directory", type=Path, help="where <language>/<name>.wav go")
    directory: Path = parser.parse_args(arguments).directory
    try:
        written = make_prompts(directory)
    except (PromptError, OSError) as exc:
        sys.stderr.write(f"make_prompts: {exc}\n")
        return 1
    sys.stdout.write(f"{len(written)} of {len(VOICES) * len(PROMPTS)} prompts made\n")
    return 0


def _make(path: Path, prompt: Prompt, language: str) -> None:
    speech = levelled(trimmed(resample(*_speak(prompt.texts[language], language), RATE_HZ)))
    silence_s = SILENCE_LOOP_S if prompt.loops else SILENCE_AFTER_S
    samples = array("h", (round(sample) for sample in speech))
    samples.extend([0] * round(silence_s * RATE_HZ))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with wave.open(str(draft), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE_HZ)
        sound.writeframes(_little_endian(samples).tobytes())
    draft.replace(path)


def _speak(text: str, language: str) -> tuple[Sequence[int], int]:
    """Return the samples that espeak-ng makes of `text`, and their rate."""
    voice = _voice(VOICES[language])
    with tempfile.TemporaryDirectory(prefix="prompt-") as scratch:
        path = Path(scratch) / "speech.wav"
        _espeak("-v", voice, "-s", str(SPEEDS[language]), "-w", str(path), "--", text)
        with wave.open(str(path), "rb") as sound:
            samples = array("h", sound.readframes(sound.getnframes()))
            return _little_endian(samples), sound.getframerate()


def _voice(wanted: Sequence[str]) -> str:
    """Return the first of `wanted` that is installed, or else the last, for espeak-ng to judge."""
    listing = _espeak("--voices").splitlines()
    installed = {name for line in listing for name in line.split() if name in wanted}
    return next((name for name in wanted if name in installed), wanted[-1])


def _espeak(*arguments: str) -> str:
    program = shutil.which("espeak-ng")
    if program is None:
        raise PromptError("espeak-ng is not installed; on Debian: apt-get install espeak-ng")
    try:
        done = subprocess.run(  # noqa: S603  texts of our own table, no shell
            [program, *arguments],
            check=True,
            capture_output=True,
            encoding="utf-8",
            timeout=SPEAK_DEADLINE_S,
        )
    except subprocess.CalledProcessError as exc:
        raise PromptError(f"espeak-ng failed: {exc.stderr.strip()}") from exc
    except subprocess.TimeoutExpired as exc:
        raise PromptError(f"espeak-ng did not end within {SPEAK_DEADLINE_S:g} s") from exc
    return done.stdout


def _little_endian(samples: "array[int]") -> "array[int]":
    """Return `samples` between the machine's order and the WAV's, either way."""
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _recipe(prompt: Prompt, language: str) -> str:
    """Return what identifies the way `prompt` is made."""
    voice = (*VOICES[language], SPEEDS[language])
    parts = (VERSION, prompt.texts[language], prompt.loops, *voice)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _read_made(path: Path) -> Mapping[str, str]:
    """Return the list of an earlier run; an unreadable one only means that all is made anew."""
    try:
        made = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return made if isinstance(made, dict) else {}


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_bytes(content)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
