"""The CDR as a spreadsheet: one line per leg, its call repeated on it. Pure."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from gateway.cdr.records import CallCdr, LegCdr
from protocols.text import clean_text

CALL_COLUMNS: Final = (
    "call",
    "incident",
    "terminal",
    "kind",
    "flow",
    "direction",
    "started_at",
    "answered_at",
    "ended_at",
    "setup_s",
    "talk_s",
    "outcome",
)
LEG_COLUMNS: Final = LegCdr.__struct_fields__
_TIMES: Final = frozenset({"started_at", "answered_at", "ended_at"})
# Spreadsheets run a cell that begins with one of these as a formula; an apostrophe makes it text
# (OWASP: CSV Injection). Tab and line ends cannot come: texts are cleaned.
_FORMULA: Final = ("=", "+", "-", "@")


def _line(cells: Iterable[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode()


# The mark tells spreadsheets that it is UTF-8.
HEADER: Final = b"\xef\xbb\xbf" + _line(
    [f"call_{name}" if name != "call" else name for name in CALL_COLUMNS]
    + [f"leg_{name}" if name != "leg" else name for name in LEG_COLUMNS]
)


def lines_of(call: CallCdr) -> bytes:
    """Return the lines of a call: one per leg, or one with empty cells when it has none."""
    own = [cell(name, getattr(call, name)) for name in CALL_COLUMNS]
    if not call.legs:
        return _line(own + [""] * len(LEG_COLUMNS))
    return b"".join(
        _line(own + [cell(name, getattr(leg, name)) for name in LEG_COLUMNS]) for leg in call.legs
    )


def cell(name: str, value: str | float | None) -> str:
    """Return the text of a cell: times as ISO 8601, numbers plain, texts harmless."""
    if value is None:
        return ""
    if isinstance(value, str):
        # Nearly all are plain ids; cleaning each would take most of the time of an export.
        plain = value.isascii() and value.isprintable()
        harmless = value if plain else clean_text(value)
        return f"'{harmless}" if harmless.startswith(_FORMULA) else harmless
    if name in _TIMES:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")
    return str(value)
