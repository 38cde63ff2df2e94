"""The live feed over WebSocket (RFC 6455): a snapshot, then every change."""

import asyncio
from typing import Final

import msgspec
import structlog
from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from drivers.api.errors import StoreUnavailable
from gateway.feed import Subscription
from gateway.web.deps import WebDeps
from gateway.web.guard import bearer_of, check_origin, token_matches
from gateway.web.problems import Refused
from gateway.web.snapshot import Snapshots
from gateway.web.state import DEPS, FEED_PATH, PAGES

log = structlog.get_logger()
routes = web.RouteTableDef()

PAGES_MAX: Final = 64  # a call centre's wall, its agents, and some; each may hold a full queue
HEARTBEAT_S: Final = 20.0  # below the 30 to 60 s after which proxies drop a silent connection
HELLO_S: Final = 5.0  # how long a page may take to show its token
INCOMING_MAX: Final = 4096  # bytes; a page says its token and nothing else
SEND_S: Final = 10.0  # a page that takes nothing for so long is gone

SNAPSHOTS: Final = web.AppKey("snapshots", Snapshots)

# Close codes 4000–4999 are an application's own (RFC 6455 §7.4.2).
CLOSE_UNAUTHORISED: Final = 4401


class Hello(msgspec.Struct):
    """First message of a page, when a token is configured."""

    token: str = ""


@routes.get(FEED_PATH)
async def feed(request: web.Request) -> web.StreamResponse:
    """Upgrade and serve until the page leaves, lags too far or the gateway stops.

    With a token configured, it comes as `Authorization: Bearer` or as the first message
    `{"token": "…"}`; never in the address, where logs would keep it.
    """
    deps, pages = request.app[DEPS], request.app[PAGES]
    authorised = _authorised_by_header(deps, request)
    if not authorised or deps.config.token is None:
        check_origin(request.headers.get(hdrs.ORIGIN), request.headers.get(hdrs.HOST))
    if len(pages.sockets) >= PAGES_MAX:
        raise Refused(503, f"{PAGES_MAX} pages are connected already")
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, max_msg_size=INCOMING_MAX, compress=False, timeout=2.0
    )
    if not socket.can_prepare(request).ok:
        raise Refused(426, "this is a WebSocket", headers={hdrs.UPGRADE: "websocket"})
    pages.sockets.add(socket)
    try:
        await socket.prepare(request)
        if authorised or await _said_token(deps, socket):
            await _serve(deps, request.app[SNAPSHOTS], socket)
        else:
            await socket.close(code=CLOSE_UNAUTHORISED, message=b"token needed")
    finally:
        pages.sockets.discard(socket)
    return socket


def _authorised_by_header(deps: WebDeps, request: web.Request) -> bool:
    if deps.config.token is None:
        return True
    offered = bearer_of(request.headers.get(hdrs.AUTHORIZATION))
    if offered is None:
        return False
    if not token_matches(deps.config, offered):
        raise Refused(401, "this token is wrong")
    return True


async def _said_token(deps: WebDeps, socket: web.WebSocketResponse) -> bool:
    try:
        message = await socket.receive(timeout=HELLO_S)
    except TimeoutError:
        return False
    if message.type is not WSMsgType.TEXT:
        return False
    try:
        hello = msgspec.json.decode(message.data, type=Hello)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return token_matches(deps.config, hello.token)


async def _serve(deps: WebDeps, snapshots: Snapshots, socket: web.WebSocketResponse) -> None:
    """Send until the page is gone. Subscribed before the snapshot: nothing falls in between."""
    async with deps.feed.subscribe() as live:
        sending = asyncio.create_task(_send_all(live, snapshots, socket), name="feed-send")
        try:
            await _until_gone(socket)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _until_gone(socket: web.WebSocketResponse) -> None:
    """Read and ignore: reading is what notices pongs and the close."""
    async for message in socket:
        log.debug("feed_message_ignored", type=message.type.name)


async def _send_all(
    live: Subscription, snapshots: Snapshots, socket: web.WebSocketResponse
) -> None:
    try:
        await _send(socket, msgspec.json.encode(await snapshots.take()))
        async for payload in live:
            await _send(socket, payload)
    except StoreUnavailable:
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"store unavailable")
    except (TimeoutError, ConnectionError):
        log.info("feed_page_gone")
        await socket.close(code=WSCloseCode.GOING_AWAY)
    else:
        await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"lagged")


async def _send(socket: web.WebSocketResponse, payload: bytes) -> None:
    async with asyncio.timeout(SEND_S):
        await socket.send_frame(payload, WSMsgType.TEXT)


async def close_pages(app: web.Application) -> None:
    """Close every page's socket, so that a stop does not wait for them."""
    sockets = list(app[PAGES].sockets)
    closing = (s.close(code=WSCloseCode.GOING_AWAY, message=b"gateway stops") for s in sockets)
    await asyncio.gather(*closing, return_exceptions=True)
