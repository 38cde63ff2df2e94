"""The feed: everybody gets everything, a slow reader is cut, nobody waits."""

import asyncio

import msgspec
import pytest

from gateway.feed import Feed
from gateway.metrics import Metrics

ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


def value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


async def test_every_subscriber_gets_every_message_in_order() -> None:
    feed = Feed(Metrics(), queue_max=10)
    async with feed.subscribe() as one, feed.subscribe() as two:
        for number in range(3):
            feed.publish({"type": "n", "n": number})
        for subscription in (one, two):
            got = [msgspec.json.decode(await anext(subscription))["n"] for _ in range(3)]
            assert got == [0, 1, 2]


async def test_a_message_is_encoded_once_for_all() -> None:
    feed = Feed(Metrics(), queue_max=10)
    async with feed.subscribe() as one, feed.subscribe() as two:
        feed.publish({"type": "n"})
        assert await anext(one) is await anext(two)


async def test_a_reader_that_waits_is_woken() -> None:
    feed = Feed(Metrics(), queue_max=10)
    async with feed.subscribe() as live:
        reading = asyncio.create_task(anext(live))
        await asyncio.sleep(0)
        feed.publish({"type": "late"})
        assert await asyncio.wait_for(reading, 1) == b'{"type":"late"}'


async def test_a_lagging_subscriber_is_cut_and_no_other() -> None:
    metrics = Metrics()
    feed = Feed(metrics, queue_max=10)
    async with feed.subscribe() as slow, feed.subscribe() as quick:
        for number in range(11):
            feed.publish({"n": number})
            assert await anext(quick) == b'{"n":%d}' % number
        assert slow.cut
        assert [message async for message in slow] == []
        feed.publish({"n": 11})
        assert await anext(quick) == b'{"n":11}'
        assert not quick.cut
    assert value(metrics, "onekey_feed_clients_cut_total") == 1


async def test_a_cut_wakes_a_reader_that_waits() -> None:
    feed = Feed(Metrics(), queue_max=10)
    async with feed.subscribe() as live:

        async def read_slowly() -> int:
            return sum([1 async for _ in live])

        reading = asyncio.create_task(read_slowly())
        for number in range(20):
            feed.publish({"n": number})
        assert await asyncio.wait_for(reading, 1) == 0


async def test_leaving_is_counted_and_frees_the_queue() -> None:
    metrics = Metrics()
    feed = Feed(metrics, queue_max=10)
    async with feed.subscribe():
        watched = feed.watched
        assert watched
        assert value(metrics, "onekey_feed_clients") == 1
    assert not feed.watched
    assert value(metrics, "onekey_feed_clients") == 0


@pytest.mark.parametrize("bad", [object(), [ENDLESS], "\ud800"])
async def test_what_is_no_json_is_logged_and_stops_nothing(bad: object) -> None:
    feed = Feed(Metrics(), queue_max=10)
    async with feed.subscribe() as live:
        feed.publish({"type": "bad", "bad": bad})
        feed.publish({"type": "good"})
        assert await anext(live) == b'{"type":"good"}'
