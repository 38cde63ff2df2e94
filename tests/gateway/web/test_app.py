"""The server itself: start, stop, frames round every answer, garbage."""

import asyncio
import json
import time

import aiohttp
import pytest

from gateway.web import answering, connections
from gateway.web.app import CannotListen
from tests.gateway.web.conftest import Served
from tests.gateway.web.world import World
from tests.waiting import free_port, wait_until

PROBLEM = "application/problem+json"


async def raw(served: Served, data: bytes, *, within: float = 5) -> bytes:
    """Send bytes, return all that comes until the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    try:
        writer.write(data)
        async with asyncio.timeout(within):
            return await reader.read()
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_taken_port_is_named_with_its_option() -> None:
    world = World()
    world.port = free_port()
    async with world.serve():
        with pytest.raises(CannotListen, match=rf"127\.0\.0\.1:{world.port}.*web\.port"):
            async with World.serve(world):
                pass


async def test_a_stop_does_not_wait_for_open_pages() -> None:
    world = World()
    async with aiohttp.ClientSession() as http:
        async with world.serve() as server:
            socket = await http.ws_connect(f"{server.url}/api/v1/feed")
            await socket.receive_json()
            began = time.monotonic()
            reading = asyncio.create_task(socket.receive())
        assert time.monotonic() - began < 3
        assert (await reading).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
        assert socket.close_code == 1001
        await socket.close()


@pytest.mark.parametrize("path", ["/", "/api/v1/calls", "/health/live", "/nothing", "/metrics"])
async def test_every_answer_carries_the_security_headers(served: Served, path: str) -> None:
    async with served.http.get(path) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("DELETE", "/api/v1/incidents", 405),
        ("GET", "/api/v1/feed", 426),
    ],
)
async def test_errors_are_problems(served: Served, method: str, path: str, status: int) -> None:
    async with served.http.request(method, path) as answer:
        body = json.loads(await answer.read())
        assert (answer.status, answer.content_type) == (status, PROBLEM)
        assert body["status"] == status
        assert body["title"]


async def test_a_405_says_what_is_allowed(served: Served) -> None:
    async with served.http.delete("/api/v1/incidents") as answer:
        assert "GET" in answer.headers["Allow"]


async def test_a_defect_tells_the_client_nothing(served: Served) -> None:
    served.world.desk.broken = ZeroDivisionError("a secret of ours")
    async with served.http.get("/api/v1/incidents") as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (500, PROBLEM)
        assert "secret" not in text
        assert "Traceback" not in text


async def test_a_handler_that_hangs_is_ended(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_incident: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(answering, "REQUEST_S", 0.2)
    monkeypatch.setattr(served.world.desk, "show", hang)
    async with served.http.get("/api/v1/incidents/x") as answer:
        assert (answer.status, answer.content_type) == (504, PROBLEM)


async def test_requests_are_counted_by_template_and_class(served: Served) -> None:
    for path in ("/api/v1/incidents/a", "/api/v1/incidents/b", "/x", "/y"):
        async with served.http.get(path) as answer:
            assert answer.status == 404

    def count(route: str) -> float | None:
        labels = {"route": route, "status": "4xx"}
        registry = served.world.metrics.registry
        return registry.get_sample_value("onekey_http_requests_total", labels)

    await wait_until(lambda: count("unmatched") == 2)
    assert count("/api/v1/incidents/{id}") == 2


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    b"NOT HTTP AT ALL\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GE\x00T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    b"POST /api/v1/incidents/x/close HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header : x\r\n\r\n",
]


@pytest.mark.parametrize("data", GARBAGE, ids=lambda data: repr(data[:20]))
async def test_garbage_is_refused_and_the_next_client_served(served: Served, data: bytes) -> None:
    answer = await raw(served, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), answer[:200]
    assert PROBLEM.encode() in head
    assert b"Traceback" not in body
    async with served.http.get("/health/live") as live:
        assert live.status == 200
    labels = {"route": "garbage", "status": "4xx"}
    registry = served.world.metrics.registry
    assert registry.get_sample_value("onekey_http_requests_total", labels) == 1


async def test_an_unknown_method_is_a_problem(served: Served) -> None:
    request = b"PROPFIND / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = await raw(served, request)
    assert answer.startswith(b"HTTP/1.1 405")
    assert PROBLEM.encode() in answer


async def test_an_unknown_expectation_is_refused(served: Served) -> None:
    answer = await raw(
        served,
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\nConnection: close\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 417")


async def test_a_client_that_dribbles_its_headers_is_cut(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: local")
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_a_silent_client_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.3)
    assert await raw(served, b"", within=3) == b""


async def test_there_is_room_for_so_many_connections(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    held = [await asyncio.open_connection("127.0.0.1", served.server.port) for _ in range(2)]
    try:
        answer = await raw(served, b"")
        assert answer.startswith(b"HTTP/1.1 503")
    finally:
        for _, writer in held:
            writer.close()
            await writer.wait_closed()


async def test_a_client_that_does_not_read_is_cut(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "SEND_S", 0.2)
    for number in range(20_000):
        served.world.terminals.add(f"t{number:05d}", label="字" * 100)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.server.port, limit=1024)
    request = b"GET /api/v1/terminals?limit=200 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    writer.write(request * 200)
    runner = served.server._runner
    assert runner.server is not None
    server = runner.server
    await wait_until(lambda: len(server.connections) == 1)
    await wait_until(lambda: len(server.connections) == 0, deadline=10)
    writer.close()
    await asyncio.gather(writer.wait_closed(), reader.read(), return_exceptions=True)
