"""Calls that outlived an earlier daemon."""

import asyncio

from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    AnyLegEvent,
    CallEvent,
    LegDigit,
    LegEnded,
    LegOutcome,
    LegState,
    WorkerLost,
)
from gateway.telephony.room import BUFFER_MAX
from tests.gateway.telephony.fakes import Bench, FakeFactory, carrying, ignore, leg, request
from tests.gateway.telephony.virtual import run, until


def digit(call: str, key: str) -> AnyLegEvent:
    return LegDigit(call=CallId(call), leg=LegId(f"{call}.1"), at=0.0, digit=key)


def ended(call: str, number: int) -> LegEnded:
    outcome = LegOutcome.COMPLETED
    return LegEnded(call=CallId(call), leg=LegId(f"{call}.{number}"), at=0.0, outcome=outcome)


def digits(events: list[CallEvent]) -> str:
    return "".join(event.digit for event in events if isinstance(event, LegDigit))


def surviving() -> FakeFactory:
    factory = FakeFactory()
    factory.living = {0: carrying(leg("c1", 1), leg("c1", 2), leg("c2", 1), recordings=["c2"])}
    return factory


def test_reservations_follow_the_snapshot() -> None:
    async def story() -> None:
        async with Bench(surviving(), max_workers=1) as bench:
            assert bench.used() == {0: 4}
            assert bench.pool.snapshot()[0].calls == ("c1", "c2")

    run(story())


def test_kept_events_come_in_order_after_the_hand_over() -> None:
    async def story() -> None:
        factory = surviving()
        factory.backlog[0] = [digit("c1", "1"), digit("c1", "2")]
        async with Bench(factory) as bench:
            bench.link(0).on_event(digit("c1", "3"))
            heard: list[CallEvent] = []
            room = bench.pool.adopted(CallId("c1"), heard.append)
            assert room is not None
            assert heard == []  # the flow first gets its room
            bench.link(0).on_event(digit("c1", "4"))
            await until(lambda: digits(heard) == "1234")
            bench.link(0).on_event(digit("c1", "5"))
            assert digits(heard) == "12345"
            assert bench.pool.adopted(CallId("c1"), ignore) is None  # it has its flow
            assert bench.pool.adopted(CallId("c9"), ignore) is None

    run(story())


def test_an_adopted_call_goes_on() -> None:
    async def story() -> None:
        async with Bench(surviving()) as bench:
            room = bench.pool.adopted(CallId("c2"), ignore)
            assert room is not None
            await room.dial(request("c2.2"))
            assert bench.link(0).legs[LegId("c2.2")] == "c2"
            bench.link(0).end_leg(LegId("c2.1"))
            bench.link(0).end_leg(LegId("c2.2"))
            await room.release()
            assert bench.used() == {0: 2}

    run(story())


def test_a_call_that_ended_without_a_daemon_still_tells_its_end() -> None:
    async def story() -> None:
        factory = FakeFactory()
        factory.living = {0: carrying()}
        factory.backlog[0] = [ended("gone", 1), ended("gone", 2)]
        async with Bench(factory) as bench:
            heard: list[CallEvent] = []
            room = bench.pool.adopted(CallId("gone"), heard.append)
            assert room is not None
            await until(lambda: len(heard) == 2)
            assert bench.used() == {0: 0}
            await room.release()
            bench.link(0).on_event(ended("gone", 3))  # late: makes no new room
            assert bench.pool.adopted(CallId("gone"), ignore) is None

    run(story())


def test_a_worker_lost_before_the_hand_over_is_told_after_it() -> None:
    async def story() -> None:
        async with Bench(surviving()) as bench:
            bench.link(0).on_event(digit("c1", "1"))
            bench.link(0).die()
            await until(lambda: 0 not in bench.states())
            heard: list[CallEvent] = []
            room = bench.pool.adopted(CallId("c1"), heard.append)
            assert room is not None
            await until(lambda: len(heard) == 2)
            assert [type(event) for event in heard] == [LegDigit, WorkerLost]
            await room.release()

    run(story())


def test_what_is_kept_is_bounded_and_keeps_the_ends() -> None:
    async def story() -> None:
        async with Bench(surviving()) as bench:
            bench.link(0).end_leg(LegId("c1.2"))
            for n in range(2 * BUFFER_MAX):
                bench.link(0).on_event(digit("c1", str(n % 10)))
            heard: list[CallEvent] = []
            bench.pool.adopted(CallId("c1"), heard.append)
            await until(lambda: heard)
            assert len(heard) == BUFFER_MAX
            assert isinstance(heard[0], LegEnded)

    run(story())


def test_calls_nobody_claims_are_hung_up() -> None:
    async def story() -> None:
        async with Bench(surviving(), claim_s=30.0) as bench:
            claimed = bench.pool.adopted(CallId("c1"), ignore)
            assert claimed is not None
            await asyncio.sleep(29)
            assert bench.link(0).hung_up == []
            await asyncio.sleep(2)
            assert bench.link(0).hung_up == ["c2.1"]
            assert bench.link(0).recordings_stopped == ["c2"]
            assert bench.used() == {0: 2}
            assert bench.pool.adopted(CallId("c2"), ignore) is None
            bench.link(0).on_event(digit("c3", "1"))  # from now on a stranger gets no room
            assert bench.pool.snapshot()[0].calls == ("c1",)

    run(story())


def test_legs_that_ended_are_not_reserved() -> None:
    async def story() -> None:
        factory = FakeFactory()
        factory.living = {0: carrying(leg("c1", 1, LegState.ENDED), leg("c1", 2), leg("c1", 3))}
        async with Bench(factory) as bench:
            assert bench.used() == {0: 2}

    run(story())


def test_a_new_room_for_a_survivor_is_made_elsewhere() -> None:
    async def story() -> None:
        factory = FakeFactory()
        factory.living = {0: carrying(leg("c1", 1))}
        async with Bench(factory, min_workers=2) as bench:
            room = await bench.pool.room(CallId("c1"), legs=2, emergency=True, on_event=ignore)
            assert room.link.slot == 1

    run(story())
