"""Checking of what a client sends: ids, query strings, bodies. Raises Refused and nothing else."""

import asyncio
import re
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from aiohttp import web

from gateway.incidents.model import Outcome
from gateway.web.problems import Refused
from protocols.text import clean_text

BODY_MAX: Final = 64 * 1024  # bytes; the longest note has 2,000 characters
BODY_S: Final = 5.0  # a body of 64 KiB takes 5 s at 100 kbit/s
PAGE_MAX: Final = 200
PAGE_DEFAULT: Final = 50
NOTE_MAX: Final = 2000  # characters
REASON_MAX: Final = 80  # characters

# Ids are ULIDs, UUIDs or the maker's serial numbers (docs: MQTT contract, terminal ids).
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)

Word = TypeVar("Word", bound=StrEnum)
Body = TypeVar("Body", bound=msgspec.Struct)


class StateBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a change of an agent's state."""

    state: Literal["ready", "paused", "offline"]
    reason: Annotated[str, msgspec.Meta(max_length=REASON_MAX)] = ""


class CloseBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a close."""

    outcome: Outcome
    note: Annotated[str, msgspec.Meta(max_length=NOTE_MAX)] = ""


def path_id(request: web.Request) -> str:
    """Return the `id` of the path."""
    return _checked_id(request.match_info["id"], "id")


def known_query(request: web.Request, *names: str, repeated: str = "") -> None:
    """Refuse names that mean nothing here, so that a typo does not list everything."""
    for name in request.query:
        if name not in names and name != repeated:
            raise Refused(400, "this query field is not known here", field=clean_text(name))
        if name != repeated and len(request.query.getall(name)) > 1:
            raise Refused(400, "this query field may be given once", field=name)


def query_id(request: web.Request, name: str) -> str | None:
    """Return an id of the query, or None when it is missing."""
    text = request.query.get(name)
    return None if text is None else _checked_id(text, name)


def query_limit(request: web.Request) -> int:
    """Return `limit`, from 1 to PAGE_MAX."""
    text = request.query.get("limit", str(PAGE_DEFAULT))
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= PAGE_MAX:
        raise Refused(400, f"must be a whole number from 1 to {PAGE_MAX}", field="limit")
    return int(text)


def query_words(request: web.Request, name: str, words: type[Word]) -> list[Word]:
    """Return every value of `name`, each a word of `words`."""
    try:
        return [words(text) for text in request.query.getall(name, [])]
    except ValueError:
        known = ", ".join(word.value for word in words)
        raise Refused(400, f"must be one of: {known}", field=name) from None


async def close_body(request: web.Request) -> CloseBody:
    """Return the body of a close; refuses as `json_body` does."""
    body = await json_body(request, CloseBody)
    if body.outcome is Outcome.EXPIRED:
        raise Refused(422, "the clock alone gives this outcome", field="outcome")
    return CloseBody(body.outcome, clean_text(body.note, limit=NOTE_MAX))


async def json_body(request: web.Request, shape: type[Body]) -> Body:
    """Return the body; 400 no JSON, 408 too slow, 413, 415, 422 wrong shape."""
    if request.content_type != "application/json":
        raise Refused(415, "the body must be application/json")
    try:
        async with asyncio.timeout(BODY_S):
            raw = await request.read()
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {BODY_S:g} s") from None
    return _decode(raw, shape)


def _decode(raw: bytes, shape: type[Body]) -> Body:
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as exc:
        text, _, path = str(exc).partition(" - at `$")
        raise Refused(422, clean_text(text), field=path.strip("`.") or None) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refused(400, "the body is not JSON") from None


def _checked_id(text: str, field: str) -> str:
    if not _ID.fullmatch(text):
        raise Refused(400, "must be 1 to 64 of A-Z a-z 0-9 _ . -", field=field)
    return text
