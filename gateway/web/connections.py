"""One client connection: bounded in number, and in the time it may take to ask something."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from aiohttp.web import BaseRequest, RequestHandler, Server, StreamResponse

from gateway.web.guard import SECURITY_HEADERS
from gateway.web.problems import problem

log = structlog.get_logger()

# 64 pages, a scraper, probes, an API client with a pool; a process has 1,024 descriptors.
CONNECTIONS_MAX: Final = 256
# From the connection to the end of the first request's headers; a page on 2G needs 2 s.
HEADERS_S: Final = 10.0
KEEPALIVE_S: Final = 30.0  # aiohttp cuts an idle or dribbling later request after this
LINGER_S: Final = 2.0  # how long an unread body is read and thrown away before the cut
LINE_MAX: Final = 8190  # bytes of the request line, and of one header (Apache's limit)
HEADERS_MAX: Final = 64


class Connection(RequestHandler):
    """aiohttp's connection with a deadline for the first request and our answers to garbage."""

    __slots__ = ("_deadline", "_refused")

    def __init__(
        self, server: Server, loop: asyncio.AbstractEventLoop, refused: Callable[[int], None]
    ) -> None:
        """`refused` is told the status of every answer to garbage."""
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            max_line_size=LINE_MAX,
            max_field_size=LINE_MAX,
            max_headers=HEADERS_MAX,
            access_log=None,  # type: ignore[arg-type]  # None turns it off; answering.py logs
            auto_decompress=False,  # no client of ours compresses; a bomb must not unpack
        )
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline."""
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HEADERS_S, self._too_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Drop the deadline."""
        self.arrived()
        super().connection_lost(exc)

    def arrived(self) -> None:
        """Note that the headers of a request are complete."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Answer what is not HTTP; says neither which line nor which byte."""
        del request, message
        self._refused(status)
        log.info("http_garbage", status=status, error=type(exc).__name__)
        response = problem(status, "this is not an HTTP request we can read")
        response.headers.update(SECURITY_HEADERS)
        response.force_close()
        return response

    def _too_late(self) -> None:
        self._deadline = None
        log.info("http_headers_too_late", seconds=HEADERS_S)
        self.force_close()


class Crowded(asyncio.Protocol):
    """Tells a client that there is no room, and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer at once; nothing of the request is read."""
        assert isinstance(transport, asyncio.WriteTransport)
        log.warning("http_connections_full", limit=CONNECTIONS_MAX)
        transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        transport.close()


def connection_factory(
    server: Server, loop: asyncio.AbstractEventLoop, refused: Callable[[int], None]
) -> Callable[[], asyncio.Protocol]:
    """Return what `loop.create_server` calls for each client."""

    def connect() -> asyncio.Protocol:
        full = len(server.connections) >= CONNECTIONS_MAX
        return Crowded() if full else Connection(server, loop, refused)

    return connect
