"""The live page: a few files, read once at the start; nothing is looked up on disk by a request."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

DIRECTORY: Final = Path(__file__).parent / "static"
CONTENT_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def page_routes(directory: Path = DIRECTORY) -> list[web.RouteDef]:
    """Return `/` and `/static/<name>` for each file of `directory`; raises OSError."""
    files = {path.name: path for path in sorted(directory.iterdir())}
    served: Mapping[str, Handler] = {
        "/" if name == "index.html" else f"/static/{name}": _serve(path)
        for name, path in files.items()
        if path.suffix in CONTENT_TYPES
    }
    return [web.get(route, handler) for route, handler in served.items()]


def _serve(path: Path) -> Handler:
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]
    content_type = CONTENT_TYPES[path.suffix]

    async def handler(request: web.Request) -> web.Response:
        # Always asked for again: a page of an older gateway would misread a newer feed.
        headers = {hdrs.ETAG: f'"{tag}"', hdrs.CACHE_CONTROL: "no-cache"}
        known = request.if_none_match or ()
        if any(etag.value in {tag, "*"} for etag in known):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return handler
