"""Ids of incidents: ULIDs, so that their order is the order of opening."""

from ulid import ULID

from drivers.api.ids import IncidentId


class IncidentIds:
    """Makes ids that grow within the process even when the clock is set back."""

    def __init__(self) -> None:
        self._last_ms = 0

    def make(self, now: float) -> IncidentId:
        """Return a new id; `now` in Unix seconds."""
        self._last_ms = max(self._last_ms, int(now * 1000))
        return IncidentId(str(ULID.from_timestamp(self._last_ms)))
