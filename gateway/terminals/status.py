"""The last measurements of all terminals, in columns: some 80 bytes a terminal, not a kilobyte."""

from array import array
from collections.abc import Sequence
from math import isnan, nan
from typing import Any, Final

import msgspec

from drivers.api.events import Datum, Position, TelemetryReported
from drivers.api.ids import TerminalId
from gateway.terminals.model import Presence, Terminal, TerminalView
from gateway.terminals.presence import Signs

PRESENCES: Final = tuple(Presence)
_NUMBER: Final = {presence: number for number, presence in enumerate(PRESENCES)}
_DATUMS: Final = tuple(Datum)
# Stand for "not known" in integer columns; outside of what the columns' values may be.
_NO_BOOT: Final = -1
_NO_BATTERY: Final = -1
_NO_SIGNAL: Final = 32_767


class StatusColumns:
    """Rows are addressed by slot, a small number that the directory gives out."""

    def __init__(self) -> None:
        self._last_seen = array("d")
        self._device_time = array("d")
        self._boot = array("q")
        self._gone = bytearray()
        self._presence = bytearray()
        self._battery = array("b")
        self._signal = array("h")
        self._lat = array("d")
        self._lon = array("d")
        self._accuracy = array("d")
        self._fix_at = array("d")
        self._datum = bytearray()
        self._vitals: dict[int, str] = {}  # JSON; few terminals measure any
        self.counts = [0] * len(PRESENCES)  # by position in PRESENCES

    def add(self) -> int:
        """Add a row of a terminal that was never seen; return its slot."""
        for column in (
            self._last_seen,
            self._device_time,
            self._lat,
            self._lon,
            self._accuracy,
            self._fix_at,
        ):
            column.append(nan)
        self._boot.append(_NO_BOOT)
        self._battery.append(_NO_BATTERY)
        self._signal.append(_NO_SIGNAL)
        for flags in (self._gone, self._datum, self._presence):
            flags.append(0)
        self.counts[0] += 1
        return len(self._gone) - 1

    def __len__(self) -> int:
        return len(self._gone)

    def signs(self, slot: int) -> Signs:
        """Return the signs of life."""
        boot = self._boot[slot]
        return Signs(
            _known(self._last_seen[slot]),
            boot if boot != _NO_BOOT else None,
            bool(self._gone[slot]),
        )

    def set_signs(self, slot: int, signs: Signs) -> None:
        """Store the signs of life."""
        self._last_seen[slot] = _or_nan(signs.last_seen_at)
        self._boot[slot] = signs.boot if signs.boot is not None else _NO_BOOT
        self._gone[slot] = signs.gone

    def presence(self, slot: int) -> Presence:
        """Return the presence as last judged."""
        return PRESENCES[self._presence[slot]]

    def set_presence(self, slot: int, presence: Presence) -> None:
        """Store the presence and keep the counts."""
        number = _NUMBER[presence]
        self.counts[self._presence[slot]] -= 1
        self.counts[number] += 1
        self._presence[slot] = number

    def measure(self, slot: int, report: TelemetryReported) -> bool:
        """Take a measurement; False when a newer one by the device's clock is there already."""
        at = report.device_time
        if at is not None:
            if at < self._device_time[slot]:  # never true for NaN
                return False
            self._device_time[slot] = at
        if report.battery is not None:
            self._battery[slot] = report.battery
        if report.signal_dbm is not None:
            self._signal[slot] = report.signal_dbm
        if report.position is not None:
            self._set_position(slot, report.position)
        if report.vitals:
            self._vitals[slot] = msgspec.json.encode(report.vitals).decode()
        return True

    def _set_position(self, slot: int, position: Position) -> None:
        self._lat[slot] = position.lat
        self._lon[slot] = position.lon
        self._accuracy[slot] = _or_nan(position.accuracy_m)
        self._fix_at[slot] = _or_nan(position.at)
        self._datum[slot] = _DATUMS.index(position.datum)

    def view(self, slot: int, terminal: Terminal) -> TerminalView:
        """Return a terminal with all that is known of it."""
        row = self.row(slot, terminal.id)
        position = None
        if row["lat"] is not None:
            position = Position(
                lat=row["lat"],
                lon=row["lon"],
                accuracy_m=row["accuracy_m"],
                datum=Datum(row["datum"]),
                at=row["fix_at"],
            )
        return TerminalView(
            terminal=terminal,
            presence=self.presence(slot),
            last_seen_at=row["last_seen_at"],
            boot=row["boot"],
            battery=row["battery"],
            signal_dbm=row["signal_dbm"],
            position=position,
            vitals=msgspec.json.decode(row["vitals"], type=dict[str, float])
            if row["vitals"]
            else {},
        )

    def row(self, slot: int, terminal: TerminalId) -> dict[str, Any]:
        """Return the row for the table `terminal_status`."""
        boot, battery, signal = self._boot[slot], self._battery[slot], self._signal[slot]
        lat = _known(self._lat[slot])
        return {
            "terminal": terminal,
            "last_seen_at": _known(self._last_seen[slot]),
            "gone": bool(self._gone[slot]),
            "boot": boot if boot != _NO_BOOT else None,
            "device_time": _known(self._device_time[slot]),
            "battery": battery if battery != _NO_BATTERY else None,
            "signal_dbm": signal if signal != _NO_SIGNAL else None,
            "vitals": self._vitals.get(slot),
            "lat": lat,
            "lon": _known(self._lon[slot]),
            "accuracy_m": _known(self._accuracy[slot]),
            "datum": _DATUMS[self._datum[slot]].value if lat is not None else None,
            "fix_at": _known(self._fix_at[slot]),
        }

    def restore(self, slot: int, row: Sequence[Any]) -> None:
        """Take a row of the table `terminal_status`."""
        # By position, in the order of the table: a start reads this for every terminal.
        _, seen, gone, boot, device_time, battery, signal, vitals, lat, lon, acc, datum, fix = row
        self.set_signs(slot, Signs(seen, boot, gone))
        self._device_time[slot] = _or_nan(device_time)
        self._battery[slot] = battery if battery is not None else _NO_BATTERY
        self._signal[slot] = signal if signal is not None else _NO_SIGNAL
        if vitals:
            self._vitals[slot] = vitals
        if lat is not None:
            self._lat[slot], self._lon[slot] = lat, lon
            self._accuracy[slot] = _or_nan(acc)
            self._fix_at[slot] = _or_nan(fix)
            self._datum[slot] = _DATUMS.index(Datum(datum))


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _or_nan(value: float | None) -> float:
    return nan if value is None else value
