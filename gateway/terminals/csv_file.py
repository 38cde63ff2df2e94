"""Terminals from a CSV file: UTF-8, comma, a header line; only `id` is needed.

Columns: id, kind, model, driver, sip_uri, site, subscriber, label, language, training.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from drivers.api.ids import TerminalId
from gateway.terminals.model import Terminal
from protocols.text import clean_text

KINDS: Final = ("phone", "app", "tv", "portable", "kiosk")
COLUMNS: Final = (
    "id",
    "kind",
    "model",
    "driver",
    "sip_uri",
    "site",
    "subscriber",
    "label",
    "language",
    "training",
)
# Characters that mean nothing to MQTT topics, SIP user parts or file names.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_SIP_URI = re.compile(r"sips?:[^\s<>\"]{1,195}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")  # BCP 47, the part we use
_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
_MAX_ERRORS: Final = 20  # enough to see what is wrong with a file of thousands


class CsvErrors(Exception):
    """The file was refused; `errors` names the line of each fault."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


def read_terminals(path: Path) -> list[Terminal]:
    """Return all terminals of a file; raises CsvErrors (nothing is taken then) or OSError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(csv.DictReader(file, strict=True))
    except UnicodeDecodeError as error:
        raise CsvErrors([f"not UTF-8: {error}"]) from error


def _read(reader: "csv.DictReader[str]") -> list[Terminal]:
    faults = list(_header_faults(reader))
    if faults:
        raise CsvErrors(faults)
    terminals: dict[str, Terminal] = {}
    try:
        for row in reader:
            try:
                _add(terminals, _terminal(row))
            except ValueError as error:
                faults.append(f"line {reader.line_num}: {error}")
            if len(faults) >= _MAX_ERRORS:
                break
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")
    if faults:
        raise CsvErrors(faults)
    return list(terminals.values())


def _add(terminals: dict[str, Terminal], terminal: Terminal) -> None:
    if terminal.id in terminals:
        raise ValueError(f"id {terminal.id!r} was there before")
    terminals[terminal.id] = terminal


def _header_faults(reader: "csv.DictReader[str]") -> Iterator[str]:
    names = list(reader.fieldnames or [])
    if "id" not in names:
        yield "line 1: the header has no column `id`"
    for name in names:
        if name not in COLUMNS:
            yield f"line 1: unknown column {clean_text(name)!r}; known are {', '.join(COLUMNS)}"
    if len(set(names)) != len(names):
        yield "line 1: a column is there twice"


def _terminal(row: dict[str, str]) -> Terminal:
    """Return the terminal of a line; raises ValueError with the column that is wrong."""
    if None in row:
        raise ValueError("more fields than columns")
    if None in row.values():
        raise ValueError("fewer fields than columns")
    fields = {name: text.strip() for name, text in row.items()}

    def field(name: str, default: str, pattern: re.Pattern[str]) -> str:
        text = fields.get(name, "") or default
        if text and not pattern.fullmatch(text):
            raise ValueError(f"{name} {clean_text(text)!r} is not allowed")
        return text

    kind = field("kind", "portable", _WORD)
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if not fields["id"]:
        raise ValueError("id is empty")
    return Terminal(
        id=TerminalId(field("id", "", _ID)),
        kind=kind,
        model=clean_text(fields.get("model", ""), limit=64),
        driver=field("driver", "mqtt", _WORD),
        sip_uri=field("sip_uri", "", _SIP_URI),
        site=field("site", "", _ID) or None,
        subscriber=field("subscriber", "", _ID) or None,
        label=clean_text(fields.get("label", ""), limit=80),
        language=field("language", "zh-CN", _LANGUAGE),
        training=_flag(fields.get("training", "")),
    )


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(f"training {clean_text(text)!r} is neither true nor false")
