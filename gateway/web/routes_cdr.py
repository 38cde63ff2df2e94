"""Call detail records: list, and export as a spreadsheet."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import structlog
from aiohttp import hdrs, web

from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId
from gateway.cdr.book import CdrBook, Period
from gateway.web.answering import SEND_S
from gateway.web.cdr_views import cdr_json
from gateway.web.problems import Refused, answer_json
from gateway.web.queries import known_query, query_id, query_limit
from gateway.web.state import DEPS

log = structlog.get_logger()
routes = web.RouteTableDef()

FILE_NAME: Final = "cdr.csv"


@routes.get("/api/v1/cdr")
async def list_cdr(request: web.Request) -> web.Response:
    """Return calls that ended within `from` and `to`, newest first; `next` is the next `before`."""
    known_query(request, "from", "to", "before", "limit")
    period, limit = query_period(request), query_limit(request)
    before = query_id(request, "before")
    try:
        found = await _book(request).page(
            period, before=CallId(before) if before else None, limit=limit
        )
    except LookupError:
        raise Refused(400, "no call of that id has ended", field="before") from None
    last = found[-1].call if len(found) == limit else None
    return answer_json({"items": [cdr_json(call) for call in found], "next": last})


@routes.get("/api/v1/cdr.csv")
async def export_cdr(request: web.Request) -> web.StreamResponse:
    """Return all legs of calls that ended within `from` and `to` as CSV, newest first."""
    known_query(request, "from", "to")
    pieces = _book(request).sheet(query_period(request))
    first = await anext(pieces)  # a store that is away is still told by a status
    response = Export(first, pieces)
    await response.prepare(request)
    return response


class Export(web.StreamResponse):
    """A body of any length, each piece with a deadline of its own.

    It is sent by `write_eof`, after the handler: the frame's deadline is for making an answer. When
    a piece fails, the connection is cut: a file that ends early must not look whole.
    """

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        super().__init__(
            headers={
                hdrs.CONTENT_TYPE: "text/csv; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: f'attachment; filename="{FILE_NAME}"',
                hdrs.CACHE_CONTROL: "no-store",
            }
        )
        self._first = first
        self._rest = rest
        self._request: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> object:  # type: ignore[override]  # its type is private to aiohttp
        """Send the headers."""
        self._request = request
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the pieces, then the end."""
        request = self._request
        assert request is not None, "prepared before it is sent"
        try:
            if request.method != hdrs.METH_HEAD:
                await self._send(self._first)
                async for piece in self._rest:
                    await self._send(piece)
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("cdr_export_cut", reason=repr(error))
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the export broke off") from error
        await super().write_eof(data)

    async def _send(self, piece: bytes) -> None:
        async with asyncio.timeout(SEND_S):
            await self.write(piece)


def query_period(request: web.Request) -> Period:
    """Return `from` and `to`; each may be missing."""
    return Period(begin=_query_time(request, "from"), end=_query_time(request, "to"))


def _query_time(request: web.Request, name: str) -> float | None:
    written = request.query.get(name)
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        wanted = "must be ISO 8601 with a zone, as 2026-01-31T00:00:00Z (+ is written %2B)"
        raise Refused(400, wanted, field=name)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        raise Refused(400, "is out of range", field=name) from None


def _book(request: web.Request) -> CdrBook:
    book = request.app[DEPS].cdr
    assert book is not None, "the routes are there only with it"
    return book
