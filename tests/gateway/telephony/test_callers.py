"""Rooms that expect a caller whom the edge sends."""

import asyncio

import pytest

from drivers.api.errors import NoCapacity
from drivers.api.ids import CallId, LegId
from drivers.api.legs import CallEvent, LegEnded, LegOffered, LegOutcome
from tests.gateway.telephony.fakes import Bench, ignore, request
from tests.gateway.telephony.virtual import run, until

CALL, CALLER = CallId("c1"), LegId("c1.caller-1")


def test_a_caller_takes_a_leg_of_the_room() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            heard: list[CallEvent] = []
            room = await bench.pool.room(CALL, legs=2, emergency=False, on_event=heard.append)
            assert room.link.contact == bench.link(0).contact
            room.expect(1)
            bench.link(0).offer(CALL, CALLER)
            assert [type(event) for event in heard] == [LegOffered]
            await room.link.answer(CALLER)
            await room.dial(request("c1.1"))
            assert bench.used() == {0: 2}
            with pytest.raises(NoCapacity):
                await room.dial(request("c1.2"))
            bench.link(0).end_leg(CALLER)
            assert isinstance(heard[-1], LegEnded)
            await room.dial(request("c1.2"))
            await room.release()

    run(story())


def test_a_leg_is_kept_for_a_caller_on_the_way() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            room = await bench.pool.room(CALL, legs=2, emergency=False, on_event=ignore)
            room.expect(1)
            await room.dial(request("c1.1"))
            with pytest.raises(NoCapacity):
                await room.dial(request("c1.2"))
            waiting = asyncio.ensure_future(room.dial(request("c1.2")))
            await asyncio.sleep(0)
            room.expect(0)  # the caller is not coming
            await waiting
            assert [leg for _, _, leg in bench.link(0).dials] == ["c1.1", "c1.2"]
            await room.release()

    run(story())


def test_expected_callers_count_when_a_room_grows() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            room = await bench.pool.room(CALL, legs=2, emergency=True, on_event=ignore)
            room.expect(1)
            for n in (1, 2, 3):
                await room.dial(request(f"c1.{n}"))
            assert bench.used() == {0: 4}
            bench.link(0).offer(CALL, CALLER)
            assert bench.used() == {0: 4}
            await room.release()

    run(story())


def test_a_caller_without_a_room_goes_back_to_the_edge() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            room = await bench.pool.room(CALL, legs=2, emergency=True, on_event=ignore)
            await room.release()
            bench.link(0).offer(CALL, CALLER)
            assert bench.used() == {0: 1}
            await until(lambda: bench.link(0).rejected)
            assert bench.link(0).rejected == [(CALLER, LegOutcome.UNREACHABLE, 0)]
            await until(lambda: bench.used() == {0: 0})

    run(story())


def test_a_worker_that_dies_while_a_caller_is_turned_away_harms_nobody() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            link = bench.link(0)
            link.offer(CALL, CALLER)
            link.die()
            await until(lambda: bench.factory.spawns[1:])
            assert link.rejected == []

    run(story())
