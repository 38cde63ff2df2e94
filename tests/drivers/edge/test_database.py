import sqlite3
import time
from pathlib import Path

import pytest

from drivers.edge import database
from drivers.edge.edge import YoungCall, counters_of, young_calls

DUMP = [
    {"entry": 1, "size": 2, "slot": [{"name": "a@x", "value": "127.0.0.1:16003,2", "type": "str"}]},
    {
        "entry": 2,
        "size": 1,
        "slot": [{"name": "b,c", "value": "127.0.0.1:160,31,9,77", "type": "str"}],
    },
]


@pytest.mark.parametrize(
    ("uri", "where"),
    [
        ("sip:phone@192.0.2.1:5070", "192.0.2.1:5070"),
        ("sip:phone@192.0.2.1", "192.0.2.1:5060"),
        ("sip:192.0.2.1:5070;transport=tcp", "192.0.2.1:5070"),
        ("<sip:phone@192.0.2.1:5070;ob>", "192.0.2.1:5070"),
        ("sips:phone@[2001:db8::1]:5061", "[2001:db8::1]:5061"),
        ("sip:phone@10.9.8.7:5060;alias=192.0.2.9~4444~1", "192.0.2.9:4444"),
        ("", ""),
    ],
)
def test_where_a_uri_points(uri: str, where: str) -> None:
    assert database.host_port(uri) == where


def test_young_calls_are_those_of_exactly_this_worker() -> None:
    assert young_calls(DUMP, "127.0.0.1:16003") == [YoungCall("a@x", "2", None)]
    assert young_calls(DUMP, "127.0.0.1:160") == [YoungCall("b,c", "31", (9, 77))]
    assert young_calls(None, "127.0.0.1:1") == []


def test_counters_are_read() -> None:
    dump = [{"entry": 1, "slot": [{"name": "scanner", "value": 3, "type": "int"}]}]
    assert counters_of(dump) == {"scanner": 3}
    assert counters_of([]) == {}


def test_prepare_keeps_what_is_there(tmp_path: Path) -> None:
    location, dialog, secret = (tmp_path / name for name in ("location", "dialog", "secret"))
    database.prepare(location, dialog, secret)
    database.store_ha1(secret, "phone", "a")
    database.store_ha1(secret, "phone", "b")
    database.store_ha1(secret, "agent", "c")
    database.forget_ha1(secret, "agent")
    database.prepare(location, dialog, secret)
    with sqlite3.connect(secret) as db:
        assert db.execute("SELECT key_name, key_value FROM ha1").fetchall() == [("phone", "b")]
    db.close()
    assert database.registrations(location, time.time()) == ()
    assert database.answered_dialogs(dialog, "127.0.0.1:1") == ()
