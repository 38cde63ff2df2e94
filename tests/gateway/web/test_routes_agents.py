"""Agents over HTTP, on a real desk."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from drivers.api.errors import StoreUnavailable
from gateway.agents.model import Cause
from gateway.agents.states import AgentState
from gateway.web.routes_page import DIRECTORY
from tests.gateway.agents.conftest import ANNA, BERT, C1, Room, open_room
from tests.gateway.incidents.conftest import ManualClock, sqlite_at
from tests.gateway.web.conftest import Served
from tests.gateway.web.test_page import BROWSER, dump
from tests.gateway.web.test_routes import get, post
from tests.gateway.web.world import World

STATE = f"/api/v1/agents/{ANNA}/state"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = await open_room(sqlite_at(tmp_path), ManualClock())
    yield room
    await room.database.stop()


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[Served]:
    async with world.serve() as server, aiohttp.ClientSession(server.url) as http:
        yield Served(world, server, http)


@pytest.fixture
async def served(room: Room) -> AsyncIterator[Served]:
    """Return a world whose agents are those of the room."""
    world = World()
    world.agents = room.desk
    async with serving(world) as served:
        yield served


@pytest.fixture
async def deserted() -> AsyncIterator[Served]:
    """Return a world that keeps no agents."""
    async with serving(World()) as served:
        yield served


async def test_without_agents_there_are_none(deserted: Served) -> None:
    assert await get(deserted, "/api/v1/agents") == {"items": []}
    assert await get(deserted, "/api/v1/groups") == {"items": []}
    await post(deserted, STATE, {"state": "ready"}, 404)


async def test_agents_are_listed_with_their_case(served: Served, room: Room) -> None:
    await room.logged_in(ANNA)
    await room.talking()
    anna, bert, _ = (await get(served, "/api/v1/agents"))["items"]
    assert anna == {
        "id": "anna",
        "label": "Anna",
        "enabled": True,
        "groups": ["service", "sos"],
        "state": "busy",
        "since": anna["since"],
        "cause": "",
        "reason": "",
        "incident": "i1",
        "call": C1,
    }
    assert anna["since"].endswith("Z")
    assert (bert["state"], bert["incident"]) == ("offline", None)


async def test_groups_are_listed_with_their_agents_by_state(served: Served, room: Room) -> None:
    await room.logged_in(ANNA)
    sos, service = (await get(served, "/api/v1/groups"))["items"]
    assert (sos["name"], sos["overflow_to"], service["overflow_to"]) == ("sos", "service", None)
    assert sos["agents"] == {
        "offline": 1, "ready": 1, "offered": 0, "busy": 0, "wrap_up": 0, "paused": 0,
    }  # fmt: skip


async def test_a_state_is_changed_with_a_reason(served: Served, room: Room) -> None:
    for state in ("ready", "paused", "paused", "ready", "offline"):
        body = await post(served, STATE, {"state": state, "reason": "午休\n\x00"}, 200)
        assert (body["state"], body["cause"]) == (state, "person")
    assert body["reason"] == "午休"
    assert room.at(ANNA).state.value == "offline"


async def test_a_refused_change_tells_the_present_state(served: Served, room: Room) -> None:
    body = await post(served, STATE, {"state": "paused"}, 409)
    assert body["state"] == "offline"
    await room.logged_in(ANNA)
    await room.talking()
    assert (await post(served, STATE, {"state": "ready"}, 409))["state"] == "busy"
    room.desk.registrations([])
    body = await post(served, f"/api/v1/agents/{BERT}/state", {"state": "ready"}, 409)
    assert "not registered" in body["detail"]


@pytest.mark.parametrize(
    ("data", "status", "field"),
    [
        (b"{", 400, None),
        (b"{}", 422, None),
        (b'{"state":"busy"}', 422, "state"),
        (b'{"state":"ready","reason":1}', 422, "reason"),
        (b'{"state":"ready","more":1}', 422, None),
        (json.dumps({"state": "ready", "reason": "x" * 81}).encode(), 422, "reason"),
    ],
)
async def test_a_bad_body_changes_nothing(
    served: Served, room: Room, data: bytes, status: int, field: str | None
) -> None:
    assert (await post(served, STATE, data, status)).get("field") == field
    assert room.at(ANNA).version == 1


async def test_who_is_not_there_is_404_and_a_lost_store_503(
    served: Served, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post(served, "/api/v1/agents/nobody/state", {"state": "ready"}, 404)
    await post(served, "/api/v1/agents/a%20b/state", {"state": "ready"}, 400)

    async def failing(*_: object) -> None:
        raise StoreUnavailable("locked")

    monkeypatch.setattr(room.desk, "_ask", failing)
    await post(served, STATE, {"state": "ready"}, 503)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/v1/agents"), ("GET", "/api/v1/groups"), ("POST", STATE)]
)
async def test_nothing_is_told_or_done_without_the_token(
    locked: Served, method: str, path: str
) -> None:
    async with locked.http.request(method, path, json={"state": "ready"}) as answer:
        assert answer.status == 401


async def test_another_sites_page_cannot_log_an_agent_out(served: Served, room: Room) -> None:
    await room.logged_in(ANNA)
    await post(served, STATE, {"state": "offline"}, 403, Origin="https://elsewhere.test")
    assert room.at(ANNA).state.value == "ready"


async def next_agents(socket: aiohttp.ClientWebSocketResponse) -> Any:
    async with asyncio.timeout(5):
        while True:
            message = await socket.receive_json()
            if message["type"] in {"agents", "snapshot"}:
                return message


async def test_the_feed_tells_changes_of_agents(served: Served, room: Room) -> None:
    async with served.http.ws_connect("/api/v1/feed") as socket:
        assert [one["state"] for one in (await next_agents(socket))["agents"]] == ["offline"] * 3
        await room.logged_in(ANNA)
        states = ["offline"] * 3
        while states[0] == "offline":
            states = [one["state"] for one in (await next_agents(socket))["items"]]
        assert states == ["ready", "offline", "offline"]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
async def test_the_page_shows_agents(served: Served, room: Room, tmp_path: Path) -> None:
    await room.logged_in(ANNA, BERT)
    await room.talking()
    page = await dump(served.server.url, tmp_path / "profile")
    panel = page[page.index('<ul id="agents">') :]
    panel = panel[: panel.index("</ul>")]
    assert re.findall(r'data-state="(\w+)"', panel) == ["busy", "ready", "offline"]
    assert "通话中" in panel
    assert "1 人就绪，共 3 人" in page


def test_every_state_and_cause_is_translated() -> None:
    text = (DIRECTORY / "words.js").read_text("utf-8")
    states = text[text.index("  agent: {") : text.index("  worker: {")]
    known = set(re.findall(r"^    (\w+): \['", states, re.MULTILINE))
    shown = {cause.value for cause in Cause} - {Cause.NONE.value, Cause.PERSON.value}
    assert known == {state.value for state in AgentState} | shown
