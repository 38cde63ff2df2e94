"""Terminals: list, show."""

from aiohttp import web

from drivers.api.ids import TerminalId
from gateway.terminals.model import Presence
from gateway.web.problems import Refused, answer_json
from gateway.web.queries import known_query, path_id, query_id, query_limit, query_words
from gateway.web.state import DEPS
from gateway.web.views import terminal_json

routes = web.RouteTableDef()


@routes.get("/api/v1/terminals")
async def list_terminals(request: web.Request) -> web.Response:
    """Return terminals by id; `next` is the `after` of the next page, null at the end."""
    known_query(request, "after", "limit", "presence")
    after, limit = query_id(request, "after"), query_limit(request)
    presence = query_words(request, "presence", Presence)
    found = request.app[DEPS].terminals.page(
        after=TerminalId(after) if after else None,
        limit=limit,
        presence=presence[0] if presence else None,
    )
    last = found[-1].terminal.id if len(found) == limit else None
    return answer_json({"items": [terminal_json(view) for view in found], "next": last})


@routes.get("/api/v1/terminals/{id}")
async def show_terminal(request: web.Request) -> web.Response:
    """Return one terminal."""
    known_query(request)
    view = request.app[DEPS].terminals.view(TerminalId(path_id(request)))
    if view is None:
        raise Refused(404, "there is no such terminal")
    return answer_json(terminal_json(view))
