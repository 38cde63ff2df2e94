"""A simulated SIP phone (`sim.sip_ua`) as a child process: its events, and waits with deadlines."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import structlog

from sim.child import Child, ChildError

log = structlog.get_logger()

START_DEADLINE_S = 10.0  # importing pjsua2 takes 0.2 s, on a busy machine ten times that
STOP_DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a phone does when it rings. `refuse` is a SIP status code, 486 or 603; 0 rings."""

    answer_after_s: float | None = 0.3  # None: never by itself
    refuse: int = 0
    tone_hz: int = 0  # what it says once it is connected; 0: silence
    hang_up_after_s: float | None = None  # seconds after the answer


NEVER = Behaviour(answer_after_s=None)
BUSY = Behaviour(refuse=486)
DECLINES = Behaviour(refuse=603)


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """Something that happened at a phone; `at` is Unix seconds in the phone's process."""

    at: float
    what: str  # ready, invite, ringing, answered, media, dtmf, ending, gone, recorded, refused
    data: Mapping[str, Any] = field(default_factory=dict)


class Phone:
    """One phone. `async with` starts it, waits until it can be called, and ends it."""

    def __init__(
        self,
        name: str,
        *,
        port: int,
        rtp_base: int,
        directory: Path,
        behaviour: Behaviour | None = None,
        address: str = "127.0.0.1",
        env: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
    ) -> None:
        """Take a `name` (user part of the SIP URI), UDP ports, and where log and sound go.

        `more`: further options of `sim.sip_ua`.
        """
        self.name = name
        self.uri = f"sip:{name}@{address}:{port}"
        self.record = directory / f"{name}.wav"
        self.events: list[PhoneEvent] = []
        self.child = Child(
            f"phone {name}",
            (
                *_command(name, address, port, rtp_base, self.record, behaviour or Behaviour()),
                *more,
            ),
            log=directory / f"phone-{name}.log",
            env=env,
        )
        self._news = asyncio.Condition()
        self._listeners: list[Callable[[PhoneEvent], None]] = []
        self._reader: asyncio.Task[None] | None = None
        self._stdin: asyncio.StreamWriter | None = None

    @property
    def ringing(self) -> bool:
        """Tell whether the youngest call rings and is neither answered nor gone."""
        calls = [one.what for one in self.events if one.what in {"ringing", "answered", "gone"}]
        return bool(calls) and calls[-1] == "ringing"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the process; returns when it can be called. Raises ChildError."""
        process = await self.child.start(talk=True)
        assert process.stdout is not None
        self._stdin = process.stdin
        self._reader = asyncio.create_task(self._read(process.stdout), name=self.child.name)
        try:
            await self.wait("ready", deadline=START_DEADLINE_S, since=len(self.events))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Hang up and end the process."""
        if self.child.running and self._stdin is not None:
            self.command("quit")
            self._stdin.close()
            try:
                await self.child.wait(STOP_DEADLINE_S)
            except ChildError:
                log.warning("phone_killed", phone=self.name)
        await self.child.stop(deadline=0.5)
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    def listen(self, listener: Callable[[PhoneEvent], None]) -> None:
        """Call `listener` with every event, from now on."""
        self._listeners.append(listener)

    def command(self, line: str) -> None:
        """Tell the phone `answer`, `hangup`, `dtmf 12`, `hold`, `unhold` or `quit`."""
        if self._stdin is None or not self.child.running:
            raise ChildError(f"phone {self.name} does not run")
        self._stdin.write(line.encode() + b"\n")  # a few bytes: never near the pipe's 64 KiB

    def answer(self) -> None:
        """Take the call that rings."""
        self.command("answer")

    def hang_up(self) -> None:
        """End the youngest call."""
        self.command("hangup")

    def find(self, what: str, *, since: int = 0) -> PhoneEvent | None:
        """Return the first event `what` at or after position `since` in `events`, if any."""
        return next((one for one in self.events[since:] if one.what == what), None)

    async def wait(self, what: str, *, deadline: float, since: int = 0) -> PhoneEvent:
        """Wait for the first event `what` from position `since` in `events` on.

        Raises ChildError, with what was seen and the phone's log, after `deadline` seconds.
        """
        end = time.monotonic() + deadline
        while (found := self.find(what, since=since)) is None:
            left = end - time.monotonic()
            ended = self._reader is None or self._reader.done()
            if left <= 0 or ended:
                seen = [one.what for one in self.events[since:]]
                why = "has ended" if ended else f"did not say so in {deadline} s"
                raise ChildError(
                    f"phone {self.name}: no {what!r}, it {why}; seen {seen}; "
                    f"its log:\n{self.child.tail()}"
                )
            await self._wait_news(left)
        return found

    async def _wait_news(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait()
        except TimeoutError:
            return

    async def _read(self, stdout: asyncio.StreamReader) -> None:
        try:
            while line := await stdout.readline():
                self._take(line)
                await self._wake()
        finally:
            await self._wake()

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _take(self, line: bytes) -> None:
        try:
            fields = json.loads(line)
            event = PhoneEvent(fields.pop("at"), fields.pop("event"), fields)
        except (ValueError, KeyError, AttributeError):
            log.warning("phone_line_odd", phone=self.name, line=repr(line[:200]))
            return
        self.events.append(event)
        for listener in self._listeners:
            listener(event)


def _command(
    name: str, address: str, port: int, rtp_base: int, record: Path, behaviour: Behaviour
) -> Sequence[str]:
    after = behaviour.answer_after_s
    command = [sys.executable, "-m", "sim.sip_ua", "--json"]
    command += ["--user", name, "--address", address]
    command += ["--port", str(port), "--rtp-base", str(rtp_base), "--record", str(record)]
    command += ["--tone", str(behaviour.tone_hz)]
    command += ["--answer-after", "never" if after is None else str(after)]
    if behaviour.refuse:
        command += ["--reject", str(behaviour.refuse)]
    if behaviour.hang_up_after_s is not None:
        command += ["--hangup-after", str(behaviour.hang_up_after_s)]
    return command
