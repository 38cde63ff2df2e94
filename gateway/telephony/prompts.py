"""What callers and agents hear: the list of prompts and where their WAVs are."""

import re
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

LANGUAGES: Final = ("zh-CN", "en")
RATES_HZ: Final = (8000, 16_000)  # what the workers play without a costly conversion
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One announcement. `heard_by` and `loops` are for whoever records it anew."""

    heard_by: str
    loops: bool
    texts: Mapping[str, str]  # language → what is said


def _prompt(heard_by: str, zh: str, en: str, *, loops: bool = False) -> Prompt:
    return Prompt(heard_by=heard_by, loops=loops, texts={"zh-CN": zh, "en": en})


PROMPTS: Final[Mapping[str, Prompt]] = {
    "connecting": _prompt(
        "caller",
        "您好，正在为您接通服务中心，请不要挂断。",
        "Hello. We are connecting you to the service centre. Please stay on the line.",
        loops=True,
    ),
    "waiting": _prompt(
        "caller",
        "请不要着急，我们正在为您找人，请不要挂断。",
        "Please do not worry. We are finding someone for you. Please stay on the line.",
        loops=True,
    ),
    "next_target": _prompt(
        "caller",
        "正在为您转接另一位工作人员，请稍候。",
        "We are calling another member of staff for you. One moment, please.",
    ),
    "no_answer_yet": _prompt(
        "caller",
        "坐席繁忙，我们一直在为您呼叫，请不要挂断。",
        "All our staff are busy. We keep calling for you. Please stay on the line.",
        loops=True,
    ),
    "call_ended": _prompt(
        "caller",
        "通话已结束。如需帮助，请再按一次按键。",
        "The call has ended. If you need help, please press the key again.",
    ),
    "training": _prompt(
        "caller and agent",
        "这是一次演练，不会派出救援。",
        "This is an exercise. No help will be sent.",
    ),
    "agent_connecting": _prompt(
        "agent",
        "一键通来电，正在接通老人终端，请稍候。",
        "One-key call. We are connecting you to the terminal. One moment, please.",
        loops=True,
    ),
    "terminal_unreachable": _prompt(
        "agent",
        "老人终端暂时没有接通，系统正在重新呼叫，请稍候。",
        "The terminal does not answer yet. We are calling it again. One moment, please.",
        loops=True,
    ),
    "terminal_without_voice": _prompt(
        "agent",
        "这台终端没有通话功能，请查看屏幕上的信息，按流程处理。",
        "This terminal cannot speak. Please see the case on your screen and act on it.",
        loops=True,
    ),
    "press_cancelled": _prompt(
        "agent",
        "终端上的呼叫已被取消，请向老人确认。",
        "The press was taken back at the terminal. Please make sure that the person is well.",
    ),
}


class PromptLibrary:
    """Finds prompts: the operator's own before the generated, the asked language before another."""

    def __init__(self, dirs: tuple[Path, ...], language: str) -> None:
        """Search `dirs` in order, each with a folder per language."""
        self._dirs = dirs
        self._languages = tuple(dict.fromkeys((language, *LANGUAGES)))

    def path(self, name: str, language: str | None = None) -> Path | None:
        """Return the WAV of prompt `name`, or None when there is none in any language."""
        if not _NAME.fullmatch(name):
            return None
        asked = (language,) if language and _LANGUAGE.fullmatch(language) else ()
        for wanted in dict.fromkeys((*asked, *self._languages)):
            for directory in self._dirs:
                path: Path = directory / wanted / f"{name}.wav"
                if path.is_file():
                    return path
        return None

    def check(self) -> Sequence[str]:
        """Return what is wrong, one line each: bad WAVs, and prompts that have no WAV at all."""
        found = [path for directory in self._dirs for path in sorted(directory.glob("*/*.wav"))]
        problems = [f"{path}: {fault}" for path in found if (fault := fault_of(path))]
        problems += [f"no WAV for prompt {name}" for name in PROMPTS if self.path(name) is None]
        for problem in problems:
            log.error("prompt_unusable", detail=problem)
        return problems


def fault_of(path: Path) -> str:
    """Return why the worker would not play `path`, or "" when it would."""
    try:
        with wave.open(str(path), "rb") as sound:
            shape = (sound.getnchannels(), sound.getsampwidth() * 8, sound.getframerate())
            frames = sound.getnframes()
    except (OSError, EOFError, wave.Error) as exc:
        return f"no readable PCM WAV ({str(exc) or 'cut short'})"
    if shape[0] != 1 or shape[1] != 16 or shape[2] not in RATES_HZ:
        return "{} channels, {} bits, {} Hz; wanted mono, 16 bits, 8000 or 16000 Hz".format(*shape)
    return "" if frames else "no sound in it"
