"""The API's answers, good and bad."""

import json
from typing import Any

import pytest

from drivers.api.errors import StoreUnavailable
from tests.gateway.web.conftest import Served
from tests.gateway.web.world import incident

PROBLEM = "application/problem+json"
ONE = "01JD0000000000000000000001"
WRAPPED = "01JD0000000000000000000003"


async def get(served: Served, path: str, status: int = 200) -> Any:
    async with served.http.get(path) as answer:
        body = json.loads(await answer.read())
        assert answer.status == status, body
        assert answer.content_type == ("application/json" if status == 200 else PROBLEM)
        return body


async def post(served: Served, path: str, data: Any, status: int, **headers: str) -> Any:
    headers.setdefault("Content-Type", "application/json")
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    async with served.http.post(path, data=raw, headers=headers) as answer:
        body = json.loads(await answer.read())
        assert answer.status == status, body
        return body


async def test_incidents_are_listed_newest_first_with_their_label(served: Served) -> None:
    body = await get(served, "/api/v1/incidents?state=open&state=alerting&state=answered")
    assert [item["state"] for item in body["items"]] == ["alerting", "answered"]
    assert body["items"][0]["label"] == "<img src=x onerror=alert(1)>"
    assert body["items"][1]["pressed_at"].endswith("Z")
    assert body["next"] is None


async def test_incidents_are_paged(served: Served) -> None:
    seen: list[str] = []
    path = "/api/v1/incidents?limit=3"
    for _ in range(5):
        body = await get(served, path)
        seen += [item["id"] for item in body["items"]]
        if body["next"] is None:
            break
        path = f"/api/v1/incidents?limit=3&before={body['next']}"
    assert seen == sorted(served.world.desk.cases, reverse=True)


async def test_incidents_of_a_terminal(served: Served) -> None:
    body = await get(served, "/api/v1/incidents?terminal=pendant-2")
    assert [item["terminal"] for item in body["items"]] == ["pendant-2"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1e3", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A3", "limit"),
        ("state=asleep", "state"),
        ("terminal=a/b", "terminal"),
        ("terminal=", "terminal"),
        ("before=%00", "before"),
        ("before=" + "x" * 65, "before"),
        ("limit=1&limit=2", "limit"),
        ("stat=open", "stat"),
    ],
)
async def test_a_bad_query_names_its_field(served: Served, query: str, field: str) -> None:
    body = await get(served, f"/api/v1/incidents?{query}", 400)
    assert body["field"] == field


async def test_an_incident_shows_lines_calls_and_legs(served: Served) -> None:
    body = await get(served, f"/api/v1/incidents/{WRAPPED}")
    assert body["incident"]["state"] == "wrap_up"
    assert body["incident"]["flags"] == ["training"]
    assert body["timeline"][0]["what"] == "press_received"
    (call,) = body["calls"]
    assert call["outcome"] == "completed"
    assert call["legs"][0]["reason"] == "Normal  clearing"
    assert "state" not in call


@pytest.mark.parametrize("path", ["/api/v1/incidents/nobody", "/api/v1/terminals/nobody"])
async def test_what_is_not_there_is_404(served: Served, path: str) -> None:
    await get(served, path, 404)


@pytest.mark.parametrize("name", ["a%20b", "%3Cscript%3E", "x" * 65, "%00", "-a"])
async def test_a_bad_id_is_400(served: Served, name: str) -> None:
    body = await get(served, f"/api/v1/incidents/{name}", 400)
    assert body["field"] == "id"


async def test_closing_is_done_once_and_may_be_repeated(served: Served) -> None:
    path = f"/api/v1/incidents/{WRAPPED}/close"
    first = await post(served, path, {"outcome": "helped", "note": "ok\r\nthen"}, 200)
    again = await post(served, path, {"outcome": "test"}, 200)
    assert first["state"] == "closed"
    assert again["outcome"] == first["outcome"] == "helped"
    assert again["closed_at"] == first["closed_at"]
    identity, outcome, note, by = served.world.closed_by[0]
    assert (identity, outcome.value, note, by) == (WRAPPED, "helped", "ok  then", "api")
    detail = await get(served, f"/api/v1/incidents/{WRAPPED}")
    assert detail["note"] == "ok  then"


async def test_a_lost_race_is_409_and_a_lost_store_503(served: Served) -> None:
    path = f"/api/v1/incidents/{ONE}/close"
    await post(served, path, {"outcome": "helped", "note": "lost race"}, 409)
    await post(served, path, {"outcome": "helped", "note": "store is gone"}, 503)
    served.world.desk.broken = StoreUnavailable("locked")
    await get(served, "/api/v1/incidents", 503)


async def test_closing_what_is_not_there_is_404(served: Served) -> None:
    await post(served, "/api/v1/incidents/nobody/close", {"outcome": "helped"}, 404)


@pytest.mark.parametrize(
    ("data", "status", "field"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"[" * 60_000, 422, None),
        (b'{"note":' + b"[" * 60_000, 422, "note"),
        (b'{"outcome":' * 5_000, 422, "outcome"),
        (b'{"outcome":"helped","note":"\xff\xfe"}', 400, None),
        (b'{"outcome":"helped","note":"\\ud800"}', 400, None),
        (b"[]", 422, None),
        (b"null", 422, None),
        (b"{}", 422, None),
        (b'{"outcome":"saved"}', 422, "outcome"),
        (b'{"outcome":"expired"}', 422, "outcome"),
        (b'{"outcome":7}', 422, "outcome"),
        (b'{"outcome":"helped","note":1}', 422, "note"),
        (b'{"outcome":"helped","other":1}', 422, None),
        (json.dumps({"outcome": "helped", "note": "x" * 2001}).encode(), 422, "note"),
        (json.dumps({"outcome": "helped", "note": "x" * 70_000}).encode(), 413, None),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else str(value),
)
async def test_a_bad_body_is_refused(
    served: Served, data: bytes, status: int, field: str | None
) -> None:
    body = await post(served, f"/api/v1/incidents/{ONE}/close", data, status)
    assert body.get("field") == field
    assert served.world.closed_by == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_another_content_type_is_415(served: Served, kind: str) -> None:
    path = f"/api/v1/incidents/{ONE}/close"
    await post(served, path, {"outcome": "helped"}, 415, **{"Content-Type": kind})


async def test_terminals_are_paged_and_filtered(served: Served) -> None:
    body = await get(served, "/api/v1/terminals?limit=2")
    assert [item["id"] for item in body["items"]] == ["kiosk-north-gate", "pendant-1"]
    more = await get(served, f"/api/v1/terminals?limit=200&after={body['next']}")
    assert len(more["items"]) == 5
    assert more["next"] is None
    late = await get(served, "/api/v1/terminals?presence=late")
    assert [item["id"] for item in late["items"]] == ["pendant-2"]
    assert (await get(served, "/api/v1/terminals?presence=dead", 400))["field"] == "presence"


async def test_a_terminal_shows_no_position_and_no_vitals(served: Served) -> None:
    body = await get(served, "/api/v1/terminals/pendant-1")
    assert body["battery"] == 81
    assert not {"position", "vitals", "sip_uri", "subscriber"} & body.keys()


async def test_calls_and_workers(served: Served) -> None:
    calls = (await get(served, "/api/v1/calls"))["items"]
    assert calls[0]["legs"][1] == {
        "id": "c1.3",
        "role": "target",
        "party": "agent-li",
        "state": "answered",
    }
    workers = (await get(served, "/api/v1/workers"))["items"]
    assert (workers[0]["slot"], workers[0]["calls"]) == (0, ["c1", "c2"])


async def test_health(served: Served) -> None:
    assert await get(served, "/health/live") == {"live": True}
    assert (await get(served, "/health/ready"))["ready"] is True
    served.world.parts["store"] = "disk full"
    async with served.http.get("/health/ready") as answer:
        assert answer.status == 503
        assert (await answer.json())["failing"] == {"store": "disk full"}
    assert await get(served, "/health/live") == {"live": True}


async def test_metrics_are_prometheus_text(served: Served) -> None:
    async with served.http.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "onekey_feed_clients 0.0" in await answer.text()


async def test_the_page_is_cached_by_its_tag(served: Served) -> None:
    async with served.http.get("/") as answer:
        assert answer.content_type == "text/html"
        tag = answer.headers["ETag"]
    async with served.http.get("/", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


async def test_an_unknown_terminals_case_has_no_label(served: Served) -> None:
    served.world.desk.add(incident(77, 0.0))
    body = await get(served, f"/api/v1/incidents/{incident(77, 0).id}")
    assert body["incident"]["label"] == ""
    assert body["incident"]["pressed_at"] == "1970-01-01T00:00:00.000Z"
