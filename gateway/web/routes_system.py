"""Health, metrics, and what runs now."""

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gateway.web.problems import answer_json
from gateway.web.queries import known_query
from gateway.web.state import DEPS
from gateway.web.views import call_json, worker_json

routes = web.RouteTableDef()


@routes.get("/health/live")
async def live(_request: web.Request) -> web.Response:
    """Return 200 as long as the event loop turns."""
    return answer_json({"live": True})


@routes.get("/health/ready")
async def ready(request: web.Request) -> web.Response:
    """Return 200, or 503 with what each failing part says."""
    health = request.app[DEPS].health()
    failing = {part: word for part, word in health.parts.items() if word != "ok"}
    body = {"ready": health.ready, "failing": failing, "parts": health.parts}
    return answer_json(body, 200 if health.ready else 503)


@routes.get("/metrics")
async def metrics(request: web.Request) -> web.Response:
    """Return all metrics in Prometheus' text format."""
    body = generate_latest(request.app[DEPS].metrics.registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


@routes.get("/api/v1/calls")
async def calls(request: web.Request) -> web.Response:
    """Return the running calls with their legs."""
    known_query(request)
    return answer_json({"items": [call_json(view) for view in request.app[DEPS].calls()]})


@routes.get("/api/v1/workers")
async def workers(request: web.Request) -> web.Response:
    """Return the worker processes."""
    known_query(request)
    return answer_json({"items": [worker_json(view) for view in request.app[DEPS].workers()]})
