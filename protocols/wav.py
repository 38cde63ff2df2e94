"""RIFF/WAVE headers: read them, and compute the repair of a file whose writer was killed.

Source: "Multimedia Programming Interface and Data Specifications 1.0" (IBM, Microsoft, 1991).
Pure: the caller reads the first `MAX_HEAD` bytes and the file's size, and writes the patches.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from protocols.errors import DecodeError, DecodeReason

# PJSIP writes 44 bytes; other writers put LIST chunks before the data, seldom above 1 KiB.
MAX_HEAD = 65_536
FORMAT_PCM = 1
_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")


@dataclass(frozen=True, slots=True, kw_only=True)
class WavInfo:
    """What a header says and what the file's size allows. Bytes, Hz, bits."""

    rate: int
    channels: int
    bits: int
    data_offset: int
    data_bytes: int  # sound really present, whole frames
    intact: bool  # the header's sizes agree with the file's

    @property
    def frames(self) -> int:
        """Return the number of samples per channel."""
        return self.data_bytes // (self.channels * self.bits // 8)

    @property
    def duration_s(self) -> float:
        """Return the length of the sound in seconds."""
        return self.frames / self.rate


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes to write at an offset."""

    offset: int
    data: bytes


def parse(head: bytes, file_size: int) -> WavInfo:
    """Return what the WAV of `file_size` bytes that begins with `head` holds.

    Raises DecodeError (wrong_shape) when it is no PCM WAV or its header is cut short.
    """
    return _walk(head, file_size)[0]


def repair(head: bytes, file_size: int) -> Sequence[Patch]:
    """Return the writes that make the header agree with the file; none when it does already.

    PJSIP fills in both sizes only at close: after a crash they are 0. Raises DecodeError
    (wrong_shape) when nothing can be saved.
    """
    info, riff_size = _walk(head, file_size)
    if info.intact:
        return ()
    patches = [Patch(info.data_offset - 4, struct.pack("<I", min(info.data_bytes, 0xFFFF_FFFF)))]
    if riff_size != file_size - 8:
        patches.insert(0, Patch(4, struct.pack("<I", min(file_size - 8, 0xFFFF_FFFF))))
    return patches


def _walk(head: bytes, file_size: int) -> tuple[WavInfo, int]:
    if len(head) < _RIFF.size:
        raise _wrong(f"{len(head)} bytes are no header")
    magic, riff_size, form = _RIFF.unpack_from(head)
    if magic != b"RIFF" or form != b"WAVE":
        raise _wrong("no RIFF/WAVE")
    shape: tuple[int, int, int] | None = None
    offset = _RIFF.size
    while offset + _CHUNK.size <= len(head):
        name, size = _CHUNK.unpack_from(head, offset)
        offset += _CHUNK.size
        if name == b"data":
            if shape is None:
                raise _wrong("data before fmt")
            return _info(shape, offset, size, riff_size, file_size), riff_size
        if name == b"fmt ":
            shape = _shape(head, offset)
        offset += size + size % 2  # chunks are padded to even offsets
    raise _wrong("no data chunk")


def _shape(head: bytes, offset: int) -> tuple[int, int, int]:
    if offset + _FORMAT.size > len(head):
        raise _wrong("fmt chunk cut short")
    coding, channels, rate, _, _, bits = _FORMAT.unpack_from(head, offset)
    if coding != FORMAT_PCM or bits not in {8, 16, 24, 32} or not channels or not rate:
        raise _wrong(f"coding {coding}, {channels} channels, {rate} Hz, {bits} bits")
    return rate, channels, bits


def _info(
    shape: tuple[int, int, int], offset: int, declared: int, riff_size: int, file_size: int
) -> WavInfo:
    rate, channels, bits = shape
    block = channels * bits // 8
    present = max(0, file_size - offset)
    # Sizes are believed when they fit the file. A crash leaves 0, a full disk promises too much.
    # (No data declared but bytes behind it: an unfinished file, not one with an empty recording.)
    whole = declared % block == 0 and (declared > 0 or present < block)
    intact = whole and offset + declared <= riff_size + 8 <= file_size
    kept = declared if intact else present - present % block
    return WavInfo(
        rate=rate,
        channels=channels,
        bits=bits,
        data_offset=offset,
        data_bytes=kept,
        intact=intact,
    )


def _wrong(detail: str) -> DecodeError:
    return DecodeError(DecodeReason.WRONG_SHAPE, detail)
