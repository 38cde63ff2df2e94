"""Who hears whom: the wanted state, wired anew at every media event.

PJSIP adds conference ports asynchronously (since 2.15) and makes new ones at every re-INVITE, so
wiring is never trusted to last: `rewire` is idempotent and takes fresh ports each time. Port
numbers are reused, a kept AudioMedia might one day point into another call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pjsua2 as pj
import structlog

from drivers.api.ids import CallId, LegId
from drivers.sip.recording import Recording

log = structlog.get_logger()


class Player(pj.AudioMediaPlayer):  # type: ignore[misc] # pjsua2 has no stubs
    """A WAV that plays; `on_end` is called at its end, not on the event loop's thread."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        pj.AudioMediaPlayer.__init__(self)
        self._on_end = on_end

    def onEof2(self) -> None:  # noqa: N802 pjsua2's name
        """Pass it on."""
        self._on_end()


@dataclass(slots=True, kw_only=True)
class Prompt:
    """What a leg is to hear; `player` exists once the leg can hear."""

    name: str
    path: Path
    loop: bool
    player: Player | None = None


class Wiring:
    """Bridges, prompts and recordings of one worker.

    `media_of` returns the usable audio of a leg or None; `hears` tells whether a prompt may start;
    `prompt_ended` gets the leg and the prompt, on any thread.
    """

    def __init__(
        self,
        *,
        media_of: Callable[[LegId], pj.AudioMedia | None],
        hears: Callable[[LegId], bool],
        legs_of: Callable[[CallId], Sequence[LegId]],
        prompt_ended: Callable[[LegId, Prompt], None],
    ) -> None:
        self._media_of = media_of
        self._hears = hears
        self._legs_of = legs_of
        self._prompt_ended = prompt_ended
        self._bridges: set[tuple[LegId, LegId]] = set()
        self._prompts: dict[LegId, Prompt] = {}
        self._recordings: dict[CallId, Recording] = {}

    @property
    def bridges(self) -> Sequence[tuple[LegId, LegId]]:
        """Return the wanted bridges, each pair sorted."""
        return sorted(self._bridges)

    @property
    def recordings(self) -> dict[CallId, Path]:
        """Return the directories of the running recordings."""
        return {call: recording.directory for call, recording in self._recordings.items()}

    def bridged(self, leg: LegId) -> bool:
        """Tell whether `leg` is in any bridge."""
        return any(leg in pair for pair in self._bridges)

    def rewire(self) -> None:
        """Make PJSIP's connections what is wanted; legs without media wait for theirs."""
        for a, b in self._bridges:
            self._connect(a, b)
        for leg in self._prompts:
            self._start_prompt(leg)
        for recording in self._recordings.values():
            recording.rewire()

    def bridge(self, a: LegId, b: LegId) -> None:
        """Want `a` and `b` to hear each other."""
        self._bridges.add((min(a, b), max(a, b)))
        self._connect(a, b)

    def unbridge(self, a: LegId, b: LegId) -> None:
        """Want it no more."""
        self._bridges.discard((min(a, b), max(a, b)))
        first, second = self._media_of(a), self._media_of(b)
        if first is None or second is None:
            return
        try:
            first.stopTransmit(second)
            second.stopTransmit(first)
        except pj.Error as exc:  # one went while we looked: nothing left to undo
            log.info("unbridge_failed", a=a, b=b, detail=exc.reason)

    def play(self, leg: LegId, prompt: Prompt) -> None:
        """Want `leg` to hear `prompt` instead of whatever it hears; starts when it can hear."""
        self._prompts[leg] = prompt
        self._start_prompt(leg)

    def stop_playing(self, leg: LegId, only: Prompt | None = None) -> bool:
        """Stop the prompt of `leg`, or only if it is `only`; tell whether there was one."""
        if only is not None and self._prompts.get(leg) is not only:
            return False
        return self._prompts.pop(leg, None) is not None

    def record(self, call: CallId, directory: Path, segment_s: float) -> None:
        """Want `call` recorded; asked again, the recording goes on as it is."""
        if call in self._recordings:
            return
        recording = Recording(directory, segment_s, media_of=lambda: self._usable(call))
        self._recordings[call] = recording
        recording.rewire()

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        """End it; returns its files, none when there is no such recording."""
        recording = self._recordings.pop(call, None)
        return () if recording is None else await recording.stop()

    def forget(self, leg: LegId) -> None:
        """Take a leg that ended out of everything."""
        self._bridges = {pair for pair in self._bridges if leg not in pair}
        self._prompts.pop(leg, None)
        self.rewire()

    async def close(self) -> None:
        """Stop all prompts and recordings and close their files."""
        self._bridges.clear()
        self._prompts.clear()
        for call in list(self._recordings):
            await self.stop_recording(call)

    def _usable(self, call: CallId) -> list[pj.AudioMedia]:
        media = (self._media_of(leg) for leg in self._legs_of(call))
        return [one for one in media if one is not None]

    def _connect(self, a: LegId, b: LegId) -> None:
        first, second = self._media_of(a), self._media_of(b)
        if first is None or second is None:
            return
        try:
            first.startTransmit(second)
            second.startTransmit(first)
        except pj.Error as exc:  # one went while we looked; its end takes the bridge away
            log.info("bridge_wire_failed", a=a, b=b, detail=exc.reason)

    def _start_prompt(self, leg: LegId) -> None:
        prompt, media = self._prompts[leg], self._media_of(leg)
        if media is None or not self._hears(leg):
            return
        try:
            if prompt.player is None:
                prompt.player = self._player(leg, prompt)
            prompt.player.startTransmit(media)
        except pj.Error:
            log.exception("prompt_failed", leg=leg, prompt=prompt.name)
            self._prompt_ended(leg, prompt)  # a flow that waits for its end must not wait for ever

    def _player(self, leg: LegId, prompt: Prompt) -> Player:
        if prompt.loop:
            player = Player(lambda: None)
            player.createPlayer(str(prompt.path), 0)
        else:
            player = Player(lambda: self._prompt_ended(leg, prompt))
            player.createPlayer(str(prompt.path), pj.PJMEDIA_FILE_NO_LOOP)
        return player
