"""Call-backs: list, mark done."""

import asyncio
from typing import Annotated, Final

import msgspec
from aiohttp import web

from gateway.tasks.desk import NOTE_MAX, TaskDesk
from gateway.tasks.model import TaskChanged, TaskId, TaskKind
from gateway.web.cdr_views import task_json
from gateway.web.problems import Refused, answer_json
from gateway.web.queries import (
    BODY_S,
    known_query,
    path_id,
    query_id,
    query_limit,
    query_words,
)
from gateway.web.state import DEPS
from protocols.text import clean_text

routes = web.RouteTableDef()

NOBODY: Final = "api"  # who did it, when the client does not say


class DoneBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a done; `version` guards against another's change, `by` is an agent's id."""

    by: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = NOBODY
    note: Annotated[str, msgspec.Meta(max_length=NOTE_MAX)] = ""
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None


@routes.get("/api/v1/tasks")
async def list_tasks(request: web.Request) -> web.Response:
    """Return open call-backs, oldest first; `state=done` the others; `next` is the next `after`."""
    known_query(request, "after", "kind", "limit", "state")
    after, limit = query_id(request, "after"), query_limit(request)
    kinds = query_words(request, "kind", TaskKind)
    state = request.query.get("state", "open")
    if state not in {"open", "done"}:
        raise Refused(400, "must be one of: open, done", field="state")
    found = await _desk(request).find(
        done=state == "done",
        kind=kinds[0] if kinds else None,
        after=TaskId(after) if after else None,
        limit=limit,
    )
    last = found[-1].id if len(found) == limit else None
    return answer_json({"items": [task_json(task) for task in found], "next": last})


@routes.post("/api/v1/tasks/{id}/done")
async def finish_task(request: web.Request) -> web.Response:
    """Mark a call-back done; doing it again changes nothing, 409 when `version` is old."""
    known_query(request)
    task = TaskId(path_id(request))
    body = await _done_body(request)
    try:
        finished = await _desk(request).done(task, by=body.by, note=body.note, version=body.version)
    except LookupError:
        raise Refused(404, "there is no such task") from None
    except TaskChanged as changed:
        raise Refused(409, f"it is at version {changed.task.version}", field="version") from None
    return answer_json(task_json(finished))


async def _done_body(request: web.Request) -> DoneBody:
    """Return the body; none at all is all defaults. 400, 408, 413, 415, 422 as for a close."""
    try:
        async with asyncio.timeout(BODY_S):
            raw = await request.read()
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {BODY_S:g} s") from None
    if not raw:
        return DoneBody()
    if request.content_type != "application/json":
        raise Refused(415, "the body must be application/json")
    try:
        return msgspec.json.decode(raw, type=DoneBody)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        raise Refused(422, clean_text(words), field=path.strip("`.") or None) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refused(400, "the body is not JSON") from None


def _desk(request: web.Request) -> TaskDesk:
    desk = request.app[DEPS].tasks
    assert desk is not None, "the routes are there only with it"
    return desk
