import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api.legs import LegState
from gateway.telephony.pacing import Pacer
from gateway.telephony.placement import (
    Seat,
    Sizes,
    adopted_legs,
    choose,
    room_for_calls,
    workers_kept,
    workers_wanted,
)
from tests.gateway.telephony.fakes import carrying, leg


def seat(slot: int, reserved: int = 0, **more: float) -> Seat:
    fields = {"slot": slot, "limit": 4, "reserved": reserved} | more
    return Seat(**fields)  # type: ignore[arg-type]  # bool and int fields through one mapping


@pytest.mark.parametrize(
    ("seats", "legs", "emergency", "keep", "unstarted", "chosen"),
    [
        # No worker, no room; full ones neither.
        ([], 2, True, 0, 40, None),
        ([seat(0, 4), seat(1, 3)], 2, True, 0, 40, None),
        # Fill up rather than open another.
        ([seat(0), seat(1, 2)], 2, False, 0, 0, 1),
        ([seat(0), seat(1, 2)], 2, True, 0, 0, 1),
        ([seat(0), seat(1, 2)], 3, True, 0, 0, 0),
        # An emergency goes where it is dialled at once, other calls fill up.
        ([seat(0), seat(1, 2, wait_s=0.2)], 2, True, 0, 0, 0),
        ([seat(0), seat(1, 2, wait_s=0.2)], 2, False, 0, 0, 1),
        # Who has carried less; who is to be renewed comes last.
        ([seat(0, carried=9), seat(1, carried=3)], 2, True, 0, 0, 1),
        ([seat(0, due=True), seat(1, carried=3)], 2, False, 0, 0, 1),
        # Closed and clogged workers are no room, nor do they count for the reserve.
        ([seat(0, open=False)], 2, True, 0, 0, None),
        ([seat(0), seat(1, open=False)], 2, False, 4, 0, None),
        # The reserve: only emergencies.
        ([seat(0)], 2, False, 4, 0, None),
        ([seat(0)], 2, True, 4, 0, 0),
        ([seat(0), seat(1)], 2, False, 4, 0, 0),
        ([seat(0, 2), seat(1, 2)], 2, False, 4, 0, None),
        ([seat(0)], 2, False, 4, 4, 0),
        # A single leg left over carries no call: three more legs would leave 1 + 2, not 3.
        ([seat(0), seat(1, 2)], 3, False, 3, 0, None),
    ],
)
def test_choice(
    seats: list[Seat], legs: int, *, emergency: bool, keep: int, unstarted: int, chosen: int | None
) -> None:
    slot = choose(seats, legs=legs, emergency=emergency, keep=keep, unstarted=unstarted)
    assert slot == chosen


seats_strategy = st.lists(
    st.builds(
        Seat,
        slot=st.integers(0, 10_000),
        limit=st.integers(2, 8),
        reserved=st.integers(0, 10),
        open=st.booleans(),
        due=st.booleans(),
        wait_s=st.floats(0, 3),
        carried=st.integers(0, 9),
    ),
    max_size=8,
    unique_by=lambda s: s.slot,
)


@given(
    seats=seats_strategy,
    legs=st.integers(1, 8),
    keep=st.integers(0, 12),
    emergency=st.booleans(),
    unstarted=st.integers(0, 12),
)
def test_whatever_the_pool_looks_like(
    seats: list[Seat], legs: int, keep: int, unstarted: int, *, emergency: bool
) -> None:
    slot = choose(seats, legs=legs, emergency=emergency, keep=keep, unstarted=unstarted)
    fitting = {s.slot for s in seats if s.open and s.reserved + legs <= s.limit}
    if slot is None:
        assert not (emergency and fitting)
        return
    assert slot in fitting
    after = [
        s
        if s.slot != slot
        else Seat(slot=slot, limit=s.limit, reserved=s.reserved + legs, open=s.open)
        for s in seats
    ]
    assert emergency or room_for_calls(after, unstarted=unstarted) >= keep


@pytest.mark.parametrize(
    ("busy", "waiting", "wanted"),
    [(0, 0, 2), (1, 0, 2), (2, 0, 3), (5, 0, 6), (0, 1, 2), (0, 40, 10), (9, 3, 10), (10, 9, 10)],
)
def test_workers_wanted(busy: int, waiting: int, wanted: int) -> None:
    sizes = Sizes(least=2, most=10, spare=1)
    assert workers_wanted(sizes, busy=busy, waiting_legs=waiting, legs=4) == wanted


@given(
    least=st.integers(1, 20),
    most=st.integers(1, 20),
    spare=st.integers(0, 5),
    busy=st.integers(0, 20),
)
def test_shrinking_never_causes_a_start(least: int, most: int, spare: int, busy: int) -> None:
    sizes = Sizes(least=min(least, most), most=most, spare=spare)
    kept = workers_kept(sizes, busy=busy)
    assert workers_wanted(sizes, busy=busy, waiting_legs=0, legs=4) <= kept <= most


@pytest.mark.parametrize(
    ("legs", "recordings", "expected"),
    [
        ([], [], {}),
        ([("a", 1)], [], {"a": 2}),
        ([("a", 1), ("a", 2), ("a", 3)], [], {"a": 3}),
        ([("a", 1), ("b", 1)], [], {"a": 2, "b": 2}),
        ([("a", 1), ("a", 2), ("a", 3), ("b", 1)], [], {"a": 3, "b": 1}),
        ([("a", 1), ("b", 1), ("c", 1)], [], {"a": 2, "b": 1, "c": 1}),
        ([("a", 1)], ["r"], {"a": 2, "r": 2}),
        ([("a", n) for n in range(4)], ["r"], {"a": 4, "r": 0}),
    ],
)
def test_adopted_legs(
    legs: list[tuple[str, int]], recordings: list[str], expected: dict[str, int]
) -> None:
    snapshot = carrying(*(leg(*each) for each in legs), recordings=recordings)
    assert adopted_legs(snapshot, limit=4) == expected


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(LegState)), max_size=4))
def test_adoption_never_reserves_more_than_there_is(legs: list[tuple[str, LegState]]) -> None:
    snapshot = carrying(*(leg(call, n, state) for n, (call, state) in enumerate(legs)))
    reserved = adopted_legs(snapshot, limit=4)
    assert sum(reserved.values()) <= 4
    for call, held in reserved.items():
        living = sum(c == call and s is not LegState.ENDED for c, s in legs)
        assert held >= living


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=60), st.floats(1, 20), st.integers(1, 4))
def test_pacing_keeps_the_rate(pauses: list[float], rate: float, burst: int) -> None:
    pacer, now, turns = Pacer(rate, burst=burst, now=0.0), 0.0, []
    for pause in pauses:
        now += pause
        turns.append(now + pacer.take(now))
    assert turns == sorted(turns)
    for first, turn in enumerate(turns):
        within = sum(turn <= other < turn + 1 for other in turns[first:])
        assert within <= burst + rate + 1


def test_pacing_tells_without_taking() -> None:
    pacer = Pacer(10, burst=4, now=0.0)
    assert [pacer.take(0.0) for _ in range(4)] == [0, 0, 0, 0]
    assert pacer.wait_for(2, 0.0) == pytest.approx(0.2)
    assert pacer.wait_for(2, 0.0) == pytest.approx(0.2)
    assert pacer.wait_for(9, 0.0) == pytest.approx(0.4)  # more than the burst never comes at once
    assert pacer.take(0.0) == pytest.approx(0.1)
    assert pacer.wait_for(2, 10.0) == 0
