"""Errors as problem details for HTTP APIs (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

CONTENT_TYPE = "application/problem+json"


def title_of(status: int) -> str:
    """Return the phrase of a status code; "Error" for one nobody registered."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class Refused(Exception):
    """A request that is answered with an error; carries the answer's parts."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = headers
        self.more = more

    def response(self) -> web.Response:
        """Return the answer."""
        return problem(
            self.status, self.detail, field=self.field, headers=self.headers, more=self.more
        )


def problem(
    status: int,
    detail: str,
    *,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> web.Response:
    """Return a problem document; `field` names the query, path or body member that is wrong.

    `more` are members of its own (RFC 9457 §3.2).
    """
    document: dict[str, object] = {
        "type": "about:blank",
        "title": title_of(status),
        "status": status,
        "detail": detail,
    }
    if field is not None:
        document["field"] = field
    document.update(more or {})
    return web.Response(
        status=status,
        body=msgspec.json.encode(document),
        content_type=CONTENT_TYPE,
        headers=headers,
    )


def answer_json(value: object, status: int = 200) -> web.Response:
    """Return `value` as JSON; nothing of the API may be cached, because it is about now."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(value),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
