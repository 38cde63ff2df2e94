"""What handlers find on the application."""

from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from gateway.web.deps import WebDeps


@dataclass(slots=True)
class Pages:
    """The live pages that are connected."""

    sockets: set[web.WebSocketResponse] = field(default_factory=set)


DEPS: Final = web.AppKey("deps", WebDeps)
PAGES: Final = web.AppKey("pages", Pages)

FEED_PATH: Final = "/api/v1/feed"
