"""Finishing recordings: verified, hashed, and noted on the incident's timeline."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Final

import structlog

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId, IncidentId
from gateway.incidents.model import Change, Entry, IncidentDesk, Scalar, Source
from gateway.telephony.recordings import Manifest, RecordingError, finalise, repair_all

log = structlog.get_logger()

# A recording is on the disk whatever the store does; its line may wait for the store this long.
NOTE_TRIES: Final = 20
NOTE_PAUSE_S: Final = 3.0


class Archive:
    """Sees recordings to their end."""

    def __init__(self, root: Path, desk: IncidentDesk, clock: Clock) -> None:
        self._root = root
        self._desk = desk
        self._clock = clock

    async def finish(self, call: CallId, incident: IncidentId, directory: Path) -> None:
        """Verify the recording of an ended call and note it; a bad file is noted, not raised."""
        try:
            manifest = await finalise(directory)
        except RecordingError as error:
            log.exception("recording_failed", incident=incident, call=call)
            await self._note(incident, call, "recording_failed", {"detail": str(error)})
            return
        await self._note(incident, call, "recording_finished", summary(manifest))

    async def repair(self, living: Collection[CallId]) -> None:
        """Finish what an earlier daemon left, except the recordings of `living` calls."""
        for manifest in await repair_all(self._root, living):
            incident, call = IncidentId(manifest.incident), CallId(manifest.call)
            await self._note(incident, call, "recording_finished", summary(manifest))

    async def _note(
        self, incident: IncidentId, call: CallId, what: str, data: dict[str, Scalar]
    ) -> None:
        now = self._clock.time()
        entry = Entry(at=now, source=Source.GATEWAY, what=what, call=call, data=data)
        for _ in range(NOTE_TRIES):
            try:
                await self._desk.apply(Change(incident=incident, at=now, entries=(entry,)))
            except StoreUnavailable:
                await asyncio.sleep(NOTE_PAUSE_S)
            except LookupError:  # a recording of another store, or of a deleted case
                log.warning("recording_without_incident", incident=incident, call=call)
                return
            else:
                return
        log.error("recording_not_noted", incident=incident, call=call, what=what)


def summary(manifest: Manifest) -> dict[str, Scalar]:
    """Return what the timeline says of a finished recording."""
    return {
        "seconds": round(manifest.seconds, 2),
        "segments": len(manifest.segments),
        "repaired": len(manifest.repaired),
        "verified": manifest.verified,
    }
