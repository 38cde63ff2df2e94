import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.api.ids import CallId, IncidentId, TerminalId
from gateway.config import Settings
from gateway.flows.runner import FlowRunner
from gateway.metrics import Metrics
from gateway.routing.model import Decision, Stage, Target
from gateway.terminals.model import Terminal
from tests.gateway.flows.fakes import (
    AllPrompts,
    FakeDesk,
    FakeDialer,
    FakeMessenger,
    FakeRoom,
    ManualClock,
    OneTerminal,
    an_incident,
)
from tests.waiting import wait_until

ANNA = Target(name="anna", uri="sip:anna@127.0.0.1", label="Anna", ring_s=20.0)
BERT = Target(name="bert", uri="sip:bert@127.0.0.1", label="Bert", ring_s=20.0)
TERMINAL = Terminal(
    id=TerminalId("pendant-1"), sip_uri="sip:pendant-1@127.0.0.1", label="north\r\n gate"
)


def decision(*targets: Target, emergency: bool = True) -> Decision:
    chain = (Stage(targets=targets),) if targets else ()
    return Decision(rule="r", flow="emergency", chain=chain, last_resort=None, emergency=emergency)


def settings(directory: Path) -> Settings:
    targets = {t.name: {"uri": t.uri} for t in (ANNA, BERT)}
    return Settings.model_validate({"data_dir": directory, "routing": {"targets": targets}})


@dataclass
class Scene:
    """A runner on fakes, with the words to drive it."""

    directory: Path
    clock: ManualClock = field(default_factory=ManualClock)
    desk: FakeDesk = field(default_factory=lambda: FakeDesk(an_incident()))
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    terminals: OneTerminal = field(default_factory=lambda: OneTerminal(TERMINAL))
    prompts: AllPrompts = field(default_factory=AllPrompts)
    metrics: Metrics = field(default_factory=Metrics)
    finished: list[tuple[CallId, IncidentId, Path]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dialer = FakeDialer(self.clock)
        self.runner = self.another_runner()

    def another_runner(self) -> FlowRunner:
        return FlowRunner(
            settings=settings(self.directory),
            dialer=self.dialer,
            desk=self.desk,
            messenger=self.messenger,
            directory=self.terminals,
            prompts=self.prompts,
            metrics=self.metrics,
            clock=self.clock,
            finish_recording=self.finish,
            on_alarm=lambda _, cause: self.alarms.append(cause),
            schedule=self.clock.schedule,
        )

    async def finish(self, call: CallId, incident: IncidentId, directory: Path) -> None:
        self.finished.append((call, incident, directory))

    @property
    def room(self) -> FakeRoom:
        return self.dialer.rooms[-1]

    async def started(self, *targets: Target) -> FakeRoom:
        """Start a call and return its room once both sides are being rung."""
        self.runner.start(self.desk.incident, decision(*(targets or (ANNA,))))
        await wait_until(lambda: self.dialer.rooms and len(self.room.requests) == 2)
        return self.room

    async def bridged(self, *targets: Target) -> FakeRoom:
        room = await self.started(*targets)
        room.answer("target-1")
        room.answer("terminal-2")
        await wait_until(lambda: room.did("record"))
        return room

    async def settled(self) -> None:
        """Return when every event posted has been answered and committed."""
        await wait_until(lambda: not self.runner._committer.incidents)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    stage = Scene(tmp_path)
    yield stage
    stage.desk.down = False
    for room in stage.dialer.rooms:
        room.link.failures.clear()
    await asyncio.wait_for(stage.runner.stop(hang_up=False), 5)
