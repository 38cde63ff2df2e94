"""Which worker takes a call, and how many workers there should be. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from drivers.api.ids import CallId
from drivers.api.legs import LegState, WorkerSnapshot

# A call is a terminal and somebody who speaks to it.
LEGS_OF_A_CALL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A running worker, as the choice sees it. Legs, seconds, calls."""

    slot: int
    limit: int
    reserved: int
    open: bool = True  # takes new calls: not about to end, not clogged by dead peers
    due: bool = False  # has carried its share of calls and waits for its replacement
    wait_s: float = 0.0  # until it may dial the first legs of a call
    carried: int = 0

    @property
    def free(self) -> int:
        """Return the legs that a new call could take here."""
        return max(0, self.limit - self.reserved) if self.open else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The configured size of the pool, in workers."""

    least: int
    most: int
    spare: int


def choose(
    seats: Sequence[Seat], *, legs: int, emergency: bool, keep: int, unstarted: int
) -> int | None:
    """Return the slot that takes a call of `legs` legs, or None when none can now.

    `keep` legs stay for emergencies; `unstarted` are the legs of workers that could still start.
    An emergency goes where it is dialled soonest, any other call where it leaves no holes.
    """
    fitting = [seat for seat in seats if seat.free >= legs]
    if emergency:
        fitting.sort(key=lambda s: (s.wait_s, s.due, s.free, s.carried, s.slot))
        return fitting[0].slot if fitting else None
    room = room_for_calls(seats, unstarted=unstarted)
    fitting.sort(key=lambda s: (s.due, s.free, s.wait_s, s.carried, s.slot))
    for seat in fitting:
        if room - _whole(seat.free) + _whole(seat.free - legs) >= keep:
            return seat.slot
    return None


def room_for_calls(seats: Iterable[Seat], *, unstarted: int) -> int:
    """Return the free legs that calls can use; a hole of one leg carries no call."""
    return unstarted + sum(_whole(seat.free) for seat in seats)


def _whole(free: int) -> int:
    return free - free % LEGS_OF_A_CALL


def workers_wanted(sizes: Sizes, *, busy: int, waiting_legs: int, legs: int) -> int:
    """Return how many workers should run or start, for `busy` ones and callers who wait."""
    need = busy + sizes.spare + ceil(waiting_legs / legs)
    return min(sizes.most, max(sizes.least, need))


def workers_kept(sizes: Sizes, *, busy: int) -> int:
    """Return down to how many workers the pool shrinks.

    At least `workers_wanted` without callers who wait, so that shrinking never causes a start.
    """
    return min(sizes.most, max(sizes.least, busy) + sizes.spare)


def adopted_legs(snapshot: WorkerSnapshot, *, limit: int) -> Mapping[CallId, int]:
    """Return the legs to reserve for each call an adopted worker carries.

    Each call gets its living legs, then up to a whole call's where the worker has room for it:
    one whose agent has just gone needs a leg for the next.
    """
    calls = dict.fromkeys((*(leg.call for leg in snapshot.legs), *snapshot.recordings), 0)
    for leg in snapshot.legs:
        if leg.state is not LegState.ENDED:
            calls[leg.call] += 1
    for call, legs in calls.items():
        spare = max(0, limit - sum(calls.values()))
        calls[call] = legs + min(spare, max(0, LEGS_OF_A_CALL - legs))
    return calls
