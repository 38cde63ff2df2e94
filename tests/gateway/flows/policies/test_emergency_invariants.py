"""Random lives of an emergency call: what must hold whatever happens, in whatever order."""

from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.api.legs import LegOutcome, LegState
from gateway.flows.model import (
    Bridge,
    DialTarget,
    DialTerminal,
    Digit,
    EndCall,
    FlowCommand,
    FlowEvent,
    HangUp,
    IncidentClosed,
    LegAnswered,
    LegEnded,
    LegRinging,
    LivingLeg,
    MediaChanged,
    NoRoom,
    OpenRoom,
    Play,
    PressCancelled,
    PressedAgain,
    PromptEnded,
    Resumed,
    Role,
    RoomOpened,
    Started,
    StartTimer,
    StopTimer,
    TimerFired,
    WorkerLost,
)
from gateway.flows.policies.emergency import step
from gateway.flows.policies.emergency_call import EmergencyCall, Phase, Plan, Rung
from tests.gateway.flows.policies.stories import NOW, in_order, plan, together

NAMES = st.sampled_from(["anna", "bert", "carl", "dora", "emil"])
STAGES = st.lists(
    st.one_of(
        st.lists(NAMES, min_size=1, max_size=5).map(lambda names: in_order(*names)),
        st.lists(NAMES, min_size=1, max_size=5).map(lambda names: together(*names)),
    ),
    max_size=3,
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    stages: list[Rung] = draw(STAGES)
    return plan(
        *stages,
        voice=draw(st.booleans()),
        rounds=draw(st.integers(0, 2)),
        terminal_attempts=draw(st.integers(1, 3)),
        pause_s=draw(st.sampled_from([0.0, 10.0])),
    )


@dataclass
class World:
    """A worker and a clock that do as they are told: what lives, by the commands alone."""

    call: EmergencyCall
    dialled: set[str] = field(default_factory=set)
    alive: dict[str, LegState] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)  # hung up by us or reported as gone
    timers: set[str] = field(default_factory=set)
    room_asked: bool = False
    over: bool = False

    def take(self, event: FlowEvent) -> None:
        self.call, commands = step(self.call, event, NOW)
        for command in commands:
            assert not self.over or isinstance(command, HangUp), command
            self.obey(command)
        self.check()

    def obey(self, command: FlowCommand) -> None:
        match command:
            case OpenRoom(legs=legs):
                assert not self.room_asked
                assert 2 <= legs <= self.call.plan.room_legs
                self.room_asked = True
            case DialTarget(leg=leg) | DialTerminal(leg=leg):
                assert leg not in self.dialled
                self.dialled.add(leg)
                self.alive[leg] = LegState.DIALLING
            case HangUp(leg=leg):
                self.alive.pop(leg, None)
                self.ended.add(leg)
            case Bridge(a=a, b=b):
                assert self.alive[a] is LegState.ANSWERED
                assert self.alive[b] is LegState.ANSWERED
                assert a != b
            case Play(leg=leg):
                assert self.alive[leg] is LegState.ANSWERED
            case StartTimer(name=name, seconds=seconds):
                assert seconds >= 0
                self.timers.add(name)
            case StopTimer(name=name):
                self.timers.discard(name)
            case EndCall():
                self.over = True
                self.timers.clear()
            case _:
                pass

    def check(self) -> None:
        call = self.call
        assert self.over == (call.phase is Phase.ENDED)
        if self.over:
            assert not self.alive, "nobody is left hanging when the call ends"
            return
        assert set(call.timers) == self.timers
        assert {leg.name for leg in call.legs} == set(self.alive)
        assert len(self.alive) <= max(2, call.room_legs)
        self.check_somebody_waits()
        self.check_winner()
        assert msgspec.json.decode(msgspec.json.encode(call), type=EmergencyCall) == call

    def check_somebody_waits(self) -> None:
        targets = [n for n in self.alive if n.startswith("target")]
        rung = [n for n in targets if f"ring:{n}" in self.timers]
        match self.call.phase:
            case Phase.NEW:
                pass
            case Phase.OPENING:
                assert self.room_asked != ("room" in self.timers)
            case Phase.SEEKING:
                assert rung == targets != []
            case Phase.PAUSING:
                assert "chain" in self.timers
            case Phase.STRANDED:
                assert set(self.timers) == {"remind"}
                assert not self.alive
            case Phase.TALKING:
                assert targets == [self.call.winner]
                assert "max_call" in self.timers

    def check_winner(self) -> None:
        answered = [
            n for n, s in self.alive.items() if s is LegState.ANSWERED and n.startswith("target")
        ]
        assert len(answered) <= 1
        both = len([s for s in self.alive.values() if s is LegState.ANSWERED]) == 2
        assert self.call.bridged == both, "two who have answered hear each other"
        for leg in self.call.legs:
            if leg.state is LegState.ANSWERED and not self.call.bridged:
                assert leg.prompt, "nobody waits in silence"


def possible(world: World, draw: st.DrawFn) -> FlowEvent:
    """Draw an event that could come now; those about legs may be late."""
    if world.room_asked and draw(st.booleans()):
        world.room_asked = False
        return RoomOpened() if draw(st.booleans()) else NoRoom()
    choice = draw(st.sampled_from(["leg"] * 8 + ["timer"] * 4 + ["outside", "lost", "resumed"]))
    if choice == "timer" and world.timers:
        return timer_event(world, draw)
    if choice == "outside":
        people: list[FlowEvent] = [
            PressedAgain(),
            PressCancelled(),
            *([IncidentClosed()] * draw(st.booleans())),
        ]
        return draw(st.sampled_from(people))
    if choice == "lost":
        kill(world)
        return WorkerLost()
    if choice == "resumed" and world.call.phase not in {Phase.NEW, Phase.ENDED}:
        return resumed_event(world, draw)
    return leg_event(world, draw)


def timer_event(world: World, draw: st.DrawFn) -> FlowEvent:
    name = draw(st.sampled_from(sorted(world.timers)))
    world.timers.discard(name)
    return TimerFired(name)


def kill(world: World) -> None:
    if world.call.phase is not Phase.OPENING:
        world.ended |= set(world.alive)
        world.alive.clear()


def resumed_event(world: World, draw: st.DrawFn) -> FlowEvent:
    if world.call.phase is Phase.OPENING or draw(st.booleans()):
        world.room_asked = False
        kill(world)
        return Resumed(room=False)
    for name in sorted(world.alive):
        change = draw(st.sampled_from(["stays", "gone", "answers"]))
        if change == "gone":
            del world.alive[name]
            world.ended.add(name)
        elif change == "answers":
            world.alive[name] = LegState.ANSWERED
    legs = [
        LivingLeg(name=n, role=Role(n.partition("-")[0]), party="anna", state=s)
        for n, s in world.alive.items()
    ]
    return Resumed(room=True, legs=legs, recording=draw(st.booleans()))


def leg_event(world: World, draw: st.DrawFn) -> FlowEvent:
    leg = draw(st.sampled_from([*sorted(world.alive)] * 3 + [*sorted(world.ended), "target-77"]))
    state = world.alive.get(leg)
    kind = draw(st.sampled_from(["ringing", "answered", "answered", "ended", "media", "other"]))
    if kind == "ringing":
        if state is LegState.DIALLING:
            world.alive[leg] = LegState.RINGING
        return LegRinging(leg)
    if kind == "answered":
        if state is not None:
            world.alive[leg] = LegState.ANSWERED
        return LegAnswered(leg)
    if kind == "ended":
        world.alive.pop(leg, None)
        world.ended.add(leg)
        return LegEnded(leg, draw(st.sampled_from(LegOutcome)), by_us=draw(st.booleans()))
    if kind == "media":
        return MediaChanged(leg, active=draw(st.booleans()), held=draw(st.booleans()))
    others: list[FlowEvent] = [Digit(leg, "5"), PromptEnded(leg, "press_cancelled")]
    return draw(st.sampled_from(others))


@given(what=plans(), data=st.data())
@settings(max_examples=300, stateful_step_count=40, deadline=None)
def test_whatever_happens(what: Plan, data: st.DataObject) -> None:
    world = World(EmergencyCall(plan=what))
    world.take(Started())
    draw: st.DrawFn = data.draw  # type: ignore[assignment]  # same call, other protocol
    for _ in range(data.draw(st.integers(1, 40))):
        world.take(possible(world, draw))
