"""The three SQLite files of the edge. All functions block for milliseconds: call them in a thread.

`location.sqlite` and `dialog.sqlite` are Kamailio's (usrloc and dialog write them back every
second); we create and read them, and never write: its SQLite driver cannot wait for a lock.
`credentials.sqlite` is ours; Kamailio's htable reads it at its start and on htable.reload.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from drivers.api.edge import Registration
from protocols.text import clean_text

SCHEMAS = Path("/usr/share/kamailio/db_sqlite")
BUSY_S = 2.0
JULIAN_EPOCH = 2_440_587.5  # Julian day of 1970-01-01T00:00Z: db_sqlite stores times as such
SECONDS_PER_DAY = 86_400.0

# What htable's db loader selects (modules/htable, db parameters), in a table named like the htable.
_CREDENTIALS = """
CREATE TABLE IF NOT EXISTS ha1 (
    key_name TEXT PRIMARY KEY NOT NULL,
    key_type INTEGER NOT NULL DEFAULT 0,
    value_type INTEGER NOT NULL DEFAULT 0,
    key_value TEXT NOT NULL,
    expires INTEGER NOT NULL DEFAULT 0
)"""

_HOST_PORT = re.compile(r"^(?:sips?:)?(?:[^@]*@)?(\[[0-9a-fA-F:]+\]|[^:;>?]+)(?::(\d+))?")
_ALIAS = re.compile(r";alias=([^~;]+)~(\d+)~")


class DialogKey(NamedTuple):
    """What names a dialog to Kamailio, in the order that dlg.terminate_dlg takes."""

    call_id: str
    from_tag: str
    to_tag: str


def prepare(location_db: Path, dialog_db: Path, credentials_db: Path) -> None:
    """Create what does not exist yet; raises OSError or sqlite3.Error."""
    with _open(credentials_db) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(_CREDENTIALS)
    _create(location_db, "usrloc", "location_attrs")
    _create(dialog_db, "dialog", "dialog_vars")
    for path in (location_db, dialog_db, credentials_db):
        path.chmod(0o600)


def store_ha1(path: Path, user: str, ha1: str) -> None:
    """Remember the HA1 of `user` for the next start."""
    with _open(path) as db:
        db.execute("INSERT OR REPLACE INTO ha1 (key_name, key_value) VALUES (?, ?)", (user, ha1))


def forget_ha1(path: Path, user: str) -> None:
    """Forget the HA1 of `user`."""
    with _open(path) as db:
        db.execute("DELETE FROM ha1 WHERE key_name = ?", (user,))


def replace_ha1(path: Path, credentials: Mapping[str, str]) -> None:
    """Remember these and no others."""
    with _open(path) as db:
        db.execute("DELETE FROM ha1")
        db.executemany("INSERT INTO ha1 (key_name, key_value) VALUES (?, ?)", credentials.items())


def registrations(path: Path, now: float) -> tuple[Registration, ...]:
    """Return the contacts that have not expired at `now` (Unix seconds), in order of user."""
    query = (
        "SELECT username, contact, received, expires, socket, user_agent FROM location"
        " WHERE expires > ? ORDER BY username, contact"
    )
    with _open(path) as db:
        rows = db.execute(query, (now / SECONDS_PER_DAY + JULIAN_EPOCH,)).fetchall()
    return tuple(_registration(*row) for row in rows)


def answered_dialogs(path: Path, worker: str) -> tuple[tuple[DialogKey, bool], ...]:
    """Return the answered dialogs of the worker at "ip:port", each with whether the ACK came."""
    # dlg_hash.h: 3 is DLG_STATE_CONFIRMED_NA (200 sent, ACK not seen), 4 DLG_STATE_CONFIRMED.
    query = (
        "SELECT callid, from_tag, to_tag, state = 4, caller_contact, callee_contact FROM dialog"
        " WHERE state IN (3, 4)"
    )
    with _open(path) as db:
        rows = db.execute(query).fetchall()
    return tuple(
        (DialogKey(call_id, from_tag, to_tag), bool(acknowledged))
        for call_id, from_tag, to_tag, acknowledged, *contacts in rows
        if worker in map(host_port, contacts)
    )


def host_port(uri: str) -> str:
    """Return "ip:port" of a SIP URI, that of its NAT alias if it has one; 5060 without a port."""
    alias = _ALIAS.search(uri)
    if alias is not None:
        return f"{alias[1]}:{alias[2]}"
    found = _HOST_PORT.match(uri.strip("<> "))
    return f"{found[1]}:{found[2] or 5060}" if found else ""


def _registration(
    user: str,
    contact: str,
    received: str | None,
    expires: float,
    socket: str | None,
    agent: str | None,
) -> Registration:
    return Registration(
        user=clean_text(user),
        contact=clean_text(contact),
        expires_at=round((expires - JULIAN_EPOCH) * SECONDS_PER_DAY),
        source=clean_text(host_port(received or contact)),
        transport=(socket or "udp:").split(":", 1)[0],
        user_agent="" if agent in {None, "n/a"} else clean_text(str(agent)),
    )


def _create(path: Path, schema: str, last_table: str) -> None:
    with _open(path) as db:
        # Readers and the one writer do not disturb each other; the mode stays with the file.
        db.execute("PRAGMA journal_mode=WAL")
        found = db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (last_table,)).fetchone()
        if found is None:
            for name in ("standard", schema):
                db.executescript((SCHEMAS / f"{name}-create.sql").read_text("utf-8"))


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as db, db:
        yield db
