"""Cases: list, show, close."""

from aiohttp import web

from drivers.api.ids import IncidentId, TerminalId
from gateway.incidents.model import Incident
from gateway.incidents.states import IncidentState, WrongTransition
from gateway.web.cdr_views import cdr_json
from gateway.web.deps import WebDeps
from gateway.web.problems import Refused, answer_json
from gateway.web.queries import (
    close_body,
    known_query,
    path_id,
    query_id,
    query_limit,
    query_words,
)
from gateway.web.state import DEPS
from gateway.web.views import IncidentJson, incident_detail, incident_json

routes = web.RouteTableDef()

UNKNOWN = "there is no such incident"


def _as_json(deps: WebDeps, incident: Incident) -> IncidentJson:
    view = deps.terminals.view(incident.terminal)
    return incident_json(incident, view.terminal if view else None)


@routes.get("/api/v1/incidents")
async def list_incidents(request: web.Request) -> web.Response:
    """Return cases, newest first; `next` is the `before` of the next page, null at the end."""
    known_query(request, "terminal", "before", "limit", repeated="state")
    deps = request.app[DEPS]
    terminal, before = query_id(request, "terminal"), query_id(request, "before")
    limit = query_limit(request)
    found = await deps.desk.find(
        states=frozenset(query_words(request, "state", IncidentState)),
        terminal=TerminalId(terminal) if terminal else None,
        before=IncidentId(before) if before else None,
        limit=limit,
    )
    last = found[-1].id if len(found) == limit else None
    return answer_json({"items": [_as_json(deps, item) for item in found], "next": last})


@routes.get("/api/v1/incidents/{id}")
async def show_incident(request: web.Request) -> web.Response:
    """Return one case with its note, timeline, calls and ended legs."""
    known_query(request)
    deps = request.app[DEPS]
    incident = await deps.desk.show(IncidentId(path_id(request)))
    if incident is None:
        raise Refused(404, UNKNOWN)
    view = deps.terminals.view(incident.terminal)
    # The lines are read after the case, so that they are never older than its state.
    timeline = await deps.desk.timeline(incident.id)
    calls = await deps.desk.calls_of(incident.id)
    legs = await deps.desk.legs_of(incident.id)
    records = deps.cdr.of_incident(incident, calls, legs) if deps.cdr else []
    detail = incident_detail(
        incident,
        terminal=view.terminal if view else None,
        timeline=timeline,
        calls=calls,
        legs=legs,
        cdr=[cdr_json(record) for record in records],
    )
    return answer_json(detail)


@routes.post("/api/v1/incidents/{id}/close")
async def close_incident(request: web.Request) -> web.Response:
    """Close a case with an outcome and a note; closing it again changes nothing."""
    known_query(request)
    deps = request.app[DEPS]
    incident = IncidentId(path_id(request))
    body = await close_body(request)
    try:
        closed = await deps.close(incident, outcome=body.outcome, note=body.note, by="api")
    except LookupError:
        if await deps.desk.show(incident) is not None:
            raise  # a defect within the close, not a missing case
        raise Refused(404, UNKNOWN) from None
    except WrongTransition as exc:
        raise Refused(409, f"it cannot be closed in state {exc.state.value!r}") from None
    return answer_json(_as_json(deps, closed))
