"""The recording of one call, in segments that survive a crash.

A segment is written as `seg-0001.wav.part` and renamed to `.wav` once its header is right.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pjsua2 as pj
import structlog

from protocols import wav
from protocols.errors import DecodeError

log = structlog.get_logger()

# The audio clock closes a file at its next tick (20 ms); much longer means that it stands still.
HEADER_WAIT_S = 2.0
HEADER_POLL_S = 0.01
HEAD = 64  # PJSIP's header has 44 bytes
_PART = ".part"


class Recording:
    """Records whatever is fed to it. Segments are numbered on from what `directory` holds."""

    def __init__(
        self, directory: Path, segment_s: float, *, media_of: Callable[[], Sequence[pj.AudioMedia]]
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._segment_s = segment_s
        self._media_of = media_of
        self._number = _last_number(directory)
        self._recorder: pj.AudioMediaRecorder | None = None
        self._part = Path()
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._files: list[Path] = []
        self.paused = False

    def pause(self) -> None:
        """Close the segment and record nothing until `resume`."""
        self.paused = True
        self._close_segment()

    def resume(self) -> None:
        """Go on in a new segment."""
        self.paused = False
        self.rewire()

    def rewire(self) -> None:
        """Connect all media there are now: starts with the first, pauses without any."""
        media = self._media_of()
        if not media or self.paused:
            self._close_segment()
        elif self._recorder is None:
            self._open_segment(media)
        else:
            _connect(media, self._recorder)

    async def stop(self) -> Sequence[Path]:
        """Close the segment; return all that this recording closed, in order."""
        self._close_segment()
        if self._closing:
            await asyncio.wait(self._closing)
        return sorted(self._files)

    def _open_segment(self, media: Iterable[pj.AudioMedia]) -> None:
        part = self.directory / f"seg-{self._number + 1:04d}.wav{_PART}"
        recorder = pj.AudioMediaRecorder()
        try:
            recorder.createRecorder(str(part.with_suffix(".new.wav")))  # it must end in .wav
            part.with_suffix(".new.wav").rename(part)
        except (pj.Error, OSError):  # disk full, directory gone: the call goes on unrecorded
            log.exception("recording_failed", path=str(part))
            return
        _connect(media, recorder)
        self._number += 1
        self._part, self._recorder = part, recorder
        self._timer = asyncio.get_running_loop().call_later(self._segment_s, self._roll)

    def _roll(self) -> None:
        old, part = self._recorder, self._part
        self._recorder = None
        self._open_segment(self._media_of())  # before the old one goes: no sound is missed
        del old  # PJSIP closes the file at the next tick of its clock
        self._finish(part)

    def _close_segment(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._recorder is not None:
            self._recorder = None
            self._finish(self._part)

    def _finish(self, part: Path) -> None:
        task = asyncio.get_running_loop().create_task(self._rename_when_whole(part))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _rename_when_whole(self, part: Path) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + HEADER_WAIT_S
        while not (whole := _rename_if_whole(part)):
            if loop.time() > end:
                log.error("recording_not_closed", path=str(part))
                return  # it stays .part, for the repair at the daemon's next look
            await asyncio.sleep(HEADER_POLL_S)
        self._files.append(whole)


def _connect(media: Iterable[pj.AudioMedia], recorder: pj.AudioMediaRecorder) -> None:
    for one in media:
        try:
            one.startTransmit(recorder)
        except pj.Error as exc:  # the leg went while we looked
            log.info("record_wire_failed", detail=exc.reason)


def _rename_if_whole(part: Path) -> Path | None:
    """Take `.part` off the name once PJSIP has filled in the header's sizes."""
    with part.open("rb") as file:
        head = file.read(HEAD)
    try:
        if not wav.parse(head, part.stat().st_size).intact:
            return None
    except DecodeError:
        return None  # not even the header has been flushed
    return part.rename(part.with_name(part.name.removesuffix(_PART)))


def _last_number(directory: Path) -> int:
    """Return the highest segment number in use, so that another worker goes on after it."""
    names = (path.name.split(".")[0].removeprefix("seg-") for path in directory.glob("seg-*.wav*"))
    return max((int(name) for name in names if name.isdigit()), default=0)
