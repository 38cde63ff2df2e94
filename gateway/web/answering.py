"""Every request's frame: deadline, errors as problems, one line in the log, one count."""

import asyncio
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from drivers.api.errors import StoreUnavailable
from gateway.web.connections import Connection
from gateway.web.problems import Refused, problem
from gateway.web.state import DEPS, FEED_PATH
from protocols.text import clean_text

log = structlog.get_logger()

# The slowest honest request is a list on a store that waits busy_timeout_s (5 s) for a lock.
REQUEST_S: Final = 15.0
SEND_S: Final = 10.0  # 200 incidents are 100 KB: 10 s at 80 kbit/s
RETRY_AFTER_S: Final = 2
QUIET: Final = frozenset({"/health/live", "/health/ready", "/metrics"})  # asked every few seconds


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer within a deadline and account for it."""
    if isinstance(request.protocol, Connection):
        request.protocol.arrived()
    clock = request.app[DEPS].clock
    began = clock.monotonic()
    if request.path == FEED_PATH:
        response = await _respond(request, handler)  # lives as long as the page is open
    else:
        response = await _respond_in_time(request, handler)
    if response.prepared is False:
        await _send(request, response)
    _account(request, response.status, clock.monotonic() - began)
    return response


async def _respond_in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        async with asyncio.timeout(REQUEST_S):
            return await _respond(request, handler)
    except TimeoutError:
        return problem(504, f"no answer within {REQUEST_S:g} s")


async def _respond(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as exc:
        return exc.response()
    except web.HTTPException as exc:
        allow = exc.headers.get(hdrs.ALLOW)
        return problem(exc.status, exc.reason, headers={hdrs.ALLOW: allow} if allow else None)
    except StoreUnavailable:
        return problem(
            503,
            "the store does not answer",
            headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
        )
    except (TimeoutError, ConnectionError):
        raise
    except Exception:
        # The client learns nothing of a defect; we learn all of it.
        log.exception("http_request_failed", route=route_of(request))
        return problem(500, "the gateway could not answer; the log tells why")


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    """Send here, inside a deadline: a client that does not read must not keep us."""
    try:
        async with asyncio.timeout(SEND_S):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


def route_of(request: web.Request) -> str:
    """Return the template of the route, or `unmatched`: a closed set, unlike paths."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unmatched"


def _account(request: web.Request, status: int, seconds: float) -> None:
    route = route_of(request)
    request.app[DEPS].metrics.http.labels(route=route, status=f"{status // 100}xx").inc()
    write = log.debug if route in QUIET else log.info
    write(
        "http_request",
        method=clean_text(request.method, limit=16),
        route=route,
        status=status,
        ms=round(seconds * 1000, 1),
    )
