"""What a worker can do: legs, who hears whom, recordings. One method per command.

All methods run on the event loop and raise CommandRefused for what cannot be done.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pjsua2 as pj
import structlog

from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    AnyLegEvent,
    DialRequest,
    LegMedia,
    LegOutcome,
    LegState,
    PromptEnded,
    StreamStats,
    WorkerSnapshot,
)
from drivers.sip import sending
from drivers.sip.config import SipConfig
from drivers.sip.legs import Leg, Legs
from drivers.sip.outcomes import Ending
from drivers.sip.sending import CommandRefused
from drivers.sip.stack import SipStack
from drivers.sip.wire import ErrorKind
from drivers.sip.wiring import Prompt, Wiring

log = structlog.get_logger()

LOOK_EVERY_S = 1.0  # at the packet counters


class Switchboard:
    """`emit` gets every event, in order, on the event loop."""

    def __init__(
        self, config: SipConfig, stack: SipStack, emit: Callable[[AnyLegEvent], None]
    ) -> None:
        self._config = config
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._legs = Legs(config, stack, self._on_event)
        self._wiring = Wiring(
            media_of=self._media_of,
            hears=self._hears,
            parked=self._parked,
            legs_of=self._legs_of,
            prompt_ended=self._on_player_end,
        )
        self._legs.wiring = self._wiring

    @property
    def idle(self) -> bool:
        """Tell whether no leg lives."""
        return self._legs.idle

    def snapshot(self) -> WorkerSnapshot:
        """Return all there is, for an attaching daemon."""
        return WorkerSnapshot(
            legs=[leg.record.snapshot() for leg in self._legs],
            bridges=self._wiring.bridges,
            recordings=self._wiring.recordings,
            calls_carried=self._legs.calls_carried,
            connections=self._wiring.connections,
            paused=self._wiring.paused,
        )

    def attend(self, *, present: bool) -> None:
        """Learn whether a daemon is there; without one no caller is taken in."""
        self._legs.attended = present

    def turn_away(self) -> None:
        """Give back to the edge all callers who wait for an answer."""
        self._legs.turn_away()

    def dial(self, call: CallId, request: DialRequest) -> None:
        """Send the INVITE."""
        self._legs.dial(call, request)

    def progress(self, leg: LegId) -> None:
        """Let a caller hear us before the answer."""
        self._legs.progress(leg)

    def answer(self, leg: LegId) -> None:
        """Answer a caller."""
        self._legs.answer(leg)

    def reject(self, leg: LegId, outcome: LegOutcome, retry_after_s: int) -> None:
        """Refuse a caller."""
        self._legs.reject(leg, outcome, retry_after_s)

    def hang_up(self, leg: LegId, reason: str, cause: int | None) -> None:
        """End a leg; one that is gone is no error."""
        found = self._legs.get(leg)
        if found is not None:
            self._legs.end(found, Ending.COMMAND, reason, cause)

    def hold(self, leg: LegId) -> None:
        """Hold an answered leg."""
        found = self._legs.living(leg)
        if found.record.state is not LegState.ANSWERED:
            raise CommandRefused(ErrorKind.REFUSED, f"{leg} was not answered")
        if not found.record.held_by_us:
            sending.hold(found.call)
            found.record.held_by_us = True
            self._wiring.park(leg)

    def unhold(self, leg: LegId) -> None:
        """Take the hold back."""
        found = self._legs.living(leg)
        if found.record.held_by_us:
            sending.unhold(found.call)
            found.record.held_by_us = False
            self._wiring.rewire()

    def play(self, leg: LegId, prompt: str, path: Path, *, loop: bool) -> None:
        """Play `path` to `leg` from now, or as soon as it hears us."""
        self._legs.living(leg)
        if not path.is_file():
            raise CommandRefused(ErrorKind.REFUSED, f"no file {path}")
        self._wiring.play(leg, Prompt(name=prompt, path=path, loop=loop))

    def stop_playing(self, leg: LegId) -> None:
        """Stop its prompt, if any."""
        self._wiring.stop_playing(leg)

    def bridge(self, a: LegId, b: LegId) -> None:
        """Let `a` and `b` hear each other as soon as both have media."""
        self.connect(a, b)
        self.connect(b, a)

    def unbridge(self, a: LegId, b: LegId) -> None:
        """Undo it; not bridged is no error."""
        self._wiring.disconnect(a, b)
        self._wiring.disconnect(b, a)

    def connect(self, source: LegId, sink: LegId) -> None:
        """Let `sink` hear `source` as soon as both have media."""
        self._legs.living(source)
        self._legs.living(sink)
        if source == sink:
            raise CommandRefused(ErrorKind.REFUSED, "a leg cannot be connected with itself")
        self._wiring.connect(source, sink)

    def disconnect(self, source: LegId, sink: LegId) -> None:
        """Undo it; not connected is no error."""
        self._wiring.disconnect(source, sink)

    def record(self, call: CallId, directory: Path, segment_s: float) -> None:
        """Record the mix of the legs of `call` from the first media on."""
        try:
            self._wiring.record(call, directory, segment_s)
        except OSError as exc:
            raise CommandRefused(ErrorKind.REFUSED, f"{directory}: {exc.strerror}") from exc

    def pause_recording(self, call: CallId) -> None:
        """Record nothing for a while; not recorded is no error."""
        self._wiring.pause_recording(call)

    def resume_recording(self, call: CallId) -> None:
        """Go on recording."""
        self._wiring.resume_recording(call)

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        """End it; returns the closed segments."""
        return await self._wiring.stop_recording(call)

    def send_digits(self, leg: LegId, digits: str) -> None:
        """Send RFC 4733 events, or INFO."""
        sending.send_digits(self._legs.living(leg).call, digits)

    def statistics(self) -> Mapping[LegId, StreamStats]:
        """Return each leg's sums over its streams."""
        return {leg.record.leg: leg.statistics() for leg in self._legs}

    async def close(self, wait_s: float) -> None:
        """Close all files, hang up all legs and wait up to `wait_s` until they are gone."""
        if self._watch is not None:
            self._watch.cancel()
        await self._wiring.close()
        await self._legs.close(wait_s)

    def _media_of(self, leg: LegId) -> pj.AudioMedia | None:
        found = self._legs.get(leg)
        return None if found is None else found.audio()

    def _hears(self, leg: LegId) -> bool:
        found = self._legs.get(leg)
        return found is not None and found.record.hears

    def _parked(self, leg: LegId) -> bool:
        found = self._legs.get(leg)
        return found is not None and found.record.held_by_us

    def _on_event(self, event: AnyLegEvent) -> None:
        if self._watch is None and not self._legs.idle:
            self._watch = self._loop.call_later(LOOK_EVERY_S, self._look_at_media)
        self._emit(event)

    def _legs_of(self, call: CallId) -> Sequence[LegId]:
        return [leg.record.leg for leg in self._legs if leg.record.call == call]

    def _on_player_end(self, leg: LegId, prompt: Prompt) -> None:
        # On PJSIP's clock thread, which must not drop the player it is in.
        self._loop.call_soon_threadsafe(self._on_prompt_end, leg, prompt)

    def _on_prompt_end(self, leg: LegId, prompt: Prompt) -> None:
        found = self._legs.get(leg)
        if self._wiring.stop_playing(leg, prompt) and found is not None:
            call = found.record.call
            self._emit(PromptEnded(call=call, leg=leg, at=time.time(), prompt=prompt.name))

    def _look_at_media(self) -> None:
        self._watch = None
        for leg in self._legs:
            self._look_at(leg)
        if not self._legs.idle:
            self._watch = self._loop.call_later(LOOK_EVERY_S, self._look_at_media)

    def _look_at(self, leg: Leg) -> None:
        record = leg.record
        if not record.media or record.held or not self._wiring.heard(record.leg):
            leg.reception.restart()
            return
        try:
            packets = leg.call.stats().rx_packets
        except pj.Error as exc:  # the stream went; its report is on the way
            log.info("no_statistics", leg=record.leg, detail=exc.reason)
            return
        if leg.reception.changed(packets, self._loop.time(), self._config.media_loss_s):
            active = leg.reception.receiving
            self._emit(LegMedia(call=record.call, leg=record.leg, at=time.time(), active=active))
