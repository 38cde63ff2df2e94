import asyncio
import hashlib
import json
import os
import struct
import wave
from datetime import date
from pathlib import Path

import pytest

from drivers.api.ids import CallId, IncidentId
from gateway.telephony.recordings import (
    RecordingError,
    finalise,
    recording_directory,
    repair_all,
)

CALL, INCIDENT = CallId("01CALL.1"), IncidentId("01INCIDENT")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = recording_directory(tmp_path, day=date(2026, 11, 3), incident=INCIDENT, call=CALL)
    path.mkdir(parents=True)
    return path


def write_wav(path: Path, seconds: float) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\x01\x02" * int(8000 * seconds))


def crash(path: Path) -> None:
    """Leave `path` as a killed writer does: no sizes in the header."""
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0)
    path.with_name(f"{path.name}.part").write_bytes(data)
    path.unlink()


def _listing(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def test_the_layout(tmp_path: Path, directory: Path) -> None:
    assert directory.relative_to(tmp_path) == Path("2026/11/03/01INCIDENT/01CALL.1")


@pytest.mark.parametrize(
    "odd", ["..", ".", "", "a/b", "../x", "/etc", "a\0b", ".x", "a" * 129, "呼"]
)
def test_an_id_builds_no_path(tmp_path: Path, odd: str) -> None:
    day = date(2026, 1, 1)
    with pytest.raises(RecordingError):
        recording_directory(tmp_path, day=day, incident=IncidentId(odd), call=CALL)
    with pytest.raises(RecordingError):
        recording_directory(tmp_path, day=day, incident=INCIDENT, call=CallId(odd))


async def test_whole_segments_are_listed_with_their_checksums(directory: Path) -> None:
    write_wav(directory / "seg-0001.wav", 2.0)
    write_wav(directory / "seg-0002.wav", 0.5)
    (directory / "notes.txt").write_text("not ours")
    manifest = await finalise(directory)
    assert (manifest.call, manifest.incident) == (CALL, INCIDENT)
    assert [segment.file for segment in manifest.segments] == ["seg-0001.wav", "seg-0002.wav"]
    assert manifest.seconds == 2.5
    assert manifest.verified
    assert manifest.repaired == ()
    first = (directory / "seg-0001.wav").read_bytes()
    assert manifest.segments[0].bytes == len(first)
    assert manifest.segments[0].sha256 == hashlib.sha256(first).hexdigest()
    raw = json.loads((directory / "manifest.json").read_text())
    assert raw["segments"][1]["seconds"] == 0.5
    assert raw["verified"] is True


async def test_a_crashed_segment_is_mended_and_renamed(directory: Path) -> None:
    write_wav(directory / "seg-0001.wav", 1.0)
    write_wav(directory / "seg-0002.wav", 3.0)
    crash(directory / "seg-0002.wav")
    manifest = await finalise(directory)
    assert manifest.repaired == ("seg-0002.wav",)
    assert manifest.seconds == 4.0
    assert manifest.verified
    with wave.open(str(directory / "seg-0002.wav")) as sound:
        assert sound.getnframes() == 24_000
    assert [path.name for path in _listing(directory) if path.suffix == ".part"] == []


async def test_a_hopeless_segment_is_named_and_kept(directory: Path) -> None:
    write_wav(directory / "seg-0001.wav", 1.0)
    (directory / "seg-0002.wav.part").write_bytes(b"")
    manifest = await finalise(directory)
    assert not manifest.verified
    assert [each.file for each in manifest.broken] == ["seg-0002.wav.part"]
    assert manifest.seconds == 1.0
    assert (directory / "seg-0002.wav.part").exists()
    assert await finalise(directory) == manifest


async def test_a_part_never_overwrites_a_whole_segment(directory: Path) -> None:
    write_wav(directory / "seg-0001.wav", 2.0)
    crash(directory / "seg-0001.wav")
    write_wav(directory / "seg-0001.wav", 1.0)
    manifest = await finalise(directory)
    assert manifest.seconds == 1.0
    assert [each.file for each in manifest.broken] == ["seg-0001.wav.part"]


async def test_finishing_twice_changes_nothing(directory: Path) -> None:
    write_wav(directory / "seg-0001.wav", 1.0)
    crash(directory / "seg-0001.wav")
    first = await finalise(directory)
    stamp = (directory / "manifest.json").stat()
    assert await finalise(directory) == first
    assert (directory / "manifest.json").stat().st_ino == stamp.st_ino


async def test_later_segments_renew_the_manifest_and_keep_its_history(directory: Path) -> None:
    write_wav(directory / "seg-0001.wav", 1.0)
    crash(directory / "seg-0001.wav")
    await finalise(directory)
    write_wav(directory / "seg-0002.wav", 1.0)
    manifest = await finalise(directory)
    assert manifest.seconds == 2.0
    assert manifest.repaired == ("seg-0001.wav",)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"segments": 3}'])
async def test_a_spoilt_manifest_is_written_anew(directory: Path, content: str) -> None:
    write_wav(directory / "seg-0001.wav", 1.0)
    (directory / "manifest.json").write_text(content)
    assert (await finalise(directory)).verified
    assert json.loads((directory / "manifest.json").read_text())["seconds"] == 1.0


async def test_links_are_not_followed(directory: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "elsewhere.wav", 1.0)
    (directory / "seg-0001.wav").symlink_to(tmp_path / "elsewhere.wav")
    assert (await finalise(directory)).segments == ()


async def test_a_failed_write_leaves_no_manifest(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(directory / "seg-0001.wav", 1.0)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RecordingError, match=r"call 01CALL\.1: .*No space left"):
            await finalise(directory)
    assert not (directory / "manifest.json").exists()
    assert (await finalise(directory)).verified


async def test_a_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="01CALL"):
        await finalise(tmp_path / "01INCIDENT" / "01CALL")


async def test_the_start_finishes_what_no_living_call_writes(tmp_path: Path) -> None:
    day = date(2026, 11, 3)
    for name in ("dead", "alive", "done", "unreadable"):
        path = recording_directory(tmp_path, day=day, incident=INCIDENT, call=CallId(name))
        path.mkdir(parents=True)
        write_wav(path / "seg-0001.wav", 1.0)
        if name == "done":
            await finalise(path)
        else:
            crash(path / "seg-0001.wav")
        if name == "unreadable":
            (path / "manifest.json.tmp").mkdir()
    manifests = await repair_all(tmp_path, {CallId("alive")})
    assert [manifest.call for manifest in manifests] == ["dead"]
    assert (tmp_path / "2026/11/03/01INCIDENT/alive/seg-0001.wav.part").exists()
    assert await repair_all(tmp_path / "nowhere", set()) == []


async def test_file_work_does_not_block_the_loop(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(directory / "seg-0001.wav", 1.0)
    ran_in_loop = []
    real = hashlib.sha256

    def watched(*args: bytes) -> object:
        try:
            asyncio.get_running_loop()
            ran_in_loop.append(True)
        except RuntimeError:
            ran_in_loop.append(False)
        return real(*args)

    monkeypatch.setattr(hashlib, "sha256", watched)
    await finalise(directory)
    assert ran_in_loop == [False]
