"""Recordings come to their end and to their incident's timeline."""

import asyncio
from datetime import date
from pathlib import Path

import pytest

from drivers.api.ids import CallId, IncidentId
from gateway import archive as module
from gateway.archive import Archive
from gateway.incidents.model import Entry
from gateway.telephony.recordings import recording_directory
from tests.gateway.incidents.conftest import Office, press
from tests.gateway.rig import STORE, locked
from tests.gateway.telephony.test_recordings import crash, write_wav
from tests.waiting import wait_until

CALL = CallId("01CALL")


def directory(root: Path, incident: IncidentId, call: CallId = CALL) -> Path:
    path = recording_directory(root, day=date(2026, 11, 3), incident=incident, call=call)
    path.mkdir(parents=True)
    return path


async def an_incident(office: Office, event: str = "e1", terminal: str = "t-1") -> IncidentId:
    taken = await office.desk.take(press(event, terminal=terminal))
    assert taken.incident is not None
    return taken.incident.id


async def last_line(office: Office, incident: IncidentId) -> Entry:
    return (await office.desk.timeline(incident))[-1]


@pytest.fixture
def archive(sqlite_office: Office, tmp_path: Path) -> Archive:
    return Archive(tmp_path / "recordings", sqlite_office.desk, sqlite_office.clock)


async def test_a_finished_recording_is_noted(
    archive: Archive, sqlite_office: Office, tmp_path: Path
) -> None:
    incident = await an_incident(sqlite_office)
    place = directory(tmp_path / "recordings", incident)
    write_wav(place / "seg-0001.wav", 0.5)
    await archive.finish(CALL, incident, place)
    line = await last_line(sqlite_office, incident)
    assert (line.what, line.call) == ("recording_finished", CALL)
    assert line.data == {"seconds": 0.5, "segments": 1, "repaired": 0, "verified": True}


async def test_a_recording_that_is_not_there_is_noted_as_failed(
    archive: Archive, sqlite_office: Office, tmp_path: Path
) -> None:
    incident = await an_incident(sqlite_office)
    await archive.finish(CALL, incident, tmp_path / "nowhere" / "01INCIDENT" / CALL)
    line = await last_line(sqlite_office, incident)
    assert line.what == "recording_failed"
    assert "nowhere" in str(line.data["detail"])


async def test_the_note_waits_for_the_store(
    archive: Archive, sqlite_office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NOTE_PAUSE_S", 0.01)
    incident = await an_incident(sqlite_office)
    place = directory(tmp_path / "recordings", incident)
    write_wav(place / "seg-0001.wav", 0.1)
    with locked(tmp_path / STORE):
        finishing = asyncio.create_task(archive.finish(CALL, incident, place))
        await wait_until(lambda: sqlite_office.database.last_error)
        assert (place / "manifest.json").exists(), "the recording does not wait"
        assert not finishing.done()
    await asyncio.wait_for(finishing, 5)
    assert (await last_line(sqlite_office, incident)).what == "recording_finished"


async def test_the_note_is_given_up_in_the_end(
    archive: Archive,
    sqlite_office: Office,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "NOTE_PAUSE_S", 0.0)
    incident = await an_incident(sqlite_office)
    place = directory(tmp_path / "recordings", incident)
    await sqlite_office.database.stop()
    await asyncio.wait_for(archive.finish(CALL, incident, place), 5)
    assert "recording_not_noted" in capsys.readouterr().out
    await sqlite_office.database.start()


async def test_what_an_earlier_daemon_left_is_repaired_but_not_what_lives(
    archive: Archive, sqlite_office: Office, tmp_path: Path
) -> None:
    root = tmp_path / "recordings"
    left = await an_incident(sqlite_office)
    living = await an_incident(sqlite_office, "e2", "t-2")
    for incident, call in ((left, CALL), (living, CallId("02CALL"))):
        place = directory(root, incident, call)
        write_wav(place / "seg-0001.wav", 0.5)
        crash(place / "seg-0001.wav")
    await archive.repair({CallId("02CALL")})
    line = await last_line(sqlite_office, left)
    assert line.data == {"seconds": 0.5, "segments": 1, "repaired": 1, "verified": True}
    assert (await last_line(sqlite_office, living)).what == "press_received"


async def test_a_recording_of_another_store_is_left_alone(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = directory(tmp_path / "recordings", IncidentId("01FOREIGN"))
    write_wav(place / "seg-0001.wav", 0.1)
    await archive.repair(())
    assert "recording_without_incident" in capsys.readouterr().out
    assert (place / "seg-0001.wav").exists()
