"""What Kamailio asks us, over HTTP on loopback: credentials, routes, messages.

Anything but 200 (or 404 for an unknown user) counts as no answer there: an SOS then goes to the
static target. So whatever goes wrong here is logged, answered with a 4xx or 5xx, and survived.
"""

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from aiohttp import web

from drivers.api.edge import (
    EdgeHandler,
    MessageAnswer,
    MessageQuestion,
    RouteAnswer,
    RouteQuestion,
    RouteTo,
)
from protocols.text import clean_text

log = structlog.get_logger()

MAX_BODY = 131_072  # a SIP message of the edge's largest size, escaped, with room
MAX_FAILED = 8
TOKEN_HEADER: Final = "X-Onekey-Token"  # noqa: S105 the name of the header
_HA1 = re.compile(r"[0-9a-f]{32}")
_URI = re.compile(r'sips?:[^\s<>"]{1,250}')
_CALL = re.compile(r"[A-Za-z0-9._-]{1,64}")

StoreHa1 = Callable[[str, str], Awaitable[None]]


class _Route(msgspec.Struct):
    call_id: str
    user: str = ""
    # `from` is a word of Python's.
    from_user: str = msgspec.field(default="", name="from")
    display: str = ""
    to: str = ""
    source: str = ""
    transport: str = ""
    trunk: str = ""
    priority: str = ""
    failed: list[str] = []


class _Message(msgspec.Struct):
    call_id: str
    user: str
    from_user: str = msgspec.field(default="", name="from")
    to: str = ""
    content_type: str = ""
    body: str = ""


class WrongAnswer(Exception):
    """Our own side answered what must not reach Kamailio's configuration."""


class ControlServer:
    """Serves one EdgeHandler on `address`:`port`."""

    def __init__(
        self, handler: EdgeHandler, store_ha1: StoreHa1, *, token: str, deadline_s: float
    ) -> None:
        """Take the secret that questions must carry and how long an answer may take."""
        self._handler = handler
        self._store_ha1 = store_ha1
        self._token = token.encode()
        self._deadline_s = deadline_s
        self._runner: web.AppRunner | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen; raises OSError when the port is taken."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.router.add_get("/edge/ha1", self._ha1)
        app.router.add_post("/edge/route", self._route)
        app.router.add_post("/edge/message", self._message)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=self._deadline_s)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()

    async def stop(self) -> None:
        """Stop listening; questions under way are answered or cut off at their deadline."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        given = request.headers.get(TOKEN_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._token):
            log.warning("edge_question_of_stranger", peer=request.remote)
            return web.Response(status=403)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await handler(request)
        except TimeoutError:
            log.warning("edge_question_late", path=request.path)
            return web.Response(status=504)
        except msgspec.MsgspecError as exc:
            log.warning("edge_question_garbage", path=request.path, detail=clean_text(str(exc)))
            return web.Response(status=400)
        except web.HTTPException:
            raise
        except Exception:  # a defect of ours must not look like an answer, and the next may work
            log.exception("edge_question_failed", path=request.path)
            return web.Response(status=500)

    async def _ha1(self, request: web.Request) -> web.Response:
        user = clean_text(request.query.get("u", ""))
        ha1 = await self._handler.ha1(user) if user else None
        if ha1 is None:
            return web.Response(status=404)
        if not _HA1.fullmatch(ha1):
            raise WrongAnswer("HA1 is 32 lower-case hexadecimal digits")
        await self._store_ha1(user, ha1)
        return web.Response(text=ha1)

    async def _route(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=_Route)
        answer = await self._handler.route(_question(asked))
        return _json(route_body(answer))

    async def _message(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=_Message)
        answer = await self._handler.message(
            MessageQuestion(
                user=clean_text(asked.user),
                from_user=clean_text(asked.from_user),
                to_user=clean_text(asked.to),
                call_id=clean_text(asked.call_id),
                content_type=clean_text(asked.content_type),
                body=asked.body,
            )
        )
        return _json(message_body(answer))


def route_body(answer: RouteAnswer) -> dict[str, str | int]:
    """Return what Kamailio understands; raises WrongAnswer for what it must not see."""
    if isinstance(answer, RouteTo):
        call = answer.call or ""
        if not _URI.fullmatch(answer.uri) or (call and not _CALL.fullmatch(call)):
            raise WrongAnswer(f"route to {answer.uri!r} for call {call!r}")
        return {"uri": answer.uri, "call": call}
    if not 400 <= answer.code <= 699:
        raise WrongAnswer(f"a call cannot be refused with {answer.code}")
    reason = clean_text(answer.reason, limit=60) or "Refused"
    return {"refuse": answer.code, "reason": reason, "retry_after": max(answer.retry_after_s, 0)}


def message_body(answer: MessageAnswer) -> dict[str, str | int]:
    """Return what Kamailio understands; raises WrongAnswer for what it must not see."""
    if not 200 <= answer.code <= 699:
        raise WrongAnswer(f"a MESSAGE cannot be answered with {answer.code}")
    return {
        "code": answer.code,
        "reason": clean_text(answer.reason, limit=60) or ("OK" if answer.code < 300 else "Refused"),
        "content_type": clean_text(answer.content_type) or "text/plain",
        "body": answer.body,
    }


def _question(asked: _Route) -> RouteQuestion:
    return RouteQuestion(
        user=clean_text(asked.user),
        from_user=clean_text(asked.from_user),
        display=clean_text(asked.display.strip('"')),
        to_user=clean_text(asked.to),
        call_id=clean_text(asked.call_id),
        source=clean_text(asked.source),
        transport=clean_text(asked.transport),
        trunk=clean_text(asked.trunk),
        priority=clean_text(asked.priority),
        failed=tuple(asked.failed[:MAX_FAILED]),
    )


def _json(body: dict[str, str | int]) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
