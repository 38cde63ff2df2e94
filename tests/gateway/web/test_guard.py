"""Who may ask: token, host names, origins."""

import aiohttp
import pytest

from gateway.config import WebConfig
from gateway.web.guard import bearer_of, check_host, check_origin, host_name
from gateway.web.problems import Refused
from tests.gateway.web.conftest import Served
from tests.gateway.web.world import TOKEN

CLOSE = "/api/v1/incidents/01JD0000000000000000000001/close"


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
async def test_the_api_needs_the_token(locked: Served, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/api/v1/incidents", "/api/v1/terminals", "/api/v1/nothing", "/api/v1/calls"):
        async with locked.http.get(path, headers=headers) as answer:
            assert answer.status == 401
            assert answer.content_type == "application/problem+json"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    async with locked.http.post(CLOSE, headers=headers, json={"outcome": "test"}) as answer:
        assert answer.status == 401
    assert locked.world.closed_by == []


async def test_the_right_token_opens(locked: Served) -> None:
    headers = {"Authorization": f"bearer {TOKEN}"}
    async with locked.http.get("/api/v1/incidents", headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/static/live.js", "/health/live", "/metrics"])
async def test_the_page_health_and_metrics_are_open(locked: Served, path: str) -> None:
    async with locked.http.get(path) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]"])
async def test_foreign_host_names_are_refused_on_loopback(served: Served, host: str) -> None:
    for path in ("/", "/api/v1/incidents", "/metrics", "/api/v1/feed"):
        async with served.http.get(path, headers={"Host": host}) as answer:
            assert answer.status == 421


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"])
async def test_loopback_names_are_served(served: Served, host: str) -> None:
    async with served.http.get("/api/v1/calls", headers={"Host": host}) as answer:
        assert answer.status == 200


def test_host_names_are_free_where_a_token_guards() -> None:
    config = WebConfig.model_validate({"host": "0.0.0.0", "token": "x" * 20})  # noqa: S104 (nothing listens)
    check_host(config, "gateway.example")


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.b:1", "a.b"), ("[::1]:2", "::1"), ("", ""), ("[::1", ""), ("x@y", "y")],
)
def test_host_name(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://[", "http://h:81"])
def test_other_origins_are_refused(origin: str) -> None:
    with pytest.raises(Refused):
        check_origin(origin, "h:80")


@pytest.mark.parametrize("origin", [None, "http://h:80", "https://H:80"])
def test_the_same_origin_may_ask(origin: str | None) -> None:
    check_origin(origin, "h:80")


def test_bearer_of() -> None:
    assert bearer_of("Bearer  abc ") == "abc"
    assert bearer_of("Basic abc") is None
    assert bearer_of("Bearer ") is None


async def test_another_sites_page_cannot_close(served: Served) -> None:
    headers = {"Origin": "http://evil.example"}
    async with served.http.post(CLOSE, json={"outcome": "test"}, headers=headers) as answer:
        assert answer.status == 403
    assert served.world.closed_by == []


async def test_another_sites_page_cannot_watch(served: Served) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await served.http.ws_connect("/api/v1/feed", origin="http://evil.example")
    assert caught.value.status == 403
