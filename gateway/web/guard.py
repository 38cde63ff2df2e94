"""Who may ask: host names, origins and the token; and the headers every answer carries."""

import hmac
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.config import LOOPBACK, WebConfig
from gateway.web.problems import Refused
from gateway.web.state import DEPS, FEED_PATH

SECURITY_HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
)

# Methods that change nothing (RFC 9110 §9.2.1).
SAFE: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets, lower case."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def check_host(config: WebConfig, host: str | None) -> None:
    """Refuse foreign names on a loopback address.

    Otherwise a page on the web could point its own name at 127.0.0.1 and read what we serve
    (DNS rebinding). A request without Host is none of a browser's.
    """
    if host is None or config.host not in LOOPBACK:
        return
    if host_name(host) not in LOOPBACK:
        raise Refused(421, "this gateway answers only to loopback names (web.host)")


def check_origin(origin: str | None, host: str | None) -> None:
    """Refuse a browser's request that another site's page made; others send no Origin."""
    if origin is None:
        return
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        netloc = ""
    if not netloc or netloc.lower() != (host or "").lower():
        raise Refused(403, "requests from pages of other origins are not allowed")


def token_matches(config: WebConfig, offered: str) -> bool:
    """Compare a token in constant time; True when none is configured."""
    if config.token is None:
        return True
    wanted = config.token.get_secret_value()
    return hmac.compare_digest(
        wanted.encode(errors="surrogatepass"), offered.encode(errors="surrogatepass")
    )


def bearer_of(authorization: str | None) -> str | None:
    """Return the token of an Authorization header (RFC 6750 §2.1), or None."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def check_token(config: WebConfig, authorization: str | None) -> None:
    """Refuse a request without the right token."""
    if config.token is None:
        return
    offered = bearer_of(authorization)
    if offered is None or not token_matches(config, offered):
        raise Refused(
            401, "a bearer token is needed", headers={"WWW-Authenticate": 'Bearer realm="onekey"'}
        )


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check host, origin and token. The feed checks its token itself: browsers cannot set headers.

    Open without a token: the page and its files (they hold no data), health and metrics.
    """
    config = request.app[DEPS].config
    host = request.headers.get(hdrs.HOST)
    check_host(config, host)
    if request.method not in SAFE:
        check_origin(request.headers.get(hdrs.ORIGIN), host)
    if request.path.startswith("/api/") and request.path != FEED_PATH:
        check_token(config, request.headers.get(hdrs.AUTHORIZATION))
    return await handler(request)


async def add_security_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add the security headers to an answer about to be sent."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop(hdrs.SERVER, None)
