"""The HTTP surface: API, live page, feed, health, metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web

from gateway.web import (
    routes_agents,
    routes_cdr,
    routes_feed,
    routes_incidents,
    routes_page,
    routes_system,
    routes_tasks,
    routes_terminals,
)
from gateway.web.answering import answer
from gateway.web.connections import connection_factory
from gateway.web.deps import WebDeps
from gateway.web.guard import add_security_headers, guard
from gateway.web.pulse import Pulse
from gateway.web.queries import BODY_MAX
from gateway.web.snapshot import Snapshots
from gateway.web.state import DEPS, PAGES, Pages

log = structlog.get_logger()

STOP_S: Final = 3.0  # how long running requests may take when we stop
BACKLOG: Final = 128


class CannotListen(OSError):
    """The address cannot be served; the text names it and the option that changes it."""


def make_app(deps: WebDeps) -> web.Application:
    """Return the application; raises OSError when the page's files cannot be read."""
    app = web.Application(client_max_size=BODY_MAX, middlewares=[answer, guard])
    app[DEPS] = deps
    app[PAGES] = Pages()
    app[routes_feed.SNAPSHOTS] = Snapshots(deps)
    for module in (routes_agents, routes_feed, routes_incidents, routes_system, routes_terminals):
        app.add_routes(module.routes)
    if deps.cdr is not None:
        app.add_routes(routes_cdr.routes)
    if deps.tasks is not None:
        app.add_routes(routes_tasks.routes)
    app.add_routes(routes_page.page_routes())
    app.on_response_prepare.append(add_security_headers)
    app.on_shutdown.append(routes_feed.close_pages)
    app.cleanup_ctx.append(_beating)
    return app


async def _beating(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(Pulse(app[DEPS]).run(), name="feed-pulse")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


class WebServer:
    """Serves the application between `async with` and its end."""

    def __init__(self, deps: WebDeps) -> None:
        """Nothing is opened yet."""
        self._config = deps.config
        self._metrics = deps.metrics
        self._runner = web.AppRunner(make_app(deps), access_log=None, shutdown_timeout=STOP_S)
        self._listener: asyncio.Server | None = None
        self.port = deps.config.port

    @property
    def url(self) -> str:
        """Return where the page is."""
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        """Start listening; raises CannotListen."""
        await self._runner.setup()
        try:
            self._listener = await self._listen()
        except CannotListen:
            await self._runner.cleanup()
            raise
        self.port = self._listener.sockets[0].getsockname()[1]
        log.info("http_listening", url=self.url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, close the pages, let running requests end, stop."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()
        if self._listener is not None:
            await self._listener.wait_closed()

    def _count_garbage(self, status: int) -> None:
        labels = {"route": "garbage", "status": f"{status // 100}xx"}
        self._metrics.http.labels(**labels).inc()

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None, "setup() makes it"
        host, port = self._config.host, self._config.port
        try:
            return await loop.create_server(
                connection_factory(server, loop, self._count_garbage), host, port, backlog=BACKLOG
            )
        except OSError as exc:
            raise CannotListen(
                exc.errno,
                f"cannot serve HTTP on {host}:{port}: {exc.strerror or exc}; "
                "change web.port or web.host (ONEKEY__WEB__PORT, ONEKEY__WEB__HOST)",
            ) from exc
