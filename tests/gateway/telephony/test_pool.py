"""Rooms: who gets one, who waits, who is refused."""

import asyncio
import time

import pytest

from drivers.api.errors import NoCapacity, WorkerGone
from drivers.api.ids import CallId, LegId
from drivers.api.legs import CallEvent, CallRoom, LegDialled, LegDigit, LegEnded, WorkerLost
from gateway.telephony.room import Room
from gateway.telephony.waiting import RoomRequest, WaitingLine
from tests.gateway.telephony.fakes import Bench, FakeFactory, ignore, request
from tests.gateway.telephony.virtual import run, until


async def sos(bench: Bench, call: str, legs: int = 2) -> CallRoom:
    return await bench.pool.room(CallId(call), legs=legs, emergency=True, on_event=ignore)


async def care(bench: Bench, call: str, legs: int = 2) -> CallRoom:
    return await bench.pool.room(CallId(call), legs=legs, emergency=False, on_event=ignore)


def test_a_call_dials_in_its_room_and_hears_its_own_events() -> None:
    async def story() -> None:
        async with Bench() as bench:
            heard: list[CallEvent] = []
            call = CallId("c1")
            room = await bench.pool.room(call, legs=2, emergency=True, on_event=heard.append)
            other = await sos(bench, "c2")
            await room.dial(request("c1.1"))
            await other.dial(request("c2.1"))
            assert (room.call, room.link) == ("c1", bench.link(0))
            assert heard == [LegDialled(call=call, leg=LegId("c1.1"), at=0.0)]
            assert bench.used() == {0: 4}
            bench.link(0).end_leg(LegId("c1.1"))
            await room.release()
            await room.release()
            assert bench.used() == {0: 2}
            bench.link(0).on_event(LegDigit(call=call, leg=LegId("c1.1"), at=0.0, digit="5"))
            assert [type(event) for event in heard] == [LegDialled, LegEnded]

    run(story())


def test_the_reserve_is_for_emergencies() -> None:
    async def story() -> None:
        async with Bench(min_workers=2, max_workers=2, reserve_legs=4) as bench:
            begin = asyncio.get_running_loop().time()
            await care(bench, "n1")
            await care(bench, "n2")
            with pytest.raises(NoCapacity):
                await care(bench, "n3")
            assert asyncio.get_running_loop().time() == begin  # told at once
            await sos(bench, "e1")
            await sos(bench, "e2")
            assert bench.used() == {0: 4, 1: 4}
            with pytest.raises(NoCapacity):
                await sos(bench, "e3")
            assert asyncio.get_running_loop().time() == pytest.approx(begin + 2.0)
            assert bench.metric("rooms_refused_total", priority="normal") == 1
            assert bench.metric("rooms_refused_total", priority="emergency") == 1

    run(story())


def test_what_no_worker_can_carry_is_refused_at_once() -> None:
    async def story() -> None:
        async with Bench() as bench:
            begin = asyncio.get_running_loop().time()
            with pytest.raises(NoCapacity):
                await sos(bench, "e1", legs=5)
            assert asyncio.get_running_loop().time() == begin

    run(story())


def test_a_caller_waits_for_a_worker_to_start() -> None:
    async def story() -> None:
        async with Bench() as bench:
            await sos(bench, "e1", legs=4)
            begin = asyncio.get_running_loop().time()
            await sos(bench, "e2", legs=4)
            assert asyncio.get_running_loop().time() - begin == pytest.approx(0.03, abs=0.01)

    run(story())


def test_a_warm_spare_spares_the_wait() -> None:
    async def story() -> None:
        async with Bench(spare_workers=1) as bench:
            await sos(bench, "e1", legs=4)
            await until(lambda: len(bench.states()) == 2)
            begin = asyncio.get_running_loop().time()
            await sos(bench, "e2", legs=4)
            assert asyncio.get_running_loop().time() == begin

    run(story())


def test_emergencies_are_served_first_and_in_their_order() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            full = await sos(bench, "full", legs=4)
            served: list[str] = []

            async def caller(name: str, *, emergency: bool) -> None:
                room = await bench.pool.room(
                    CallId(name), legs=4, emergency=emergency, on_event=ignore
                )
                served.append(name)
                await room.release()

            async with asyncio.TaskGroup() as group:
                group.create_task(caller("e1", emergency=True))
                group.create_task(caller("e2", emergency=True))
                await asyncio.sleep(0.01)
                await full.release()
            assert served == ["e1", "e2"]

    run(story())


def test_an_emergency_overtakes_other_calls_that_wait() -> None:
    async def story() -> None:
        factory = FakeFactory(start_s=0.5)
        async with Bench(factory, max_workers=2) as bench:
            await sos(bench, "full", legs=4)
            normal = [asyncio.create_task(care(bench, name)) for name in ("n1", "n2")]
            await asyncio.sleep(0.01)
            emergency = asyncio.create_task(sos(bench, "e1"))
            outcomes = await asyncio.gather(*normal, emergency, return_exceptions=True)
            # The new worker has four legs: for the emergency, and for the first of the others.
            assert [type(outcome) for outcome in outcomes] == [Room, NoCapacity, Room]

    run(story())


def test_no_other_call_slips_past_an_emergency_that_waits() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            await sos(bench, "half")
            waiting = asyncio.create_task(sos(bench, "e1", legs=4))
            await asyncio.sleep(0.01)
            with pytest.raises(NoCapacity):
                await care(bench, "n1")  # two legs are free, but not for this call
            with pytest.raises(NoCapacity):
                await waiting

    run(story())


async def test_each_queue_has_its_own_bound() -> None:
    def caller(*, emergency: bool) -> RoomRequest:
        granted: asyncio.Future[Room] = asyncio.get_running_loop().create_future()
        return RoomRequest(
            call=CallId("c"), legs=2, emergency=emergency, on_event=ignore, granted=granted
        )

    line = WaitingLine(1)
    normal = caller(emergency=False)
    assert line.add(normal)
    assert not line.add(caller(emergency=False))
    assert line.add(caller(emergency=True))
    assert not line.add(caller(emergency=True))
    assert (len(line), line.legs, line.emergencies) == (2, 4, 1)
    line.remove(normal)
    assert line.add(caller(emergency=False))


def test_a_caller_who_gives_up_takes_no_room() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            full = await sos(bench, "full", legs=4)
            waiting = asyncio.create_task(sos(bench, "e1", legs=4))
            await asyncio.sleep(0.01)
            await full.release()
            for _ in range(2):  # granted, but the caller has not been told yet
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await until(lambda: bench.used() == {0: 0})
            await sos(bench, "e2", legs=4)

    run(story())


def test_the_first_dials_go_at_once_and_the_long_run_keeps_the_rate() -> None:
    async def story() -> None:
        async with Bench(max_workers=1, dials_per_second=10) as bench:
            begin = asyncio.get_running_loop().time()
            for number in range(20):
                room = await sos(bench, f"c{number}")
                for n in (1, 2):
                    await room.dial(request(f"c{number}.{n}"))
                    bench.link(0).end_leg(LegId(f"c{number}.{n}"))
                await room.release()
            times = [at - begin for at, _, _ in bench.link(0).dials]
            assert times[:4] == [0, 0, 0, 0]
            assert times[-1] == pytest.approx(36 / 10)
            # PJSIP breaks at about 15 in a second.
            assert max(sum(t <= u < t + 1 for u in times) for t in times) <= 14

    run(story())


def test_an_emergency_goes_where_it_is_dialled_soonest() -> None:
    async def story() -> None:
        async with Bench(min_workers=2) as bench:
            room = await sos(bench, "c", legs=4)
            assert room.link.slot == 0
            for n in range(4):
                await room.dial(request(f"c.{n}"))
                bench.link(0).end_leg(LegId(f"c.{n}"))
            await room.release()
            await sos(bench, "e0", legs=2)
            await asyncio.sleep(0)
            assert bench.used() == {0: 0, 1: 2}
            # An ordinary call fills up what is in use; the emergency has to be dialled now.
            assert (await care(bench, "n")).link.slot == 1
            await asyncio.sleep(1)
            assert (await sos(bench, "e1")).link.slot == 0

    run(story())


def test_a_worker_that_refuses_is_left_alone_for_a_while() -> None:
    async def story() -> None:
        async with Bench(min_workers=2, max_workers=2) as bench:
            bench.link(0).stuck = 4
            room = await sos(bench, "e1")
            assert room.link.slot == 0
            with pytest.raises(NoCapacity):
                await room.dial(request("e1.1"))
            await room.release()
            assert bench.states() == {0: "clogged", 1: "ready"}
            assert (await sos(bench, "e2", legs=4)).link.slot == 1
            with pytest.raises(NoCapacity):
                await sos(bench, "e3")
            bench.link(0).stuck = 0
            await asyncio.sleep(31)
            assert (await sos(bench, "e4")).link.slot == 0

    run(story())


def test_a_refused_dial_leaves_nothing_behind() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            bench.link(0).stuck = 4
            room = await sos(bench, "e1")
            for n in range(3):
                with pytest.raises(NoCapacity):
                    await room.dial(request(f"e1.{n}"))
            assert bench.used() == {0: 2}
            await room.release()
            assert bench.used() == {0: 0}

    run(story())


def test_a_room_given_back_while_its_dial_waits_dials_no_more() -> None:
    async def story() -> None:
        async with Bench(max_workers=1, dials_per_second=1) as bench:
            first = await sos(bench, "e1", legs=2)
            for n in range(4):
                await first.dial(request(f"e1.{n}"))
                bench.link(0).end_leg(LegId(f"e1.{n}"))
            dialling = asyncio.create_task(first.dial(request("e1.late")))
            await asyncio.sleep(0.1)
            await first.release()
            with pytest.raises(NoCapacity):
                await dialling
            assert len(bench.link(0).dials) == 4

    run(story())


def test_a_full_room_waits_for_its_own_leg_to_end() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            room = await sos(bench, "e1")
            await sos(bench, "e2")
            await room.dial(request("e1.1"))
            await room.dial(request("e1.2"))
            await room.link.hang_up(LegId("e1.2"))
            await room.dial(request("e1.3"))
            assert set(bench.link(0).legs) == {"e1.1", "e1.3"}
            with pytest.raises(NoCapacity, match="2 legs of the call are in use"):
                await room.dial(request("e1.4"))
            assert bench.states() == {0: "ready"}  # not the worker's fault

    run(story())


def test_an_emergency_may_use_legs_that_nobody_reserved() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            room = await sos(bench, "e1")
            for n in (1, 2, 3):
                await room.dial(request(f"e1.{n}"))
            assert bench.used() == {0: 3}
            with pytest.raises(NoCapacity):
                await sos(bench, "e2")
            bench.link(0).end_leg(LegId("e1.3"))
            assert bench.used() == {0: 2}

    run(story())


def test_released_legs_are_ended_and_count_until_they_are_gone() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            room = await sos(bench, "e1", legs=4)
            await room.dial(request("e1.1"))
            await room.release()
            assert bench.link(0).hung_up == ["e1.1"]
            assert bench.used() == {0: 1}
            await until(lambda: bench.used() == {0: 0})
            with pytest.raises(NoCapacity, match="given back"):
                await room.dial(request("e1.2"))

    run(story())


def test_a_leg_whose_end_is_never_told_does_not_leak() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            room = await sos(bench, "e1")
            await room.dial(request("e1.1"))
            bench.link(0).legs.clear()
            await room.release()
            assert bench.used() == {0: 1}
            assert await until(lambda: bench.used() == {0: 0}, deadline=40) > 30

    run(story())


def test_a_dying_worker_is_told_to_each_call_once() -> None:
    async def story() -> None:
        async with Bench(max_workers=2) as bench:
            heard: dict[str, list[CallEvent]] = {"c1": [], "c2": []}
            rooms = [
                await bench.pool.room(CallId(c), legs=2, emergency=True, on_event=e.append)
                for c, e in heard.items()
            ]
            await rooms[0].dial(request("c1.1"))
            heard["c1"].clear()
            dialling = asyncio.create_task(rooms[1].dial(request("c2.1")))
            bench.link(0).die()
            with pytest.raises(WorkerGone):
                await dialling
            await until(lambda: bench.used() == {0: 0} or bench.used() == {1: 0})
            for call, events in heard.items():
                assert [type(event) for event in events] == [WorkerLost], call
            with pytest.raises(WorkerGone):
                await rooms[0].dial(request("c1.2"))
            again = await sos(bench, "c1")  # the same call, while the old room is still held
            await rooms[0].release()
            await again.dial(request("c1.3"))
            assert sum(bench.used().values()) == 2
            assert bench.metric("workers_lost_total") == 1

    run(story())


def test_a_flow_that_breaks_on_an_event_harms_no_other() -> None:
    async def story() -> None:
        def broken(event: CallEvent) -> None:
            raise RuntimeError(event)

        async with Bench() as bench:
            room = await bench.pool.room(CallId("c1"), legs=2, emergency=True, on_event=broken)
            await room.dial(request("c1.1"))
            bench.link(0).end_leg(LegId("c1.1"))
            await room.release()
            assert bench.used() == {0: 0}

    run(story())


def test_stopping_refuses_who_waits_and_who_comes() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            await sos(bench, "full", legs=4)
            waiting = asyncio.create_task(sos(bench, "e1"))
            await asyncio.sleep(0.01)
            await bench.pool.stop(workers="leave")
            with pytest.raises(NoCapacity):
                await waiting
            with pytest.raises(NoCapacity):
                await sos(bench, "e2")
            assert bench.link(0).quits == 0

    run(story())


def test_stop_with_quit_ends_the_workers() -> None:
    async def story() -> None:
        async with Bench(min_workers=3) as bench:
            bench.link(1).deaf = True
            await bench.pool.stop(workers="quit")
            assert all(bench.link(slot).end.is_set() for slot in range(3))
            assert bench.killed == [bench.link(1).pid]
            assert not bench.pool.available

    run(story())


def test_a_storm_starts_workers_side_by_side_but_not_all_at_once() -> None:
    async def story() -> None:
        async with Bench(max_workers=30) as bench:
            begin = asyncio.get_running_loop().time()
            await asyncio.gather(*(sos(bench, f"e{n}") for n in range(50)))
            assert bench.factory.most_starting == 4
            assert asyncio.get_running_loop().time() - begin < 30 / 4 * 0.03 + 0.1
            assert sum(bench.used().values()) == 100

    run(story())


def test_the_gauges_follow_the_pool() -> None:
    async def story() -> None:
        async with Bench(min_workers=2, max_workers=3) as bench:
            await sos(bench, "e1")
            assert bench.metric("legs_limit") == 12
            assert bench.metric("legs_capacity") == 8
            assert bench.metric("legs_reserved") == 2
            assert bench.metric("workers", state="ready") == 2
            assert bench.metric("workers_started_total", result="started") == 2
            view = bench.pool.snapshot()[0]
            assert (view.calls, view.calls_carried, view.legs_limit) == (("e1",), 1, 4)
            assert bench.pool.available

    run(story())


async def test_a_room_and_its_first_dial_cost_little() -> None:
    bench = Bench(min_workers=100, max_workers=100, dials_per_second=1000)
    async with bench:
        begin = time.perf_counter()
        for number in range(100):
            room = await sos(bench, f"c{number}")
            await room.dial(request(f"c{number}.1"))
            await room.dial(request(f"c{number}.2"))
        each = (time.perf_counter() - begin) / 100
    # Far from the true cost (docs/benchmarks.md): only what would be felt at the agent's phone.
    assert each < 0.05
