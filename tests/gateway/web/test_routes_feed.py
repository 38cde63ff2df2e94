"""The live feed: a snapshot, then everything; tokens; laggards."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from drivers.api.errors import StoreUnavailable
from gateway.incidents.states import IncidentState
from gateway.web import pulse, routes_feed, snapshot
from gateway.web.views import incident_changed
from tests.gateway.web.conftest import Served
from tests.gateway.web.world import TOKEN, World, incident, line
from tests.waiting import wait_until

FEED = "/api/v1/feed"


async def next_of(socket: aiohttp.ClientWebSocketResponse, kind: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            message = await socket.receive_json()
            if message["type"] == kind:
                return message


async def test_first_a_snapshot_most_urgent_first(served: Served) -> None:
    async with served.http.ws_connect(FEED) as socket:
        message = await socket.receive_json()
    assert message["type"] == "snapshot"
    states = [case["incident"]["state"] for case in message["incidents"]]
    assert states[:4] == ["unanswered", "alerting", "answered", "wrap_up"]
    assert states[4:] == ["closed"] * 4
    assert message["incidents"][0]["entries"][0]["what"] == "alarm_received"
    assert message["terminals"]["counts"]["late"] == 1
    assert len(message["workers"]) == 3
    assert message["complete"] is True


async def test_then_every_change(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "BEAT_S", 0.02)
    world = served.world
    async with served.http.ws_connect(FEED) as socket:
        await socket.receive_json()
        case = incident(50, world.clock.time(), state=IncidentState.ALERTING)
        world.feed.publish(incident_changed(case, [line(case.received_at, "routed")]))
        message = await next_of(socket, "incident")
        assert message["incident"]["id"] == case.id
        assert message["entries"][0]["what"] == "routed"
        world.calls[0] = replace(world.calls[0], phase="ending")
        while (await next_of(socket, "calls"))["items"][0]["phase"] != "ending":
            pass
        assert (await next_of(socket, "tick"))["at"].endswith("Z")


async def test_what_happens_while_the_snapshot_is_made_is_not_lost(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, took = served.world, asyncio.Event()
    find = world.desk.find

    async def slow(**query: Any) -> Any:
        took.set()
        await asyncio.sleep(0.1)
        return await find(**query)

    monkeypatch.setattr(world.desk, "find", slow)
    async with served.http.ws_connect(FEED) as socket:
        await took.wait()
        world.feed.publish(incident_changed(incident(51, 1.0), []))
        assert (await socket.receive_json())["type"] == "snapshot"
        assert (await next_of(socket, "incident"))["incident"]["id"] == incident(51, 1.0).id


async def test_a_storm_shows_the_longest_wait_and_says_there_is_more(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "OPEN_MAX", 400)
    for number in range(1000, 1600):
        served.world.desk.add(incident(number, float(number)), line(number, "press_received"))
    async with served.http.ws_connect(FEED) as socket:
        message = await socket.receive_json()
    assert message["complete"] is False
    with_lines = [case for case in message["incidents"] if case["entries"] is not None]
    assert len(with_lines) == 100
    received = [case["incident"]["received_at"] for case in with_lines]
    assert received == sorted(received)


async def test_the_token_may_come_as_the_first_message(locked: Served) -> None:
    async with locked.http.ws_connect(FEED) as socket:
        await socket.send_str(json.dumps({"token": TOKEN}))
        assert (await socket.receive_json())["type"] == "snapshot"


async def test_the_token_may_come_as_a_header(locked: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    other = "http://dashboard.example"
    async with locked.http.ws_connect(FEED, headers=headers, origin=other) as socket:
        assert (await socket.receive_json())["type"] == "snapshot"


@pytest.mark.parametrize(
    "first", ['{"token":"wrong"}', "{}", "[" * 2000, "", '{"token":7}', b"\xff", "null"]
)
async def test_a_wrong_first_message_shows_nothing(locked: Served, first: str | bytes) -> None:
    async with locked.http.ws_connect(FEED) as socket:
        await (socket.send_bytes(first) if isinstance(first, bytes) else socket.send_str(first))
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4401


async def test_silence_instead_of_a_token_is_ended(
    locked: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_feed, "HELLO_S", 0.2)
    async with locked.http.ws_connect(FEED) as socket:
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4401


async def test_a_wrong_token_in_the_header_is_refused(locked: Served) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await locked.http.ws_connect(FEED, headers={"Authorization": "Bearer wrong"})
    assert caught.value.status == 401


async def test_a_huge_message_ends_the_page(served: Served) -> None:
    async with served.http.ws_connect(FEED) as socket:
        await socket.receive_json()
        await socket.send_str("x" * 100_000)
        async with asyncio.timeout(5):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        assert socket.close_code == 1009


async def test_there_is_room_for_so_many_pages(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_feed, "PAGES_MAX", 1)
    async with served.http.ws_connect(FEED):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await served.http.ws_connect(FEED)
        assert caught.value.status == 503


async def test_a_store_that_is_gone_asks_the_page_to_come_back(served: Served) -> None:
    served.world.desk.broken = StoreUnavailable("locked")
    async with served.http.ws_connect(FEED) as socket:
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1013


async def test_a_page_that_does_not_read_is_cut_and_another_goes_on() -> None:
    world = World(feed_queue=50)
    async with world.serve() as server, aiohttp.ClientSession(server.url) as http:
        slow = await http.ws_connect(FEED, max_msg_size=0)
        await slow.receive_json()
        assert slow._response.connection is not None
        transport = slow._response.connection.transport
        assert transport is not None
        transport.pause_reading()
        async with http.ws_connect(FEED) as quick:
            await quick.receive_json()
            got = 0

            def cut() -> float | None:
                return world.metrics.registry.get_sample_value("onekey_feed_clients_cut_total")

            async with asyncio.timeout(20):
                while not cut():
                    world.feed.publish({"type": "n", "filler": "x" * 100_000})
                    await next_of(quick, "n")
                    got += 1
            world.feed.publish({"type": "last"})
            await next_of(quick, "last")
            assert got > 50
        transport.abort()
        await slow.close()
        await wait_until(lambda: not world.feed.watched)
