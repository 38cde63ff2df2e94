"""A call's place in one worker: its room, the legs dialled there, and the commands to them.

One object per room, never reused: when the worker is lost the call gets another seat.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, Protocol

import structlog

from drivers.api.clock import Clock
from drivers.api.errors import NoCapacity, UnknownLeg, WaistError, WorkerGone
from drivers.api.legs import (
    AnyLegEvent,
    CallEvent,
    CallRoom,
    DialRequest,
    LegAnswered,
    LegEnded,
    LegOffered,
    LegOutcome,
    LegRinging,
    LegState,
    WorkerLost,
)
from gateway.flows.ledger import Ledger
from gateway.flows.model import Role
from gateway.flows.translation import leg_name
from gateway.incidents.model import LegRecord

log = structlog.get_logger()

# A worker answers in milliseconds; one that takes this long hangs, and its parties hear nothing.
COMMAND_S: Final = 5.0
# Dialling is paced (10 a second and worker) and waits for a leg that is just ending (2.5 s).
DIAL_S: Final = 15.0
# After hanging up: the worker itself gives a dead far end 2 s.
LEGS_END_S: Final = 5.0


class Listener(Protocol):
    """The call, as a seat sees it."""

    def heard(self, event: AnyLegEvent, name: str) -> None:
        """Take an event of leg `name` that the ledger has taken."""
        ...

    def leg_failed(self, name: str, outcome: LegOutcome) -> None:
        """Learn that a leg is gone without the worker having said so."""
        ...

    def seat_lost(self, seat: "Seat") -> None:
        """Learn that the worker is gone."""
        ...

    def record_leg(self, record: LegRecord) -> None:
        """Keep the record of a leg that has ended."""
        ...


class Seat:
    """Carries out commands for one call in one worker and takes its events."""

    def __init__(self, ledger: Ledger, listener: Listener, clock: Clock) -> None:
        self._ledger = ledger
        self._listener = listener
        self._clock = clock
        self._room: CallRoom | None = None
        self._names: set[str] = set()  # legs that live here
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._left = False
        self.lost = False

    @property
    def room(self) -> CallRoom:
        """Return the room; `take` comes first."""
        if self._room is None:
            raise AssertionError("a seat without a room")
        return self._room

    def take(self, room: CallRoom) -> None:
        """Have a room. Events may have come before."""
        self._room = room

    def adopt(self, name: str) -> None:
        """Know a leg that lived here before us."""
        self._names.add(name)
        self._emptied.clear()

    def on_event(self, event: CallEvent) -> None:
        """Take an event of the room: first into the ledger, then to the call."""
        if isinstance(event, WorkerLost):
            self.lose()
            return
        name = leg_name(event.call, event.leg)
        match event:
            case LegOffered(at=at):
                self._ledger.begin(name, Role.TERMINAL, "", at, LegState.RINGING)
                self.adopt(name)
            case LegRinging():
                self._ledger.ringing(name)
            case LegAnswered(at=at):
                self._ledger.answered(name, at)
            case LegEnded():
                self._record(self._ledger.ended(name, event))
                self._gone(name)
            case _:
                pass
        if not self._left:
            self._listener.heard(event, name)

    def lose(self) -> None:
        """Give up the worker: it is dead, or it does not answer."""
        if self.lost:
            return
        self.lost = True
        for name in sorted(self._names):
            at = self._clock.time()
            self._record(self._ledger.close(name, LegOutcome.LOST, at, reason="worker lost"))
        self._names.clear()
        self._emptied.set()
        if not self._left:
            self._listener.seat_lost(self)

    async def dial(self, name: str, role: Role, party: str, request: DialRequest) -> None:
        """Start a leg; a failure becomes an event."""
        self._ledger.begin(name, role, party, self._clock.time())
        self.adopt(name)
        try:
            async with asyncio.timeout(DIAL_S):
                await self.room.dial(request)
        except (WorkerGone, TimeoutError) as error:
            self._fault("dial", name, error)
            self.lose()
        except WaistError as error:
            self._fault("dial", name, error)
            reason = "no capacity" if isinstance(error, NoCapacity) else "not dialled"
            self._fail(name, LegOutcome.FAILED, reason)

    async def answer(self, name: str) -> None:
        """Answer a leg that came to us."""
        leg = self._ledger.leg_id(name)
        if not await self._command("answer", name, self.room.link.answer(leg)):
            self._fail(name, LegOutcome.LOST, "not known to the worker")

    async def hang_up(self, name: str, reason: str) -> None:
        """End a leg."""
        leg = self._ledger.leg_id(name)
        await self._command("hang_up", name, self.room.link.hang_up(leg, reason=reason))

    async def clear(self, reason: str) -> None:
        """End all legs that live here."""
        for name in sorted(self._names):
            await self.hang_up(name, reason)

    async def play(self, name: str, prompt: str, path: Path, *, loop: bool) -> None:
        """Play a prompt."""
        leg = self._ledger.leg_id(name)
        if not await self._command("play", name, self.room.link.play(leg, prompt, path, loop=loop)):
            self._fail(name, LegOutcome.LOST, "not known to the worker")

    async def stop_playing(self, name: str) -> None:
        """Stop a prompt."""
        leg = self._ledger.leg_id(name)
        await self._command("stop_playing", name, self.room.link.stop_playing(leg))

    async def bridge(self, a: str, b: str) -> None:
        """Connect two legs. When one has just ended, its end is already on its way to us."""
        first, second = self._ledger.leg_id(a), self._ledger.leg_id(b)
        await self._command("bridge", a, self.room.link.bridge(first, second))

    async def record(self, directory: Path, *, segment_s: float) -> bool:
        """Start the recording; False when it cannot be: the call goes on without."""
        link, call = self.room.link, self.room.call
        try:
            async with asyncio.timeout(COMMAND_S):
                await link.record(call, directory, segment_s=segment_s)
        except (WaistError, TimeoutError) as error:
            self._fault("record", "", error)
            return False
        return True

    async def leave(self, *, recording: bool) -> None:
        """Close the recording, wait for the ends of legs hung up, give the room back.

        From now on the call hears nothing of this seat; the ledger still does.
        """
        self._left = True
        if self._room is None:
            return
        if recording and not self.lost:
            await self._stop_recording(self._room)
        try:
            async with asyncio.timeout(LEGS_END_S):
                await self._emptied.wait()
        except TimeoutError:
            for name in sorted(self._names):
                at = self._clock.time()
                self._record(self._ledger.close(name, LegOutcome.LOST, at, reason="no end seen"))
        await self._room.release()

    async def _stop_recording(self, room: CallRoom) -> None:
        try:
            async with asyncio.timeout(COMMAND_S):
                await room.link.stop_recording(room.call)
        except (WaistError, TimeoutError) as error:  # finishing mends what was left open
            self._fault("stop_recording", "", error)

    async def _command(self, what: str, name: str, command: Awaitable[None]) -> bool:
        """Await a command to the worker; False when the leg is not known there."""
        try:
            async with asyncio.timeout(COMMAND_S):
                await command
        except UnknownLeg as error:
            self._fault(what, name, error)
            return False
        except (WorkerGone, TimeoutError) as error:
            self._fault(what, name, error)
            self.lose()
        except WaistError as error:
            self._fault(what, name, error)
        return True

    def _fault(self, what: str, name: str, error: Exception) -> None:
        log.warning(
            "leg_command_failed",
            call=self.room.call,
            leg=name,
            command=what,
            error=f"{type(error).__name__}: {error}",
        )

    def _fail(self, name: str, outcome: LegOutcome, reason: str) -> None:
        self._record(self._ledger.close(name, outcome, self._clock.time(), reason=reason))
        self._gone(name)
        if not self._left:
            self._listener.leg_failed(name, outcome)

    def _gone(self, name: str) -> None:
        self._names.discard(name)
        if not self._names:
            self._emptied.set()

    def _record(self, record: LegRecord | None) -> None:
        if record is not None:
            self._listener.record_leg(record)
