import contextlib
import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import wav
from protocols.errors import DecodeError


def written(frames: int, *, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setframerate(rate)
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.writeframes(bytes(frames * channels * width))
    return out.getvalue()


def crashed(frames: int, *, odd: int = 0) -> bytes:
    whole = bytearray(written(frames))
    whole[4:8] = whole[40:44] = bytes(4)
    return bytes(whole) + b"\x01" * odd


def patched(data: bytes) -> bytes:
    mended = bytearray(data)
    for patch in wav.repair(data[: wav.MAX_HEAD], len(data)):
        mended[patch.offset : patch.offset + len(patch.data)] = patch.data
    return bytes(mended)


def test_a_whole_file_is_left_alone() -> None:
    data = written(8000)
    info = wav.parse(data, len(data))
    assert (info.rate, info.channels, info.bits, info.frames) == (8000, 1, 16, 8000)
    assert info.duration_s == 1.0
    assert info.intact
    assert wav.repair(data, len(data)) == ()


def test_the_head_is_enough() -> None:
    data = written(80_000)
    assert wav.parse(data[:44], len(data)).duration_s == 10.0


@pytest.mark.parametrize("odd", [0, 1])
def test_a_crash_is_mended(odd: int) -> None:
    data = crashed(1600, odd=odd)
    assert not wav.parse(data, len(data)).intact
    mended = patched(data)
    with wave.open(io.BytesIO(mended)) as file:
        assert file.getnframes() == 1600
    assert struct.unpack_from("<I", mended, 4)[0] == len(mended) - 8


def test_a_full_disk_is_mended() -> None:
    data = written(8000)[:-1000]
    mended = patched(data)
    assert wav.parse(mended, len(mended)).frames == 7500


def test_only_the_riff_size_is_missing() -> None:
    data = bytearray(written(100))
    data[4:8] = bytes(4)
    assert patched(bytes(data)) == written(100)


def test_an_empty_recording_is_intact() -> None:
    data = written(0)
    assert wav.parse(data, len(data)).intact
    assert wav.parse(data, len(data)).duration_s == 0


def test_chunks_before_and_behind_the_data() -> None:
    plain = written(100)
    note = b"LIST" + struct.pack("<I", 3) + b"abc\x00"
    body = plain[12:36] + note + plain[36:] + note
    data = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body
    info = wav.parse(data, len(data))
    assert (info.frames, info.intact) == (100, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        written(10)[:30],
        written(10)[:40],
        b"OggS" + bytes(60),
        written(10).replace(b"fmt ", b"fmx "),
        written(10)[:20] + struct.pack("<H", 6) + written(10)[22:],  # A-law
        written(10)[:22] + bytes(2) + written(10)[24:],  # no channels
    ],
)
def test_what_cannot_be_saved_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        wav.parse(data, len(data))
    with pytest.raises(DecodeError):
        wav.repair(data, len(data))


@given(
    frames=st.integers(0, 2000),
    rate=st.sampled_from([8000, 16_000, 44_100]),
    channels=st.integers(1, 2),
    cut=st.integers(0, 5000),
    sizes=st.sampled_from(["kept", "zeroed"]),
)
def test_every_cut_file_becomes_readable(
    frames: int, rate: int, channels: int, cut: int, sizes: str
) -> None:
    data = bytearray(written(frames, rate=rate, channels=channels))
    if sizes == "zeroed":
        data[4:8] = data[40:44] = bytes(4)
    data = data[: max(44, len(data) - cut)]
    mended = patched(bytes(data))
    info = wav.parse(mended, len(mended))
    assert info.intact
    assert wav.repair(mended, len(mended)) == ()
    with wave.open(io.BytesIO(mended)) as file:
        assert file.getnframes() == info.frames == (len(data) - 44) // (2 * channels)


@given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from([b"", written(0)[:36]]))
def test_garbage_raises_only_decode_errors(tail: bytes, size: int, head: bytes) -> None:
    data = head + tail
    for function in (wav.parse, wav.repair):
        with contextlib.suppress(DecodeError):
            function(data, max(size, len(data)))
