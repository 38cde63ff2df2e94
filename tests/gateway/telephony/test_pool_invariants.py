"""Whatever calls, crashes and releases come in whatever order."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.api.errors import WaistError
from drivers.api.ids import CallId
from drivers.api.legs import CallEvent, CallRoom, WorkerLost
from gateway.telephony.placement import LEGS_OF_A_CALL
from tests.gateway.telephony.fakes import Bench, request
from tests.gateway.telephony.virtual import run, until

RESERVE = 4
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("room"), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("dial"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("release"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("die"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("wait"), st.integers(0, 3), st.booleans()),
    ),
    max_size=40,
)


class Traffic:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.rooms: list[CallRoom] = []
        self.lost: dict[CallId, int] = {}
        self.count = 0

    async def step(self, kind: str, number: int, *, flag: bool) -> None:
        if kind == "room":
            await self.enter(number, emergency=flag)
        elif kind == "die":
            link = self.bench.factory.links.get(number)
            if link is not None:
                link.die()
        elif kind == "wait":
            await asyncio.sleep(0.05 * number)
        elif self.rooms:
            await self.use(kind, self.rooms[number % len(self.rooms)])
        self.check()

    async def enter(self, legs: int, *, emergency: bool) -> None:
        self.count += 1
        call = CallId(f"c{self.count}")
        try:
            room = await self.bench.pool.room(
                call, legs=legs, emergency=emergency, on_event=self.hear
            )
        except WaistError:
            return
        self.rooms.append(room)
        if not emergency:
            assert self.free_pairs() >= RESERVE

    async def use(self, kind: str, room: CallRoom) -> None:
        if kind == "dial":
            self.count += 1
            try:
                await room.dial(request(f"{room.call}.{self.count}"))
            except WaistError:
                return
        elif kind == "end":
            fake = self.bench.link(room.link.slot)
            for leg, call in list(fake.legs.items()):
                if call == room.call:
                    fake.end_leg(leg)
        else:
            self.rooms.remove(room)
            await room.release()

    def hear(self, event: CallEvent) -> None:
        if isinstance(event, WorkerLost):
            self.lost[event.call] = self.lost.get(event.call, 0) + 1

    def free_pairs(self) -> int:
        views = self.bench.pool.snapshot()
        pairs = LEGS_OF_A_CALL
        running = sum((v.legs_limit - v.legs_used) // pairs * pairs for v in views)
        return running + (4 - len(views)) * 4

    def check(self) -> None:
        assert all(view.legs_used <= view.legs_limit for view in self.bench.pool.snapshot())
        assert all(times == 1 for times in self.lost.values())


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_overbooking_no_leak_and_the_reserve_stays(steps: list[tuple[str, int, bool]]) -> None:
    async def story() -> None:
        async with Bench(reserve_legs=RESERVE, spare_workers=1) as bench:
            traffic = Traffic(bench)
            for kind, number, flag in steps:
                await traffic.step(kind, number, flag=flag)
            for room in traffic.rooms:
                await room.release()
            await until(lambda: sum(bench.used().values()) == 0, deadline=60)
            assert bench.metric("legs_reserved") == 0
            await until(lambda: bench.pool.available, deadline=60)

    run(story())
