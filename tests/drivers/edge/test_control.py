import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from drivers.api.edge import MessageAnswer, RouteRefused, RouteTo
from drivers.api.ids import CallId
from drivers.edge.control import MAX_BODY, TOKEN_HEADER, ControlServer, WrongAnswer, route_body
from tests.drivers.edge.conftest import Handler
from tests.waiting import free_port

TOKEN = {TOKEN_HEADER: "secret"}
GOOD = {"call_id": "c", "user": "phone", "from": "phone", "to": "sos", "display": '"W\u202e\n1"'}


class Client:
    def __init__(self, session: aiohttp.ClientSession, stored: dict[str, str]) -> None:
        self.session = session
        self.stored = stored

    async def post(self, path: str, **kwargs: object) -> tuple[int, str]:
        async with self.session.post(path, headers=TOKEN, **kwargs) as answer:  # type: ignore[arg-type] # data or json
            return answer.status, await answer.text()


@pytest.fixture
async def client(handler: Handler) -> AsyncIterator[Client]:
    stored: dict[str, str] = {}

    async def store(user: str, ha1: str) -> None:
        stored[user] = ha1

    port = free_port()
    server = ControlServer(handler, store, token="secret", deadline_s=0.2)
    await server.start("127.0.0.1", port)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield Client(session, stored)
    await server.stop()


async def test_ha1_is_told_and_remembered(client: Client) -> None:
    async with client.session.get("/edge/ha1?u=phone", headers=TOKEN) as answer:
        assert answer.status == 200
        assert client.stored == {"phone": await answer.text()}
    for user in ("nobody", ""):
        async with client.session.get(f"/edge/ha1?u={user}", headers=TOKEN) as answer:
            assert answer.status == 404


@pytest.mark.parametrize("headers", [{}, {TOKEN_HEADER: "guess"}, {TOKEN_HEADER: "sécret"}])
async def test_who_does_not_know_the_token_gets_nothing(
    client: Client, handler: Handler, headers: dict[str, str]
) -> None:
    async with client.session.get("/edge/ha1?u=phone", headers=headers) as answer:
        assert answer.status == 403
    assert not handler.asked


async def test_a_question_is_cleaned_before_the_gateway_sees_it(
    client: Client, handler: Handler
) -> None:
    handler.answers = [RouteTo(uri="sip:127.0.0.1:16003", call=CallId("c-1"))]
    status, text = await client.post("/edge/route", json=GOOD)
    assert (status, text) == (200, '{"uri":"sip:127.0.0.1:16003","call":"c-1"}')
    assert handler.routes[0].display == "W 1"


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"{}", b'{"call_id": 1}', b'{"call_id": "c", "failed": "x"}']
)
@pytest.mark.parametrize("path", ["/edge/route", "/edge/message"])
async def test_garbage_is_400(client: Client, path: str, data: bytes) -> None:
    assert (await client.post(path, data=data))[0] == 400


async def test_too_much_is_413_and_elsewhere_is_404(client: Client) -> None:
    assert (await client.post("/edge/route", data=b"x" * (MAX_BODY + 1)))[0] == 413
    assert (await client.post("/edge/elsewhere"))[0] == 404


async def test_late_and_broken_handlers_are_no_answer(client: Client, handler: Handler) -> None:
    handler.hangs = True
    async with asyncio.timeout(1):
        assert (await client.post("/edge/route", json=GOOD))[0] == 504
    handler.hangs = False
    handler.answers = [RouteTo(uri='sip:x@y>;"')]
    assert (await client.post("/edge/route", json=GOOD))[0] == 500


async def test_a_message_is_answered(client: Client, handler: Handler) -> None:
    status, text = await client.post("/edge/message", json={**GOOD, "body": "<mrq/>"})
    assert status == 200
    assert '"code":200' in text
    assert handler.messages[0].body == "<mrq/>"


@pytest.mark.parametrize(
    "wrong",
    [
        RouteTo(uri="tel:120"),
        RouteTo(uri="sip:a@b c"),
        RouteTo(uri="sip:a@b", call=CallId("x\r\nX-Evil: 1")),
        RouteRefused(code=200),
        RouteRefused(code=302),
    ],
)
def test_what_must_not_reach_kamailio_is_stopped(wrong: RouteTo | RouteRefused) -> None:
    with pytest.raises(WrongAnswer):
        route_body(wrong)


def test_a_reason_cannot_forge_a_header() -> None:
    body = route_body(RouteRefused(code=503, reason="a\r\nX-Evil: 1", retry_after_s=-1))
    assert body == {"refuse": 503, "reason": "a  X-Evil: 1", "retry_after": 0}


def test_message_answers_have_a_type() -> None:
    assert MessageAnswer(code=200).content_type == ""
