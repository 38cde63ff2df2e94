"""The story of a press, told in the terminal as it happens: each step with its seconds.

Three sources tell it, each with its own clock reading on this one machine: the pendant (what it
hears from the gateway), the phones, and the gateway's feed. They arrive in any order, so lines
wait a moment and are told in the order in which things happened.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TextIO

import aiohttp
import structlog

from protocols.mqtt_payload.v1 import Ack, Call, Display, Voice
from protocols.text import clean_text
from sim.api import Api
from sim.pendant import Received
from sim.phone import PhoneEvent
from sim.story_words import ACKS, PHONES, TIMELINE, Words

log = structlog.get_logger()

Language = Literal["zh", "en", "both"]

# The feed is the slowest source: it tells after the commit, some ten milliseconds.
SETTLE_S = 0.2
# Presses whose beginning is remembered.
PRESSES_MAX = 200
FEED_RETRY_S = 0.5
# What phones in this story tell themselves, and sooner.
PHONE_LINES = frozenset(
    {"target_ringing", "target_answered", "terminal_ringing", "terminal_answered"}
)
BOLD, DIM, GREEN, RED, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
GOOD = frozenset({"committed", "answered", "bridged"})
BAD = frozenset({"refused", "waiting", "chain_exhausted", "worker_lost", "no_capacity"})


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One step: when (Unix seconds), who, what in both languages, and what to add."""

    at: float
    who: str
    what: str
    words: Words
    detail: str = ""
    origin: str = ""  # event or incident it belongs to; empty: the latest press


class Story:
    """Collects lines and tells them. `run` must be running for anything to be told."""

    def __init__(
        self, stream: TextIO, *, language: Language = "both", skip: frozenset[str] = frozenset()
    ) -> None:
        """Tell on `stream`, with colours on a terminal only; `skip` names timeline lines."""
        self._stream = stream
        self._language = language
        self._skip = skip
        self._colours = stream.isatty()
        self._lines: list[Line] = []
        self._begun: OrderedDict[str, float] = OrderedDict()
        self._news = asyncio.Event()
        self._ended: set[str] = set()

    def pressed(self, event_id: str, at: float, terminal: str, key: str) -> None:
        """Begin a story: a press of ours. All its times count from `at`."""
        self._begin(event_id, at)
        self._add(Line(at, terminal, "pressed", (f"按下 {key} 键", f"pressed {key}"), "", event_id))

    def from_terminal(self, terminal: str, received: Received) -> None:
        """Take a message that a pendant received."""
        match received.message:
            case Ack(id=event_id, state=state):
                line = Line(received.at, terminal, state, ACKS[state], "", event_id)
            case Display(text=text, incident=incident):
                words = ("屏幕显示", "display")
                line = Line(received.at, terminal, "display", words, f"“{text}”", incident or "")
            case Voice(prompt=prompt, text=text, incident=incident):
                words = ("语音播报", "voice")
                line = Line(received.at, terminal, "voice", words, prompt or text, incident or "")
            case Call(incident=incident, auto_answer_until=until):
                seconds = f"{until / 1000 - received.at:.0f} s"
                words = ("准备自动接听", "will answer by itself")
                line = Line(received.at, terminal, "call", words, seconds, incident)
            case _:
                return
        self._add(line)

    def from_phone(self, name: str, event: PhoneEvent) -> None:
        """Take an event of a simulated phone."""
        if event.what in PHONES:
            detail = str(event.data.get("digit", ""))
            who = f"☎ {name}"
            self._add(Line(event.at, who, event.what, PHONES[event.what], detail))

    def from_feed(self, message: Mapping[str, Any]) -> None:
        """Take a message of the gateway's feed; the snapshot and read models are not the story."""
        if message.get("type") != "incident":
            return
        incident = message["incident"]
        for entry in message.get("entries", ()):
            self._take_entry(incident, entry)

    def ended(self, event_id: str) -> bool:
        """Tell whether the call of a press is over."""
        begun = self._begun.get(event_id)
        return begun is not None and any(self._begun.get(one) == begun for one in self._ended)

    async def run(self) -> None:
        """Tell lines as they settle, until cancelled."""
        while True:
            self._news.clear()
            self.flush(before=time.time() - SETTLE_S)
            if not self._lines:
                await self._news.wait()
            await asyncio.sleep(SETTLE_S / 4)

    def flush(self, *, before: float = float("inf")) -> None:
        """Tell all lines that happened before a time, in order."""
        due = sorted(line for line in self._lines if line.at < before)
        self._lines = [line for line in self._lines if line.at >= before]
        for line in due:
            self._tell(line)

    def _take_entry(self, incident: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        what, data = str(entry["what"]), entry.get("data", {})
        at, name = _unix(entry["at"]), str(incident["id"])
        if what in {"press_received", "press_again", "alarm_received", "alarm_again"}:
            self._link(str(data.get("event", "")), name, at, incident)
        if what == "call_ended":
            self._ended.add(name)
        if what in self._skip:
            return
        shown = ("target", "outcome", "attempt", "rule", "by")
        parts = [f"{key}={data[key]}" for key in shown if data.get(key) is not None]
        words = TIMELINE.get(what, (what, what))
        self._add(Line(at, "网关 gateway", what, words, " ".join(parts), name))

    def _link(self, event_id: str, incident: str, at: float, shown: Mapping[str, Any]) -> None:
        """Count the incident's times from its latest press: ours, or one of somebody else's."""
        if event_id not in self._begun:
            key, terminal = str(shown["kind"]), str(shown["terminal"])
            self.pressed(event_id, at, terminal, key)
        self._begun[incident] = self._begun[event_id]
        self._ended.discard(incident)

    def _begin(self, origin: str, at: float) -> None:
        self._begun[origin] = at
        while len(self._begun) > PRESSES_MAX:
            self._ended.discard(self._begun.popitem(last=False)[0])

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        self._news.set()

    def _tell(self, line: Line) -> None:
        begun = self._begun.get(line.origin)
        if begun is None:
            begun = max((at for at in self._begun.values() if at <= line.at), default=line.at)
        words = _in(self._language, line.words)
        detail = f"  {self._paint(DIM, clean_text(line.detail))}" if line.detail else ""
        if line.what == "pressed":
            clock = datetime.fromtimestamp(line.at).astimezone().strftime("%H:%M:%S")
            self._write(f"\n{self._paint(BOLD, f'● {clock}  {line.who}  {words}')}\n")
            return
        colour = GREEN if line.what in GOOD else RED if line.what in BAD else ""
        self._write(
            f"  +{line.at - begun:.3f} s  {line.who}  {self._paint(colour, words)}{detail}\n"
        )

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if colour and self._colours else text

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


async def follow_feed(api: Api, story: Story) -> None:
    """Give the feed to the story until cancelled; connects again when the gateway comes back."""
    while True:
        try:
            async for message in api.feed():
                story.from_feed(message)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.debug("feed_lost", error=str(error))
        await asyncio.sleep(FEED_RETRY_S)


def _in(language: Language, words: Words) -> str:
    chinese, english = words
    return {"zh": chinese, "en": english, "both": f"{chinese} {english}"}[language]


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
