"""Workers come, go, fail and are renewed."""

import asyncio
import itertools

import pytest

from drivers.api.ids import CallId
from drivers.api.legs import CallRoom
from gateway.telephony.pool import WorkerPool
from tests.gateway.telephony.fakes import Bench, FakeFactory, carrying, ignore, leg, request
from tests.gateway.telephony.virtual import run, until


async def sos(pool: WorkerPool, call: str, legs: int = 2) -> CallRoom:
    return await pool.room(CallId(call), legs=legs, emergency=True, on_event=ignore)


def test_start_brings_up_the_least_number() -> None:
    async def story() -> None:
        bench = Bench(min_workers=3, max_workers=8)
        assert not bench.pool.available
        async with bench:
            assert bench.states() == {0: "ready", 1: "ready", 2: "ready"}

    run(story())


def test_a_start_that_fails_does_not_keep_the_daemon_from_starting() -> None:
    async def story() -> None:
        factory = FakeFactory()
        factory.broken = OSError("no such program")
        async with Bench(factory) as bench:
            assert not bench.pool.available
            assert asyncio.get_running_loop().time() < 1000.1
            factory.broken = None
            await until(lambda: bench.pool.available)
            assert (bench.metric("workers_started_total", result="failed") or 0) >= 1

    run(story())


def test_when_nothing_starts_attempts_become_rare() -> None:
    async def story() -> None:
        factory = FakeFactory()
        factory.broken = RuntimeError("a defect")
        async with Bench(factory, max_workers=100):
            await asyncio.sleep(600)
            before = len(factory.spawns)
            await asyncio.sleep(600)
            assert 0 < len(factory.spawns) - before <= 5 * 600 / 30
            assert before < 500

    run(story())


def test_a_worker_that_hangs_in_its_start_is_given_up() -> None:
    async def story() -> None:
        factory = FakeFactory(start_s=1e6)
        bench = Bench(factory)
        starting = asyncio.create_task(bench.pool.start())
        await until(starting.done, deadline=20)
        factory.start_s = 0.03
        await until(lambda: bench.pool.available, deadline=20)
        await bench.pool.stop(workers="leave")

    run(story())


def test_a_crashing_slot_rests_longer_each_time_and_others_go_on() -> None:
    async def story() -> None:
        async with Bench(min_workers=2, max_workers=2) as bench:
            keeper = await sos(bench.pool, "keeper")
            other = 1 - keeper.link.slot
            for _ in range(12):
                await until(lambda: bench.states().get(other) == "ready", deadline=40)
                bench.link(other).die()
                await until(lambda: other not in bench.states())
            times = [at for at, slot in bench.factory.spawns if slot == other]
            gaps = [b - a for a, b in itertools.pairwise(times[1:])]
            assert gaps == sorted(gaps)
            assert gaps[0] < 0.4
            assert gaps[-1] == pytest.approx(30, abs=0.2)
            await keeper.dial(request("keeper.1"))
            assert bench.metric("workers_lost_total") == 12

    run(story())


def test_a_healthy_minute_forgives_earlier_crashes() -> None:
    async def story() -> None:
        async with Bench(max_workers=1) as bench:
            for _ in range(5):
                bench.link(0).die()
                await until(lambda: not bench.states())
                await until(lambda: bench.pool.available)
            await asyncio.sleep(61)
            bench.link(0).die()
            await until(lambda: not bench.states())
            assert await until(lambda: bench.pool.available) < 0.2

    run(story())


def test_another_slot_takes_over_while_the_crashed_one_rests() -> None:
    async def story() -> None:
        async with Bench() as bench:
            bench.factory.failing.add(0)
            bench.link(0).die()
            await until(lambda: bench.states() == {1: "ready"}, deadline=0.1)

    run(story())


def test_idle_workers_end_down_to_the_least_and_the_spares() -> None:
    async def story() -> None:
        async with Bench(min_workers=2, max_workers=10, spare_workers=1, idle_s=60) as bench:
            rooms = [await sos(bench.pool, f"c{n}", legs=4) for n in range(6)]
            await until(lambda: len(bench.states()) == 7)
            for room in rooms:
                await room.release()
            await asyncio.sleep(50)
            assert len(bench.states()) == 7
            await asyncio.sleep(15)
            assert bench.states() == {0: "ready", 1: "ready", 2: "ready"}
            assert bench.metric("workers_lost_total") == 0

    run(story())


def test_a_worker_in_use_is_not_idle() -> None:
    async def story() -> None:
        async with Bench(max_workers=3, idle_s=10) as bench:
            rooms = [await sos(bench.pool, f"c{n}", legs=4) for n in range(3)]
            await rooms[0].release()
            await rooms[1].release()
            await asyncio.sleep(60)
            assert bench.used() == {2: 4}

    run(story())


def test_after_its_share_of_calls_a_worker_is_replaced_before_it_goes() -> None:
    async def story() -> None:
        async with Bench(recycle_after_calls=3) as bench:
            for n in range(2):
                await (await sos(bench.pool, f"c{n}")).release()
            last = await sos(bench.pool, "last")
            assert bench.states() == {0: "ready"}  # until the replacement is there
            await until(lambda: bench.states() == {0: "draining", 1: "ready"})
            assert (await sos(bench.pool, "next")).link.slot == 1
            await asyncio.sleep(5)
            assert bench.link(0).quits == 0
            await last.release()
            await until(lambda: bench.states() == {1: "ready"})
            assert bench.link(0).quits == 1
            assert bench.metric("workers_lost_total") == 0

    run(story())


def test_a_full_pool_renews_its_workers_one_after_the_other() -> None:
    async def story() -> None:
        async with Bench(min_workers=3, max_workers=3, recycle_after_calls=1) as bench:
            for n in range(3):
                await (await sos(bench.pool, f"c{n}")).release()
            fewest = 3
            for _ in range(1000):
                ready = sum(state == "ready" for state in bench.states().values())
                fewest = min(fewest, ready)
                await asyncio.sleep(0.001)
            assert fewest == 2
            assert len(bench.factory.spawns) == 6
            assert bench.states() == {0: "ready", 1: "ready", 2: "ready"}

    run(story())


def test_a_worker_that_does_not_quit_is_killed() -> None:
    async def story() -> None:
        async with Bench(recycle_after_calls=1) as bench:
            bench.link(0).deaf = True
            await (await sos(bench.pool, "c")).release()
            await until(lambda: bench.killed == [bench.link(0).pid], deadline=15)
            await until(lambda: bench.states() == {1: "ready"})

    run(story())


def test_a_worker_that_died_while_draining_counts_as_lost() -> None:
    async def story() -> None:
        async with Bench(recycle_after_calls=1) as bench:
            await sos(bench.pool, "c")
            await until(lambda: bench.states() == {0: "draining", 1: "ready"})
            bench.link(0).die()
            await until(lambda: bench.states() == {1: "ready"})
            assert bench.metric("workers_lost_total") == 1

    run(story())


def test_a_smaller_worker_than_configured_is_believed() -> None:
    async def story() -> None:
        async with Bench(FakeFactory(limit=4), legs_per_worker=100, max_workers=2) as bench:
            await sos(bench.pool, "c1", legs=4)
            assert (await sos(bench.pool, "c2", legs=4)).link.slot == 1
            assert bench.metric("legs_limit") == 8

    run(story())


def test_living_workers_are_adopted_before_any_is_started() -> None:
    async def story() -> None:
        factory = FakeFactory()
        factory.living = {
            1: carrying(leg("c1", 1), leg("c1", 2)),
            3: None,
            7: carrying(leg("c7", 1)),
        }
        async with Bench(factory, min_workers=1, max_workers=4) as bench:
            assert factory.spawns == []
            # Slot 7 is beyond the present size: it may finish its call.
            assert bench.states() == {1: "ready", 7: "draining"}
            assert bench.metric("workers_started_total", result="adopted") == 2
            room = bench.pool.adopted(CallId("c7"), ignore)
            assert room is not None
            bench.link(7).legs.clear()
            await room.release()
            await until(lambda: 7 not in bench.states(), deadline=40)

    run(story())
