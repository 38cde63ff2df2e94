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
    LegState,
    PromptEnded,
    StreamStats,
    WorkerSnapshot,
)
from drivers.sip.config import SipConfig
from drivers.sip.legs import CommandRefused, Leg, Legs, refusal
from drivers.sip.outcomes import Ending
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
        self._legs = Legs(config, stack, emit)
        self._wiring = Wiring(
            media_of=self._media_of,
            hears=self._hears,
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
            calls_carried=self._legs.dialled,
        )

    def dial(self, call: CallId, request: DialRequest) -> None:
        """Send the INVITE."""
        self._legs.dial(call, request)
        if self._watch is None:
            self._watch = self._loop.call_later(LOOK_EVERY_S, self._look_at_media)

    def hang_up(self, leg: LegId, reason: str) -> None:
        """End a leg; one that is gone is no error."""
        found = self._legs.get(leg)
        if found is not None:
            self._legs.end(found, Ending.COMMAND, reason)

    def play(self, leg: LegId, prompt: str, path: Path, *, loop: bool) -> None:
        """Play `path` to `leg` from now, or from its answer."""
        self._legs.living(leg)
        if not path.is_file():
            raise CommandRefused(ErrorKind.REFUSED, f"no file {path}")
        self._wiring.play(leg, Prompt(name=prompt, path=path, loop=loop))

    def stop_playing(self, leg: LegId) -> None:
        """Stop its prompt, if any."""
        self._wiring.stop_playing(leg)

    def bridge(self, a: LegId, b: LegId) -> None:
        """Let `a` and `b` hear each other as soon as both have media."""
        self._legs.living(a)
        self._legs.living(b)
        if a == b:
            raise CommandRefused(ErrorKind.REFUSED, "a leg cannot be bridged with itself")
        self._wiring.bridge(a, b)

    def unbridge(self, a: LegId, b: LegId) -> None:
        """Undo it; not bridged is no error."""
        self._wiring.unbridge(a, b)

    def record(self, call: CallId, directory: Path, segment_s: float) -> None:
        """Record the mix of the legs of `call` from the first media on."""
        try:
            self._wiring.record(call, directory, segment_s)
        except OSError as exc:
            raise CommandRefused(ErrorKind.REFUSED, f"{directory}: {exc.strerror}") from exc

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        """End it; returns the closed segments."""
        return await self._wiring.stop_recording(call)

    def send_digits(self, leg: LegId, digits: str) -> None:
        """Send RFC 4733 events."""
        call = self._legs.living(leg).call
        prm = pj.CallSendDtmfParam()
        prm.digits = digits
        prm.method = pj.PJSUA_DTMF_METHOD_RFC2833
        try:
            call.sendDtmf(prm)
        except pj.Error as exc:
            raise refusal(exc) from exc

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
        return found is not None and found.record.state is LegState.ANSWERED

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
        if not record.media or record.held or not self._wiring.bridged(record.leg):
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
