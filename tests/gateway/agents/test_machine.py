"""Two daemons, random calls, commands and deaths: nobody is in two calls, nothing sticks."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drivers.api.ids import CallId
from gateway.agents import book
from gateway.agents.model import MISSES, AgentId, Offer, OfferOutcome, Standing
from gateway.agents.states import AgentState, NotAllowed
from tests.gateway.agents.conftest import ANNA, BERT, CARL, CONFIG, Room, open_room
from tests.gateway.incidents.conftest import ManualClock, sqlite_at

S = AgentState
AGENTS = st.sampled_from([ANNA, BERT, CARL])
ROOMS = st.sampled_from([0, 1])
# So long nothing may outlast: the oldest offer, its lease, a lease after that, and the wrap-up.
ALL_OVER = int(CONFIG.offer_s + 3 * CONFIG.lease_s + CONFIG.wrap_up_s) + 5


class Agents(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        url = sqlite_at(Path(self.directory.name))
        self.rooms = [
            self.loop.run_until_complete(open_room(url, self.clock, name)) for name in ("a", "b")
        ]
        self.ringing: list[tuple[int, Offer]] = []  # legs as the phones see them
        self.talking: dict[AgentId, Offer] = {}  # legs that were answered and live
        self.calls = 0

    def teardown(self) -> None:
        for room in self.rooms:
            self.loop.run_until_complete(room.database.stop())
        self.loop.close()
        self.directory.cleanup()

    def standings(self) -> dict[AgentId, Standing]:
        found = self.loop.run_until_complete(self.rooms[0].database.read(book.everybody))
        return {agent.id: standing for agent, standing in found}

    @rule(agent=AGENTS, room=ROOMS, wanted=st.sampled_from([S.READY, S.READY, S.PAUSED, S.OFFLINE]))
    def command(self, agent: AgentId, room: int, wanted: AgentState) -> None:
        before = self.standings()[agent]
        asked = self.rooms[room].desk.set_state(agent, wanted)
        try:
            after = self.loop.run_until_complete(asked).standing.state
        except NotAllowed as refused:
            wanted, after = before.state, refused.state
        assert after is wanted

    @rule(room=ROOMS, group=st.sampled_from(["sos", "service"]))
    def call(self, room: int, group: str) -> None:
        self.calls += 1
        call = CallId(f"c{self.calls}")
        before = self.standings()
        offer = self.loop.run_until_complete(self.rooms[room].pick(call, group))
        if offer is None:
            return
        assert before[offer.agent].state is S.READY
        assert offer.agent not in self.talking
        self.ringing.append((room, offer))

    @precondition(lambda self: self.ringing)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        room, offer = self.ringing.pop(data.draw(st.integers(0, len(self.ringing) - 1)))
        if self.loop.run_until_complete(self.rooms[room].desk.answered(offer)):
            assert offer.agent not in self.talking, "in two calls"
            self.talking[offer.agent] = offer

    @precondition(lambda self: self.ringing)
    @rule(data=st.data(), outcome=st.sampled_from([*sorted(MISSES), OfferOutcome.WITHDRAWN]))
    def miss(self, data: st.DataObject, outcome: OfferOutcome) -> None:
        room, offer = self.ringing.pop(data.draw(st.integers(0, len(self.ringing) - 1)))
        self.loop.run_until_complete(self.rooms[room].desk.missed(offer, outcome))

    @precondition(lambda self: self.talking)
    @rule(data=st.data(), room=ROOMS)
    def hang_up(self, data: st.DataObject, room: int) -> None:
        agent = data.draw(st.sampled_from(sorted(self.talking)))
        offer = self.talking.pop(agent)
        for one in self.rooms:
            one.living.discard(offer.call)
        self.loop.run_until_complete(self.rooms[room].desk.ended(offer))

    @rule(users=st.sets(st.sampled_from(["2001", "2002"])))
    def register(self, users: set[str]) -> None:
        for room in self.rooms:
            room.desk.registrations(users)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.pass_by(seconds, 1)

    def pass_by(self, seconds: int, step: int) -> None:
        for _ in range(0, seconds, step):
            self.clock.now += step
            for room in self.rooms:
                self.loop.run_until_complete(room.desk.sweep())

    @rule(room=ROOMS)
    def die(self, room: int) -> None:
        """A daemon loses all it knew; its calls are gone with its workers."""
        gone = self.rooms[room]
        ended = set(gone.living)
        self.rooms[room] = Room(gone.database, self.clock, gone.instance)
        self.ringing = [(r, offer) for r, offer in self.ringing if offer.call not in ended]
        self.talking = {a: offer for a, offer in self.talking.items() if offer.call not in ended}

    @rule()
    def everything_ends(self) -> None:
        """No call lives any more and nobody says so: all are free within the clock's limits."""
        for room in self.rooms:
            room.living.clear()
        self.ringing.clear()
        self.talking.clear()
        self.pass_by(ALL_OVER, 7)
        for standing in self.standings().values():
            assert standing.state in {S.READY, S.PAUSED, S.OFFLINE}
            assert (standing.call, standing.owner, standing.offer) == (None, None, None)

    @invariant()
    def rows_are_sound(self) -> None:
        standings = self.standings()
        for standing in standings.values():
            in_call = standing.state in {S.OFFERED, S.BUSY}
            assert in_call <= (standing.call is not None)
            assert (standing.call is None) or standing.state in {S.OFFERED, S.BUSY, S.OFFLINE}
            assert (standing.call is None) == (standing.offer is None) == (standing.owner is None)
        for agent, offer in self.talking.items():
            alive = any(offer.call in room.living for room in self.rooms)
            assert not alive or standings[agent].call == offer.call, "a living call lost its agent"
        bound = Counter(s.call for s in standings.values() if s.call is not None)
        assert max(bound.values(), default=0) <= 1, "each call here is offered once at a time"


TestAgents = Agents.TestCase
TestAgents.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
