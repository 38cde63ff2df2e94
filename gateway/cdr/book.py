"""Reading the CDR: pages of ended calls, newest first."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, select, tuple_

from drivers.api.ids import CallId
from gateway.cdr.records import CallCdr, Mos, call_cdr, incident_cdrs, no_mos
from gateway.cdr.sheet import HEADER, lines_of
from gateway.incidents.model import CallRecord, Incident, LegRecord
from gateway.incidents.rows import call_of, leg_of
from gateway.store.database import Database
from gateway.store.schema import CALLS, INCIDENTS, LEGS

# Calls in one piece of an export: with 2.5 legs each 100 KB, read and written in 25 ms of a thread,
# which the event loop feels (they share the interpreter): larger pieces would be no faster.
PIECE: Final = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Calls that ended at or after `begin` and before `end`, Unix seconds; None is open.

    By their end, because that is when a record comes to be: who asks for one period after the
    other gets every call once.
    """

    begin: float | None = None
    end: float | None = None


class CdrBook:
    """Call detail records from the store; `mos` estimates the quality of a leg."""

    def __init__(self, db: Database, mos: Mos = no_mos) -> None:
        self._db = db
        self._mos = mos

    def of_incident(
        self, incident: Incident, calls: Iterable[CallRecord], legs: Sequence[LegRecord]
    ) -> list[CallCdr]:
        """Return the records of an incident's calls, ended or not."""
        return incident_cdrs(incident, calls, legs, self._mos)

    async def page(
        self, period: Period, *, before: CallId | None = None, limit: int = 50
    ) -> list[CallCdr]:
        """Return ended calls, newest end first; `before` is the last id of the page before.

        Raises LookupError when `before` is no ended call, StoreUnavailable.
        """
        return await self._page(period, before, limit, lambda calls: calls)

    async def sheet(self, period: Period) -> AsyncIterator[bytes]:
        """Yield the records of a period as CSV (RFC 4180, UTF-8), the header first.

        The first piece is read before anything is yielded; raises StoreUnavailable.
        """
        head, before = HEADER, None
        while True:
            piece = await self._page(period, before, PIECE, _sheet_piece)
            yield head + piece.lines
            if piece.last is None:
                return
            head, before = b"", piece.last

    async def _page(
        self,
        period: Period,
        before: CallId | None,
        limit: int,
        make: Callable[[list[CallCdr]], T],
    ) -> T:
        """Read and make in the reader's thread: writing many lines would hold up the loop."""
        return await self._db.read(lambda c: make(_read(c, period, before, limit, self._mos)))


@dataclass(frozen=True, slots=True)
class _Piece:
    lines: bytes
    last: CallId | None  # None when nothing follows


def _sheet_piece(calls: list[CallCdr]) -> _Piece:
    last = CallId(calls[-1].call) if len(calls) == PIECE else None
    return _Piece(b"".join(lines_of(call) for call in calls), last)


def _read(
    connection: Connection, period: Period, before: CallId | None, limit: int, mos: Mos
) -> list[CallCdr]:
    found = connection.execute(_query(connection, period, before).limit(limit)).all()
    # By incident, because that has an index.
    legs_of = select(LEGS).where(LEGS.c.incident.in_({row.incident for row in found}))
    legs: dict[str, list[LegRecord]] = {}
    for row in connection.execute(legs_of):
        legs.setdefault(row.call, []).append(leg_of(row))
    return [
        call_cdr(call_of(row), legs.get(row.id, ()), terminal=row.terminal, kind=row.kind, mos=mos)
        for row in found
    ]


def _query(connection: Connection, period: Period, before: CallId | None) -> Select[Any]:
    query = (
        select(CALLS, INCIDENTS.c.terminal, INCIDENTS.c.kind)
        .join(INCIDENTS, INCIDENTS.c.id == CALLS.c.incident)
        .where(CALLS.c.ended_at.is_not(None))
        .order_by(CALLS.c.ended_at.desc(), CALLS.c.id.desc())
    )
    if period.begin is not None:
        query = query.where(CALLS.c.ended_at >= period.begin)
    if period.end is not None:
        query = query.where(CALLS.c.ended_at < period.end)
    if before is None:
        return query
    ended_at = connection.execute(select(CALLS.c.ended_at).where(CALLS.c.id == before)).scalar()
    if ended_at is None:
        raise LookupError(f"no ended call {before}")
    return query.where(tuple_(CALLS.c.ended_at, CALLS.c.id) < tuple_(ended_at, before))
