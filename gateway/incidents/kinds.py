"""The kinds of incident that metrics tell apart; terminals could otherwise grow the series."""

from collections.abc import Iterable
from typing import Final

OTHER: Final = "other"

# Alarms of the MQTT contract (docs/asyncapi.yaml) and of the device protocols we decode.
KNOWN_ALARMS: Final = frozenset(
    {
        "charging",
        "fall",
        "fence_enter",
        "fence_leave",
        "gas",
        "heart_rate",
        "low_battery",
        "no_motion",
        "power_cut",
        "smoke",
        "taken_off",
        "water",
    }
)


class KindLabels:
    """Maps a kind to its metric label."""

    def __init__(self, keys: Iterable[str], alarms: Iterable[str]) -> None:
        self._known = KNOWN_ALARMS | frozenset(keys) | frozenset(alarms)

    def label(self, kind: str) -> str:
        """Return `kind` if it is a known key or alarm, else "other"."""
        return kind if kind in self._known else OTHER
