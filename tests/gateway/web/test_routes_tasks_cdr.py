"""Call-backs and call detail records over HTTP, on a real store."""

import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId
from gateway.cdr import book as book_module
from gateway.cdr.book import CdrBook
from gateway.tasks.model import Task, TaskKind
from gateway.web.app import WebServer
from gateway.web.cdr_views import tasks_now
from tests.gateway.cdr.test_book import fill
from tests.gateway.tasks.conftest import TaskOffice, sqlite_url
from tests.gateway.web.world import World, furnish

__all__ = ["sqlite_url"]


@dataclass
class Served:
    world: World
    office: TaskOffice
    http: aiohttp.ClientSession

    async def get(self, path: str, status: int = 200) -> Any:
        async with self.http.get(path) as answer:
            body = json.loads(await answer.read())
            assert answer.status == status, body
            return body

    async def post(self, path: str, body: Any, status: int, kind: str = "application/json") -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.http.post(path, data=raw, headers={"Content-Type": kind}) as answer:
            found = json.loads(await answer.read())
            assert answer.status == status, found
            return found


@pytest.fixture
async def served(sqlite_url: str) -> AsyncIterator[Served]:
    world, office = World(), TaskOffice(sqlite_url)
    furnish(world)
    await office.start()
    await office.database.write(lambda connection: fill(connection, 5))
    book = CdrBook(office.database, lambda _: 4.2)
    deps = replace(world.deps(), cdr=book, tasks=office.desk)
    async with WebServer(deps) as server, aiohttp.ClientSession(server.url) as http:
        yield Served(world, office, http)
    await office.database.stop()


async def task_of(served: Served, call: str = "c0001") -> Task:
    return await served.office.open(call, TaskKind.ABANDONED)


async def test_open_tasks_are_listed_and_done(served: Served) -> None:
    task = await task_of(served)
    (item,) = (await served.get("/api/v1/tasks?kind=abandoned"))["items"]
    assert (item["id"], item["kind"], item["version"]) == (task.id, "abandoned", 1)
    assert item["due_at"].endswith("Z")
    path = f"/api/v1/tasks/{task.id}/done"
    done = await served.post(path, {"by": "agent-li", "note": "x", "version": 1}, 200)
    assert (done["done_by"], done["version"]) == ("agent-li", 2)
    assert await served.post(path, {"by": "agent-wu"}, 200) == done
    assert (await served.get("/api/v1/tasks"))["items"] == []
    assert (await served.get("/api/v1/tasks?state=done"))["items"] == [done]


async def test_done_needs_no_body(served: Served) -> None:
    task = await task_of(served)
    done = await served.post(f"/api/v1/tasks/{task.id}/done", b"", 200)
    assert done["done_by"] == "api"


async def test_tasks_are_paged(served: Served) -> None:
    opened = [(await task_of(served, f"c000{number}")).id for number in range(3)]
    first = await served.get("/api/v1/tasks?limit=2")
    rest = await served.get(f"/api/v1/tasks?limit=2&after={first['next']}")
    assert sorted(item["id"] for item in first["items"] + rest["items"]) == sorted(opened)
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ({"version": 9}, "application/json", 409),
        ({"version": 0}, "application/json", 422),
        ({"by": "a b"}, "application/json", 422),
        ({"note": "x" * 2001}, "application/json", 422),
        ({"who": "x"}, "application/json", 422),
        (b"{", "application/json", 400),
        ({}, "text/plain", 415),
    ],
)
async def test_bad_bodies(served: Served, body: Any, kind: str, status: int) -> None:
    task = await task_of(served)
    await served.post(f"/api/v1/tasks/{task.id}/done", body, status, kind)
    assert (await served.office.desk.show(task.id)) == task


async def test_no_such_task(served: Served) -> None:
    await served.post("/api/v1/tasks/never/done", {}, 404)
    await served.get("/api/v1/tasks?kind=lost", 400)
    await served.get("/api/v1/tasks?state=lost", 400)


async def test_the_feeds_message_is_json(served: Served) -> None:
    await task_of(served)
    async with served.world.feed.subscribe() as live:
        served.world.feed.publish(tasks_now(served.office.boards[-1]))
        message = json.loads(await anext(live))
    assert (message["type"], message["open"]["abandoned"], message["overdue"]) == ("tasks", 1, 0)
    assert message["items"][0]["call"] == "c0001"


async def test_records_are_listed(served: Served) -> None:
    first = await served.get("/api/v1/cdr?limit=2")
    assert [item["call"] for item in first["items"]] == ["c0004", "c0003"]
    rest = await served.get(f"/api/v1/cdr?limit=5&before={first['next']}")
    assert [item["call"] for item in rest["items"]] == ["c0002", "c0001", "c0000"]
    assert rest["next"] is None
    leg = rest["items"][2]["legs"][0]
    assert (leg["leg"], leg["mos"], leg["q850"]) == ("c0000.caller-1", 4.2, 16)
    assert leg["started_at"].endswith("Z")


async def test_records_of_a_period(served: Served) -> None:
    found = await served.get("/api/v1/cdr?from=2026-09-21T14:13:21Z&to=2026-09-21T14:13:22Z")
    assert [item["call"] for item in found["items"]] == ["c0003", "c0002"]


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "to=2026-09-21T14:13:21",
        "from=2026-09-21T14:13:21+08:00",
        "before=never",
        "limit=0",
        "since=1",
    ],
)
async def test_bad_questions(served: Served, query: str) -> None:
    await served.get(f"/api/v1/cdr?{query}", 400)


async def test_the_sheet_comes_in_pieces(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "PIECE", 2)
    async with served.http.get("/api/v1/cdr.csv") as answer:
        text = (await answer.read()).decode("utf-8-sig")
        assert answer.status == 200
        assert answer.content_type == "text/csv"
        assert "attachment" in answer.headers["Content-Disposition"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["call"] for row in rows] == [
        "c0004",
        "c0003",
        "c0002",
        "c0001",
        "c0001",
        "c0000",
        "c0000",
    ]
    assert rows[-1]["leg_mos"] == "4.2"
    async with served.http.head("/api/v1/cdr.csv") as answer:
        assert answer.status == 200
    assert (await served.get("/api/v1/tasks"))["items"] == []  # the connection is still good


async def test_a_sheet_that_breaks_off_does_not_look_whole(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "PIECE", 2)
    read = served.office.database.read
    times = 0

    async def failing(fn: Any) -> Any:
        nonlocal times
        times += 1
        if times > 1:
            raise StoreUnavailable("gone")
        return await read(fn)

    monkeypatch.setattr(served.office.database, "read", failing)
    with pytest.raises(aiohttp.ClientError):
        async with served.http.get("/api/v1/cdr.csv") as answer:
            await answer.read()
    async with served.http.get("/api/v1/cdr.csv") as answer:
        assert answer.status == 503  # nothing was sent yet


async def test_an_incident_shows_its_records(served: Served) -> None:
    body = await served.get("/api/v1/incidents/01JD0000000000000000000003")
    (record,) = body["cdr"]
    assert (record["call"], record["talk_s"], record["setup_s"]) == ("c0", 0.0, 4.0)
    assert record["legs"][0]["party"] == "agent-wang"
    assert CallId(record["call"]) == body["calls"][0]["id"]


async def test_without_a_store_there_are_no_routes() -> None:
    async with World().serve() as server, aiohttp.ClientSession(server.url) as http:
        for path in ("/api/v1/tasks", "/api/v1/cdr", "/api/v1/cdr.csv"):
            async with http.get(path) as answer:
                assert answer.status == 404
