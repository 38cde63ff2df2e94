from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from drivers.api.ids import CallId, IncidentId
from gateway.agents.desk import AgentDesk, register
from gateway.agents.model import Agent, AgentId, Offer, Standing
from gateway.config import AgentsConfig, GroupConfig, StoreConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from tests.gateway.incidents.conftest import ManualClock
from tests.postgres import sqlite_url, store_url

__all__ = ["sqlite_url", "store_url"]

CONFIG = AgentsConfig(wrap_up_s=20, offer_s=20, lease_s=15, missed_to_pause=2, reoffer_gap_s=5)
GROUPS = {"sos": GroupConfig(overflow_to="service"), "service": GroupConfig(label="服务")}
ANNA, BERT, CARL = AgentId("anna"), AgentId("bert"), AgentId("carl")
EVERYBODY = (
    Agent(id=ANNA, label="Anna", sip_user="2001", groups={"sos": 0, "service": 0}),
    Agent(id=BERT, sip_user="2002", groups={"sos": 0}),
    Agent(id=CARL, sip_user="sip:carl@192.0.2.7", groups={"service": 1}),
)
C1, C2 = CallId("c1"), CallId("c2")
CASE = IncidentId("i1")


@dataclass
class Room:
    """A daemon's agent desk with all that it is made of."""

    database: Database
    clock: ManualClock
    instance: str = "one"
    living: set[CallId] = field(default_factory=set)
    available: list[frozenset[str]] = field(default_factory=list)
    config: AgentsConfig = CONFIG
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.desk = AgentDesk(
            self.database, self.clock, self.metrics, self.config, GROUPS,
            instance=self.instance, domain="edge.test", living=lambda: self.living,
            available=self.available.append,
        )  # fmt: skip

    async def logged_in(self, *agents: AgentId) -> None:
        """Log agents in one after another; the first has been idle longest."""
        for agent in agents:
            await self.desk.log_in(agent)
            self.clock.now += 1

    async def pick(
        self, call: CallId = C1, group: str = "sos", exclude: tuple[AgentId, ...] = ()
    ) -> Offer | None:
        self.living.add(call)
        return await self.desk.pick(group, call=call, incident=CASE, exclude=exclude)

    async def drawn(self, call: CallId = C1, group: str = "sos") -> Offer:
        offer = await self.pick(call, group)
        assert offer is not None
        return offer

    async def talking(self, call: CallId = C1) -> Offer:
        offer = await self.drawn(call)
        assert await self.desk.answered(offer)
        return offer

    async def later(self, seconds: float) -> None:
        """Let time pass as `run` would see it: a sweep every second."""
        for _ in range(int(seconds)):
            self.clock.now += 1
            await self.desk.sweep()

    def at(self, agent: AgentId) -> Standing:
        view = self.desk.show(agent)
        assert view is not None
        return view.standing

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def open_room(url: str, clock: ManualClock, instance: str = "one") -> Room:
    metrics = Metrics()
    database = Database(StoreConfig(busy_timeout_s=2.0), url, metrics)
    await database.start()
    room = Room(database, clock, instance, metrics=metrics)
    await register(database, clock, EVERYBODY)
    await room.desk.load()
    return room


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def room(store_url: str, clock: ManualClock) -> AsyncIterator[Room]:
    room = await open_room(store_url, clock)
    yield room
    await room.database.stop()


@pytest.fixture
async def other(store_url: str, clock: ManualClock, room: Room) -> AsyncIterator[Room]:
    """Return another daemon on the same store."""
    del room
    other = await open_room(store_url, clock, "two")
    yield other
    await other.database.stop()
