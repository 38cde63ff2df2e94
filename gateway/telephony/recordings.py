"""Finished recordings: mend what a crash left, then say in a manifest what there is.

Layout: `<recordings>/<yyyy>/<mm>/<dd>/<incident>/<call>/seg-0001.wav …` and `manifest.json`. A
directory without a manifest is not finished. All file work happens off the event loop.
"""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import structlog

from drivers.api.ids import CallId, IncidentId
from protocols.errors import DecodeError, DecodeReason
from protocols.wav import MAX_HEAD, parse, repair

log = structlog.get_logger()

MANIFEST = "manifest.json"
_PART = ".part"
_SEGMENT = re.compile(r"seg-\d{4,}\.wav(\.part)?")
# What our ids look like (ULIDs, with ".<n>" behind); nothing that a path could be built from.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CHUNK = 1 << 20


class RecordingError(Exception):
    """A recording cannot be finished; the text says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One WAV file. `sha256` in hex, over the whole file."""

    file: str
    seconds: float
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A file that holds no sound that could be saved; it is left as it is."""

    file: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a recording consists of. `verified`: every file is a whole WAV with its checksum."""

    call: str
    incident: str
    seconds: float
    segments: tuple[Segment, ...]
    repaired: tuple[str, ...]
    broken: tuple[Broken, ...]
    verified: bool


def recording_directory(root: Path, *, day: date, incident: IncidentId, call: CallId) -> Path:
    """Return where the recording of `call` belongs; raises RecordingError for an odd id."""
    for text in (incident, call):
        if not _ID.fullmatch(text):
            raise RecordingError(f"{text!r} cannot name a directory")
    return root / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}" / incident / call


async def finalise(directory: Path) -> Manifest:
    """Mend, check and list the segments in `directory`, and write its manifest; idempotent.

    Call and incident are the names of the directory and its parent. Raises RecordingError when
    there is no such directory or it cannot be read or written.
    """
    return await asyncio.to_thread(_finalise, directory)


async def repair_all(root: Path, living: Collection[CallId]) -> Sequence[Manifest]:
    """Finish all recordings below `root` that have no manifest and whose calls are not `living`.

    For the start of the daemon. What cannot be finished is logged and left for the next start.
    """
    return await asyncio.to_thread(_repair_all, root, frozenset(living))


def _repair_all(root: Path, living: frozenset[CallId]) -> Sequence[Manifest]:
    done = []
    for directory in _unfinished(root):
        if directory.name in living:
            continue
        try:
            done.append(_finalise(directory))
        except RecordingError as exc:
            log.error("recording_not_finished", call=directory.name, detail=str(exc))  # noqa: TRY400  the text says all
    return done


def _unfinished(root: Path) -> Iterator[Path]:
    pattern = "[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/*/*"
    for directory in sorted(root.glob(pattern)):
        if directory.is_dir() and not (directory / MANIFEST).exists():
            yield directory


def _finalise(directory: Path) -> Manifest:
    call, incident = directory.name, directory.parent.name
    if not (_ID.fullmatch(call) and _ID.fullmatch(incident)):
        raise RecordingError(f"{directory} is not named after an incident and a call")
    try:
        files = _segment_files(directory)
        known = _read_manifest(directory)
        if known is not None and _still_true(known, directory, files):
            return known
        manifest = _examine(directory, files, known)
        _write_manifest(directory, manifest)
    except OSError as exc:
        raise RecordingError(f"recording of call {call}: {exc}") from exc
    log.info(
        "recording_finished",
        call=call,
        incident=incident,
        seconds=manifest.seconds,
        segments=len(manifest.segments),
        repaired=len(manifest.repaired),
        verified=manifest.verified,
    )
    return manifest


def _segment_files(directory: Path) -> Sequence[Path]:
    """Return the segments in the order of their numbers; neither links nor foreign files."""
    found = [
        path
        for path in directory.iterdir()
        if _SEGMENT.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    ]
    return sorted(found, key=lambda path: (int(path.name[4:].split(".")[0]), path.name))


def _examine(directory: Path, files: Sequence[Path], known: Manifest | None) -> Manifest:
    segments: list[Segment] = []
    repaired = list(known.repaired) if known is not None else []
    broken: list[Broken] = []
    for path in files:
        try:
            whole, mended = _mend(path)
        except DecodeError as exc:
            broken.append(Broken(file=path.name, detail=exc.detail))
            continue
        if mended and whole.name not in repaired:
            repaired.append(whole.name)
        segments.append(_measure(whole))
    return Manifest(
        call=directory.name,
        incident=directory.parent.name,
        seconds=round(sum(segment.seconds for segment in segments), 3),
        segments=tuple(segments),
        repaired=tuple(repaired),
        broken=tuple(broken),
        verified=not broken,
    )


def _mend(path: Path) -> tuple[Path, bool]:
    """Make the header of `path` right and its name final; tell whether the header was wrong.

    The rename comes last: a crash here leaves a `.part` for the next time.
    """
    with path.open("r+b") as file:
        patches = repair(file.read(MAX_HEAD), path.stat().st_size)
        for patch in patches:
            file.seek(patch.offset)
            file.write(patch.data)
        if patches:
            file.flush()
            os.fsync(file.fileno())
    whole = path.with_name(path.name.removesuffix(_PART))
    if whole != path:
        if whole.exists():
            raise DecodeError(DecodeReason.WRONG_SHAPE, f"{whole.name} exists already")
        path.rename(whole)
    return whole, bool(patches)


def _measure(path: Path) -> Segment:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        info = parse(file.read(MAX_HEAD), path.stat().st_size)
        file.seek(0)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        size = file.tell()
    return Segment(
        file=path.name,
        seconds=round(info.duration_s, 3),
        bytes=size,
        sha256=digest.hexdigest(),
    )


def _read_manifest(directory: Path) -> Manifest | None:
    """Return the manifest there is; one that cannot be read counts as none."""
    try:
        raw = json.loads((directory / MANIFEST).read_text("utf-8"))
        segments = tuple(Segment(**segment) for segment in raw.pop("segments"))
        broken = tuple(Broken(**each) for each in raw.pop("broken"))
        repaired = tuple(raw.pop("repaired"))
        return Manifest(**raw, segments=segments, broken=broken, repaired=repaired)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        log.warning("manifest_unreadable", call=directory.name, detail=str(exc))
        return None


def _still_true(known: Manifest, directory: Path, files: Sequence[Path]) -> bool:
    """Tell whether the files are those of the manifest. Sizes must do: hashing hours is no look."""
    listed = {segment.file: segment.bytes for segment in known.segments}
    listed |= {each.file: (directory / each.file).stat().st_size for each in known.broken}
    return listed == {path.name: path.stat().st_size for path in files}


def _write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write so that after a power cut there is the whole manifest or none."""
    draft = directory / f"{MANIFEST}.tmp"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(asdict(manifest), file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(directory / MANIFEST)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
