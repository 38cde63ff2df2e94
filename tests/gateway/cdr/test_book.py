from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, insert

from drivers.api.ids import CallId
from gateway.cdr.book import PIECE, CdrBook, Period
from gateway.cdr.sheet import HEADER
from gateway.config import StoreConfig
from gateway.incidents.rows import call_values, incident_values, leg_values, opening
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.schema import CALLS, INCIDENTS, LEGS
from tests.gateway.cdr.made import START, call, leg
from tests.gateway.incidents.conftest import press
from tests.postgres import sqlite_url, store_url

__all__ = ["sqlite_url", "store_url"]


def fill(connection: Connection, calls: int) -> None:
    first = opening(press("e1", terminal="pendant-1"), call().incident, START)
    values = incident_values(first, state_at=START, lines=0)
    connection.execute(insert(INCIDENTS), values)
    rows = [
        call_values(call(f"c{n:04d}", ended_at=START + n // 2)) for n in range(calls)
    ]  # in pairs: ends at the same time must not hide each other from the pages
    connection.execute(insert(CALLS), rows)
    connection.execute(insert(CALLS), call_values(call("running", ended_at=None, outcome=None)))
    legs = [leg_values(leg(name, of=f"c{n:04d}")) for n in (0, 1) for name in ("caller-1", "t-1")]
    connection.execute(insert(LEGS), legs)


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    database = Database(StoreConfig(), store_url, Metrics())
    await database.start()
    yield database
    await database.stop()


async def test_pages_hold_every_ended_call_once_newest_first(database: Database) -> None:
    await database.write(lambda connection: fill(connection, 11))
    book = CdrBook(database)
    seen: list[str] = []
    before: CallId | None = None
    while found := await book.page(Period(), before=before, limit=3):
        seen += [one.call for one in found]
        before = CallId(found[-1].call)
    assert seen == [f"c{n:04d}" for n in reversed(range(11))]


async def test_a_period_has_its_begin_and_not_its_end(database: Database) -> None:
    await database.write(lambda connection: fill(connection, 10))
    book = CdrBook(database)
    found = await book.page(Period(begin=START + 1, end=START + 3))
    assert [one.call for one in found] == ["c0005", "c0004", "c0003", "c0002"]
    assert await book.page(Period(begin=START + 99)) == []


async def test_a_record_has_its_incident_and_legs(database: Database) -> None:
    await database.write(lambda connection: fill(connection, 3))
    book = CdrBook(database, lambda _: 3.9)
    newest, second, first = await book.page(Period())
    assert (first.terminal, first.kind, first.direction) == ("pendant-1", "sos", "in")
    assert [one.leg for one in second.legs] == ["c0001.caller-1", "c0001.t-1"]
    assert second.legs[0].mos == 3.9
    assert newest.legs == []


async def test_an_unknown_cursor_is_said(database: Database) -> None:
    await database.write(lambda connection: fill(connection, 1))
    for before in ("never", "running"):
        with pytest.raises(LookupError):
            await CdrBook(database).page(Period(), before=CallId(before))


async def test_the_sheet_has_all_in_pieces(database: Database) -> None:
    calls = PIECE * 2 + 7
    await database.write(lambda connection: fill(connection, calls))
    pieces = [piece async for piece in CdrBook(database).sheet(Period())]
    assert len(pieces) == 3
    assert pieces[0].startswith(HEADER)
    lines = b"".join(pieces).decode("utf-8-sig").splitlines()
    assert len(lines) == 1 + calls + 2  # two calls have two legs
    assert len({line.split(",")[0] for line in lines[1:]}) == calls


async def test_an_empty_sheet_has_its_header(database: Database) -> None:
    assert [piece async for piece in CdrBook(database).sheet(Period())] == [HEADER]
