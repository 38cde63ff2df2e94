"""Who hears whom: the wanted state, wired anew at every media event.

A connection lets one leg hear another; a bridge is two of them. A leg that we hold keeps its
connections as wanted, but hears only its prompt and is heard by nobody.

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

    `media_of` returns the usable audio of a leg or None; `hears` tells whether a prompt may start,
    `parked` whether we hold it; `prompt_ended` gets the leg and the prompt, on any thread.
    """

    def __init__(
        self,
        *,
        media_of: Callable[[LegId], pj.AudioMedia | None],
        hears: Callable[[LegId], bool],
        parked: Callable[[LegId], bool],
        legs_of: Callable[[CallId], Sequence[LegId]],
        prompt_ended: Callable[[LegId, Prompt], None],
    ) -> None:
        self._media_of = media_of
        self._hears = hears
        self._parked = parked
        self._legs_of = legs_of
        self._prompt_ended = prompt_ended
        self._wanted: set[tuple[LegId, LegId]] = set()  # (source, sink)
        self._prompts: dict[LegId, Prompt] = {}
        self._recordings: dict[CallId, Recording] = {}

    @property
    def bridges(self) -> Sequence[tuple[LegId, LegId]]:
        """Return the pairs that hear each other, each pair sorted."""
        return sorted(pair for pair in self._wanted if pair[0] < pair[1] and self._mutual(pair))

    @property
    def connections(self) -> Sequence[tuple[LegId, LegId]]:
        """Return who hears whom without being heard by them: (source, sink)."""
        return sorted(pair for pair in self._wanted if not self._mutual(pair))

    @property
    def recordings(self) -> dict[CallId, Path]:
        """Return the directories of the running recordings."""
        return {call: recording.directory for call, recording in self._recordings.items()}

    @property
    def paused(self) -> Sequence[CallId]:
        """Return the calls whose recordings pause."""
        return [call for call, recording in self._recordings.items() if recording.paused]

    def heard(self, leg: LegId) -> bool:
        """Tell whether anybody is to hear `leg`."""
        return any(leg == source for source, _ in self._wanted)

    def rewire(self) -> None:
        """Make PJSIP's connections what is wanted; legs without media wait for theirs."""
        for source, sink in self._wanted:
            self._wire(source, sink)
        for leg in self._prompts:
            self._start_prompt(leg)
        for recording in self._recordings.values():
            recording.rewire()

    def connect(self, source: LegId, sink: LegId) -> None:
        """Want `sink` to hear `source`."""
        self._wanted.add((source, sink))
        self._wire(source, sink)

    def disconnect(self, source: LegId, sink: LegId) -> None:
        """Want it no more."""
        self._wanted.discard((source, sink))
        self._unwire(source, sink)

    def park(self, leg: LegId) -> None:
        """Silence a leg that we hold from now on; `rewire` brings it back."""
        for source, sink in self._wanted:
            if leg in {source, sink}:
                self._unwire(source, sink)

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

    def pause_recording(self, call: CallId) -> None:
        """Record nothing of `call` for a while; not recorded is no error."""
        if call in self._recordings:
            self._recordings[call].pause()

    def resume_recording(self, call: CallId) -> None:
        """Go on."""
        if call in self._recordings and self._recordings[call].paused:
            self._recordings[call].resume()

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        """End it; returns its files, none when there is no such recording."""
        recording = self._recordings.pop(call, None)
        return () if recording is None else await recording.stop()

    def forget(self, leg: LegId) -> None:
        """Take a leg that ended out of everything."""
        self._wanted = {pair for pair in self._wanted if leg not in pair}
        self._prompts.pop(leg, None)
        self.rewire()

    async def close(self) -> None:
        """Stop all prompts and recordings and close their files."""
        self._wanted.clear()
        self._prompts.clear()
        for call in list(self._recordings):
            await self.stop_recording(call)

    def _usable(self, call: CallId) -> list[pj.AudioMedia]:
        media = (self._media_of(leg) for leg in self._legs_of(call))
        return [one for one in media if one is not None]

    def _mutual(self, pair: tuple[LegId, LegId]) -> bool:
        return (pair[1], pair[0]) in self._wanted

    def _wire(self, source: LegId, sink: LegId) -> None:
        talking, hearing = self._media_of(source), self._media_of(sink)
        if talking is None or hearing is None or self._parked(source) or self._parked(sink):
            return
        try:
            talking.startTransmit(hearing)
        except pj.Error as exc:  # one went while we looked; its end takes the connection away
            log.info("wire_failed", source=source, sink=sink, detail=exc.reason)

    def _unwire(self, source: LegId, sink: LegId) -> None:
        talking, hearing = self._media_of(source), self._media_of(sink)
        if talking is None or hearing is None:
            return
        try:
            talking.stopTransmit(hearing)
        except pj.Error as exc:  # one went while we looked: nothing left to undo
            log.info("unwire_failed", source=source, sink=sink, detail=exc.reason)

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
