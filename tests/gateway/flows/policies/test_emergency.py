import msgspec
import pytest

from drivers.api.commands import EventState
from drivers.api.legs import LegOutcome, LegState
from gateway.flows.model import (
    Advance,
    AlarmPerson,
    AnnounceCall,
    Bridge,
    CallOutcome,
    Cause,
    DialTarget,
    DialTerminal,
    Digit,
    EndCall,
    FlowCommand,
    FlowEvent,
    HangUp,
    IncidentClosed,
    LeaveRoom,
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
    StartRecording,
    StartTimer,
    StopPlaying,
    TellTerminal,
    TimerFired,
    Trigger,
    WorkerLost,
)
from gateway.flows.policies.emergency import TRANSITIONS, UndeclaredEvent, step
from gateway.flows.policies.emergency_call import EmergencyCall, Phase, Plan
from tests.gateway.flows.policies.stories import (
    NOW,
    deeds,
    in_order,
    plan,
    run,
    timers,
    together,
    words,
)

ONE = plan(in_order("anna"))
TWO = plan(in_order("anna", "bert"))
MUTE = plan(in_order("anna"), voice=False)
ALL = plan(together("anna", "bert", "carl"), in_order("dora"))

OPEN: list[FlowEvent] = [Started(), RoomOpened()]  # target-1 and terminal-2 are being rung
# With three together: target-1, target-2, target-3 and terminal-4.
AGENT = [*OPEN, LegAnswered("target-1")]
PERSON = [*OPEN, LegAnswered("terminal-2")]
BOTH = [*AGENT, LegAnswered("terminal-2")]
NOBODY = [*OPEN, LegEnded("target-1", LegOutcome.BUSY)]  # the chain of ONE is through

ANNOUNCE = AnnounceCall(NOW + 45)
LOST, BUSY, COMPLETED = LegOutcome.LOST, LegOutcome.BUSY, LegOutcome.COMPLETED
WAITING: list[FlowCommand] = [
    AlarmPerson(Cause.NOBODY_ANSWERED),
    Advance(Trigger.EXHAUST),
    TellTerminal(EventState.WAITING),
]

Row = tuple[str, Plan, list[FlowEvent], FlowEvent, list[FlowCommand]]


def goes_on_after(outcome: LegOutcome) -> Row:
    expected: list[FlowCommand] = [DialTarget("target-3", "bert", 20.0)]
    return (f"goes on after {outcome.value}", TWO, OPEN, LegEnded("target-1", outcome), expected)


TABLE: list[Row] = [
    ("asks for room for both sides", ONE, [], Started(), [OpenRoom(2)]),
    ("asks for room for the widest stage", ALL, [], Started(), [OpenRoom(4)]),
    (
        "never asks for more than a worker has",
        plan(together("a", "b", "c", "d", "e")),
        [],
        Started(),
        [OpenRoom(4)],
    ),
    (
        "rings target and terminal at once",
        ONE,
        [Started()],
        RoomOpened(),
        [
            ANNOUNCE,
            Advance(Trigger.RING),
            TellTerminal(EventState.RINGING),
            DialTarget("target-1", "anna", 20.0),
            DialTerminal("terminal-2", 30.0),
        ],
    ),
    (
        "rings only the target when the terminal has no voice",
        MUTE,
        [Started()],
        RoomOpened(),
        [
            Advance(Trigger.RING),
            TellTerminal(EventState.RINGING),
            DialTarget("target-1", "anna", 20.0),
        ],
    ),
    (
        "rings a stage together, as far as the room goes",
        plan(together("a", "b", "c", "d")),
        [Started()],
        RoomOpened(),
        [
            ANNOUNCE,
            Advance(Trigger.RING),
            TellTerminal(EventState.RINGING),
            DialTarget("target-1", "a", 20.0),
            DialTarget("target-2", "b", 20.0),
            DialTarget("target-3", "c", 20.0),
            DialTerminal("terminal-4", 30.0),
        ],
    ),
    (
        "rings the rest of a stage as places get free",
        plan(together("a", "b", "c", "d")),
        OPEN,
        LegEnded("target-2", BUSY),
        [DialTarget("target-5", "d", 20.0)],
    ),
    ("waits for the rest of the stage", ALL, OPEN, LegEnded("target-2", BUSY), []),
    (
        "goes to the next stage when all of one failed",
        ALL,
        [*OPEN, LegEnded("target-1", BUSY), LegEnded("target-2", BUSY)],
        LegEnded("target-3", BUSY),
        [DialTarget("target-5", "dora", 20.0)],
    ),
    (
        "the first answer wins, the others are cancelled",
        ALL,
        OPEN,
        LegAnswered("target-2"),
        [
            HangUp("target-1", "answered elsewhere"),
            HangUp("target-3", "answered elsewhere"),
            Advance(Trigger.ANSWER, "bert"),
            TellTerminal(EventState.ANSWERED),
            Play("target-2", "agent_connecting", loop=True),
        ],
    ),
    (
        "hangs up who answers too late",
        ALL,
        [*OPEN, LegAnswered("target-2")],
        LegAnswered("target-3"),
        [HangUp("target-3", "answered elsewhere")],
    ),
    *(goes_on_after(outcome) for outcome in LegOutcome),
    (
        "goes on when its own ring timer fires",
        TWO,
        OPEN,
        TimerFired("ring:target-1"),
        [HangUp("target-1", "no answer"), DialTarget("target-3", "bert", 20.0)],
    ),
    ("a stopped timer means nothing", ONE, BOTH, TimerFired("ring:target-1"), []),
    (
        "the terminal hears that it is being connected",
        ONE,
        OPEN,
        LegAnswered("terminal-2"),
        [Play("terminal-2", "connecting", loop=True)],
    ),
    (
        "and that nobody answered yet when the chain goes on",
        TWO,
        PERSON,
        LegEnded("target-1", BUSY),
        [
            Play("terminal-2", "no_answer_yet", loop=True),
            DialTarget("target-3", "bert", 20.0),
        ],
    ),
    (
        "bridges when the terminal comes second",
        ONE,
        AGENT,
        LegAnswered("terminal-2"),
        [StopPlaying("target-1"), Bridge("target-1", "terminal-2"), StartRecording()],
    ),
    (
        "bridges when the agent comes second",
        ONE,
        PERSON,
        LegAnswered("target-1"),
        [
            Advance(Trigger.ANSWER, "anna"),
            TellTerminal(EventState.ANSWERED),
            StopPlaying("terminal-2"),
            Bridge("target-1", "terminal-2"),
            StartRecording(),
        ],
    ),
    (
        "does not record when it may not",
        plan(in_order("anna"), record=False),
        AGENT,
        LegAnswered("terminal-2"),
        [StopPlaying("target-1"), Bridge("target-1", "terminal-2")],
    ),
    (
        "tells the agent that there is no voice",
        MUTE,
        OPEN,
        LegAnswered("target-1"),
        [
            Advance(Trigger.ANSWER, "anna"),
            TellTerminal(EventState.ANSWERED),
            Play("target-1", "terminal_without_voice", loop=True),
        ],
    ),
    (
        "an agent without a terminal ends the call in the ordinary way",
        MUTE,
        [*OPEN, LegAnswered("target-1")],
        LegEnded("target-1", COMPLETED),
        [Advance(Trigger.HANG_UP), EndCall(CallOutcome.COMPLETED)],
    ),
    (
        "rings a terminal that hung up early again, soon",
        ONE,
        PERSON,
        LegEnded("terminal-2", COMPLETED),
        [],
    ),
    (
        "now",
        ONE,
        [*PERSON, LegEnded("terminal-2", COMPLETED)],
        TimerFired("terminal"),
        [ANNOUNCE, DialTerminal("terminal-3", 30.0)],
    ),
    (
        "tells the agent that the terminal is unreachable",
        ONE,
        AGENT,
        LegEnded("terminal-2", BUSY),
        [Play("target-1", "terminal_unreachable", loop=True)],
    ),
    (
        "the agent who knows hangs up: the agent acts",
        ONE,
        [*AGENT, LegEnded("terminal-2", BUSY)],
        LegEnded("target-1", COMPLETED),
        [Advance(Trigger.HANG_UP), EndCall(CallOutcome.TERMINAL_UNREACHABLE)],
    ),
    (
        "who hangs up without knowing anything is passed over",
        TWO,
        AGENT,
        LegEnded("target-1", COMPLETED),
        [
            Advance(Trigger.LOSE),
            TellTerminal(EventState.RINGING),
            DialTarget("target-3", "bert", 20.0),
        ],
    ),
    (
        "an agent who waited too long is let go",
        ONE,
        [*AGENT, LegEnded("terminal-2", BUSY)],
        TimerFired("agent_wait"),
        [
            HangUp("target-1", "terminal_unreachable"),
            Advance(Trigger.HANG_UP),
            EndCall(CallOutcome.TERMINAL_UNREACHABLE),
        ],
    ),
    (
        "an answer rings a terminal that had been given up",
        plan(in_order("anna"), terminal_attempts=1),
        [*OPEN, LegEnded("terminal-2", BUSY)],
        LegAnswered("target-1"),
        [
            Advance(Trigger.ANSWER, "anna"),
            TellTerminal(EventState.ANSWERED),
            Play("target-1", "agent_connecting", loop=True),
            ANNOUNCE,
            DialTerminal("terminal-3", 30.0),
        ],
    ),
    (
        "the agent hangs up after the conversation",
        ONE,
        BOTH,
        LegEnded("target-1", COMPLETED),
        [
            HangUp("terminal-2", "completed"),
            Advance(Trigger.HANG_UP),
            EndCall(CallOutcome.COMPLETED),
        ],
    ),
    (
        "the person hangs up after the conversation",
        ONE,
        BOTH,
        LegEnded("terminal-2", COMPLETED),
        [
            HangUp("target-1", "completed"),
            Advance(Trigger.HANG_UP),
            EndCall(CallOutcome.COMPLETED),
        ],
    ),
    (
        "the terminal breaks off: rung again at once",
        ONE,
        BOTH,
        LegEnded("terminal-2", LOST),
        [
            Play("target-1", "terminal_unreachable", loop=True),
            ANNOUNCE,
            DialTerminal("terminal-3", 30.0),
        ],
    ),
    (
        "a leg that its worker ended unasked broke off",
        ONE,
        BOTH,
        LegEnded("terminal-2", COMPLETED, by_us=True),
        [
            Play("target-1", "terminal_unreachable", loop=True),
            ANNOUNCE,
            DialTerminal("terminal-3", 30.0),
        ],
    ),
    (
        "the agent breaks off: the chain from its start",
        TWO,
        [*OPEN, LegEnded("target-1", BUSY), LegAnswered("target-3"), LegAnswered("terminal-2")],
        LegEnded("target-3", LOST),
        [
            Advance(Trigger.LOSE),
            TellTerminal(EventState.RINGING),
            DialTarget("target-4", "anna", 20.0),
            Play("terminal-2", "connecting", loop=True),
        ],
    ),
    (
        "silence is a leg that broke off",
        ONE,
        [*BOTH, MediaChanged("target-1", active=False)],
        TimerFired("silence:target-1"),
        [
            HangUp("target-1", "no audio"),
            Advance(Trigger.LOSE),
            TellTerminal(EventState.RINGING),
            DialTarget("target-3", "anna", 20.0),
            Play("terminal-2", "connecting", loop=True),
        ],
    ),
    (
        "a dead worker: other room",
        ONE,
        BOTH,
        WorkerLost(),
        [Advance(Trigger.LOSE), OpenRoom(2)],
    ),
    ("a dead worker while it rang", TWO, OPEN, WorkerLost(), [OpenRoom(2)]),
    (
        "the agent who had it is rung first",
        TWO,
        [
            *OPEN,
            LegEnded("target-1", BUSY),
            LegAnswered("target-3"),
            LegAnswered("terminal-2"),
            WorkerLost(),
        ],
        RoomOpened(),
        [
            ANNOUNCE,
            Advance(Trigger.RING),
            TellTerminal(EventState.RINGING),
            DialTarget("target-4", "bert", 20.0),
            DialTerminal("terminal-5", 30.0),
        ],
    ),
    (
        "nobody answered: alarm",
        ONE,
        OPEN,
        LegEnded("target-1", BUSY),
        WAITING,
    ),
    (
        "and another round, in which a missing terminal is rung too",
        ONE,
        [*NOBODY, LegEnded("terminal-2", BUSY)],
        TimerFired("chain"),
        [
            ANNOUNCE,
            Advance(Trigger.RING),
            TellTerminal(EventState.RINGING),
            DialTarget("target-3", "anna", 20.0),
            DialTerminal("terminal-4", 30.0),
        ],
    ),
    (
        "after the last of the configured rounds nobody is rung",
        plan(in_order("anna"), rounds=1),
        OPEN,
        LegEnded("target-1", BUSY),
        [*WAITING, HangUp("terminal-2", "nobody answered"), LeaveRoom()],
    ),
    (
        "until somebody presses again",
        plan(in_order("anna"), rounds=1),
        NOBODY,
        PressedAgain(),
        [OpenRoom(2)],
    ),
    (
        "and a person is reminded meanwhile",
        plan(in_order("anna"), rounds=1),
        NOBODY,
        TimerFired("remind"),
        [AlarmPerson(Cause.NOBODY_ANSWERED)],
    ),
    (
        "nobody to ring at all",
        plan(),
        [],
        Started(),
        [
            AlarmPerson(Cause.NO_ROUTE),
            Advance(Trigger.EXHAUST),
            TellTerminal(EventState.WAITING),
        ],
    ),
    (
        "a person is reminded of that",
        plan(),
        [Started()],
        TimerFired("remind"),
        [AlarmPerson(Cause.NO_ROUTE)],
    ),
    ("and it can be closed", plan(), [Started()], IncidentClosed(), [EndCall(CallOutcome.CLOSED)]),
    ("no room: once more", ONE, [Started()], NoRoom(), []),
    (
        "no room twice: alarm",
        ONE,
        [Started(), NoRoom(), TimerFired("room")],
        NoRoom(),
        [
            AlarmPerson(Cause.NO_CAPACITY),
            Advance(Trigger.EXHAUST),
            TellTerminal(EventState.WAITING),
        ],
    ),
    (
        "after a refusal it asks for the least that helps",
        ALL,
        [Started(), NoRoom()],
        TimerFired("room"),
        [OpenRoom(2)],
    ),
    ("another press while both ring", ONE, OPEN, PressedAgain(), []),
    (
        "another press rings the missing terminal",
        ONE,
        [*OPEN, LegEnded("terminal-2", BUSY)],
        PressedAgain(),
        [ANNOUNCE, DialTerminal("terminal-3", 30.0)],
    ),
    (
        "another press ends the pause",
        ONE,
        NOBODY,
        PressedAgain(),
        [
            Advance(Trigger.RING),
            TellTerminal(EventState.RINGING),
            DialTarget("target-3", "anna", 20.0),
        ],
    ),
    ("a press taken back goes on ringing", ONE, OPEN, PressCancelled(), []),
    (
        "a waiting agent hears that it was taken back",
        ONE,
        AGENT,
        PressCancelled(),
        [Play("target-1", "press_cancelled", loop=False)],
    ),
    (
        "an agent who comes later hears it too",
        ONE,
        [*OPEN, PressCancelled()],
        LegAnswered("target-1"),
        [
            Advance(Trigger.ANSWER, "anna"),
            TellTerminal(EventState.ANSWERED),
            Play("target-1", "press_cancelled", loop=False),
        ],
    ),
    (
        "and then the usual",
        ONE,
        [*AGENT, PressCancelled()],
        PromptEnded("target-1", "press_cancelled"),
        [Play("target-1", "agent_connecting", loop=True)],
    ),
    ("it does not disturb a conversation", ONE, BOTH, PressCancelled(), []),
    (
        "closed while ringing",
        ONE,
        OPEN,
        IncidentClosed(),
        [
            HangUp("target-1", "closed"),
            HangUp("terminal-2", "closed"),
            EndCall(CallOutcome.CLOSED),
        ],
    ),
    (
        "closed before there was room",
        ONE,
        [Started()],
        IncidentClosed(),
        [EndCall(CallOutcome.CLOSED)],
    ),
    (
        "a conversation has an end",
        ONE,
        BOTH,
        TimerFired("max_call"),
        [
            HangUp("target-1", "too_long"),
            HangUp("terminal-2", "too_long"),
            Advance(Trigger.HANG_UP),
            EndCall(CallOutcome.TOO_LONG),
        ],
    ),
    ("digits mean nothing", ONE, BOTH, Digit("target-1", "1"), []),
    (
        "an answer after the end is hung up",
        ONE,
        [*OPEN, IncidentClosed()],
        LegAnswered("target-1"),
        [HangUp("target-1", "call ended")],
    ),
]


@pytest.mark.parametrize(
    ("what", "given", "event", "expected"),
    [row[1:] for row in TABLE],
    ids=[row[0].replace(" ", "_") for row in TABLE],
)
def test_answers(
    what: Plan, given: list[FlowEvent], event: FlowEvent, expected: list[FlowCommand]
) -> None:
    _, commands = run(what, [*given, event])
    assert deeds(commands) == expected


@pytest.mark.parametrize(
    ("what", "events", "expected"),
    [
        (ONE, [Started()], ["call_started"]),
        (ONE, OPEN, ["target_dialled", "terminal_dialled"]),
        (ONE, [*OPEN, LegRinging("target-1")], ["target_ringing"]),
        (ONE, [*OPEN, LegRinging("target-1"), LegRinging("target-1")], []),
        (ONE, AGENT, ["target_answered"]),
        (ONE, PERSON, ["terminal_answered"]),
        (ONE, BOTH, ["terminal_answered", "bridged"]),
        (TWO, [*OPEN, LegEnded("target-1", BUSY)], ["target_failed", "target_dialled"]),
        (ONE, [*PERSON, LegEnded("terminal-2", COMPLETED)], ["terminal_dropped"]),
        (ONE, [*OPEN, LegEnded("terminal-2", BUSY)], ["terminal_failed"]),
        (ONE, NOBODY, ["target_failed", "chain_exhausted"]),
        (ONE, [*OPEN, WorkerLost()], ["worker_lost"]),
        (ONE, [*OPEN, PressedAgain()], ["pressed_again"]),
        (ONE, [*OPEN, PressCancelled()], ["press_cancelled"]),
        (ONE, [*BOTH, LegEnded("target-1", COMPLETED)], ["agent_left", "call_ended"]),
    ],
)
def test_timeline(what: Plan, events: list[FlowEvent], expected: list[str]) -> None:
    _, commands = run(what, events)
    assert words(commands) == expected


def test_a_terminal_is_given_up_after_its_attempts_until_the_next_round() -> None:
    events: list[FlowEvent] = [*OPEN]
    for name in ("terminal-2", "terminal-3", "terminal-4"):
        call, commands = run(ONE, [*events, LegEnded(name, LegOutcome.UNREACHABLE)])
        events += [LegEnded(name, LegOutcome.UNREACHABLE), TimerFired("terminal")]
    assert "terminal_given_up" in words(commands)
    assert "terminal" not in call.timers
    events += [LegEnded("target-1", BUSY), TimerFired("chain")]
    _, commands = run(ONE, events)
    assert DialTerminal("terminal-6", 30.0) in commands


def test_pauses_double_up_to_the_maximum() -> None:
    events: list[FlowEvent] = [*OPEN]
    pauses = []
    for _ in range(5):
        call, _ = run(ONE, events)
        ringing = next(leg.name for leg in call.legs if leg.role is Role.TARGET)
        events.append(LegEnded(ringing, LegOutcome.NO_ANSWER))
        call, commands = run(ONE, events)
        pauses += [c.seconds for c in timers(commands) if isinstance(c, StartTimer)]
        events.append(TimerFired("chain"))
    assert pauses == [10, 20, 40, 60, 60]


def test_no_pause_is_still_a_pause() -> None:
    _, commands = run(plan(in_order("anna"), pause_s=0, pause_max_s=0), NOBODY)
    assert StartTimer("chain", 1.0) in commands


def test_room_is_asked_for_for_ever_with_growing_pauses() -> None:
    events: list[FlowEvent] = [Started()]
    waits = []
    for _ in range(6):
        events.append(NoRoom())
        _, commands = run(ONE, events)
        waits += [c.seconds for c in timers(commands) if isinstance(c, StartTimer)]
        events.append(TimerFired("room"))
    assert waits == [0.5, 1, 2, 4, 5, 5]
    _, commands = run(ONE, events)
    assert deeds(commands) == [OpenRoom(2)]


def test_an_agent_whose_line_breaks_again_and_again_is_passed_over() -> None:
    call, _ = run(TWO, BOTH)
    rung = []
    for _ in range(3):
        call, commands = step(call, LegEnded(call.winner, LOST), NOW)
        dialled = next(c for c in commands if isinstance(c, DialTarget))
        rung.append(dialled.target)
        call, _ = step(call, LegAnswered(dialled.leg), NOW)
    assert rung == ["anna", "anna", "bert"]


def test_hold_is_not_silence() -> None:
    call, _ = run(ONE, [*BOTH, MediaChanged("target-1", active=False, held=True)])
    assert "silence:target-1" not in call.timers
    call, _ = run(ONE, [*BOTH, MediaChanged("target-1", active=False)])
    assert call.timers["silence:target-1"] == NOW + 15
    call, _ = step(call, MediaChanged("target-1", active=True), NOW)
    assert "silence:target-1" not in call.timers


def test_the_recording_goes_on_in_the_second_worker() -> None:
    again: list[FlowEvent] = [
        *BOTH,
        WorkerLost(),
        RoomOpened(),
        LegAnswered("terminal-4"),
        LegAnswered("target-3"),
    ]
    _, commands = run(ONE, again)
    assert StartRecording() in commands


def test_an_undeclared_event_raises() -> None:
    call, _ = run(ONE, OPEN)
    with pytest.raises(UndeclaredEvent):
        step(call, Started(), NOW)
    with pytest.raises(UndeclaredEvent):
        step(call, RoomOpened(), NOW)


def test_every_phase_has_its_row() -> None:
    assert set(TRANSITIONS) == set(Phase)


def living(name: str, state: LegState = LegState.ANSWERED, party: str = "anna") -> LivingLeg:
    role = Role(name.partition("-")[0])
    return LivingLeg(name=name, role=role, party=party, state=state)


def thawed(events: list[FlowEvent]) -> EmergencyCall:
    """Return a call that went through JSON, as at the start of another daemon."""
    call, _ = run(ONE, events)
    stored = msgspec.json.encode(call)
    again = msgspec.json.decode(stored, type=EmergencyCall)
    assert again == call
    return again


def test_a_living_conversation_is_taken_over_without_ringing_anybody() -> None:
    legs = (living("target-1"), living("terminal-2", party=""))
    call, commands = step(thawed(BOTH), Resumed(room=True, legs=legs, recording=True), NOW + 5)
    assert deeds(commands) == [Bridge("target-1", "terminal-2")]
    assert StartTimer("max_call", 7195.0) in commands
    assert call.phase is Phase.TALKING


def test_who_waits_hears_the_prompt_again() -> None:
    legs = (living("target-1"), living("terminal-2", LegState.RINGING, party=""))
    _, commands = step(thawed(AGENT), Resumed(room=True, legs=legs), NOW)
    assert deeds(commands) == [Play("target-1", "agent_connecting", loop=True)]


def test_an_answer_nobody_heard_of_counts() -> None:
    legs = (living("target-1"), living("terminal-2", party=""))
    _, commands = step(thawed(OPEN), Resumed(room=True, legs=legs), NOW)
    assert Advance(Trigger.ANSWER, "anna") in commands
    assert Bridge("target-1", "terminal-2") in commands


def test_a_leg_that_is_gone_was_lost() -> None:
    _, commands = step(thawed(BOTH), Resumed(room=True, legs=(living("target-1"),)), NOW)
    dialled = [c.leg for c in commands if isinstance(c, DialTerminal)]
    assert dialled == ["terminal-103"]


def test_who_said_goodbye_while_nobody_listened_is_not_rung_again() -> None:
    ended = {"terminal-2": COMPLETED, "target-1": COMPLETED}
    _, commands = step(thawed(BOTH), Resumed(room=True, ended=ended), NOW)
    assert commands[-1] == EndCall(CallOutcome.COMPLETED)
    assert not [c for c in commands if isinstance(c, DialTarget | DialTerminal)]


def test_a_stranded_call_goes_on_waiting() -> None:
    call, _ = run(plan(), [Started()])
    call, commands = step(call, Resumed(room=False), NOW + 100)
    assert commands == (LeaveRoom(), StartTimer("remind", 200.0))


def test_a_leg_dialled_after_the_last_commit_is_adopted() -> None:
    legs = (living("target-7"), living("terminal-8", party=""))
    call, commands = step(thawed([Started()]), Resumed(room=True, legs=legs), NOW)
    assert Bridge("target-7", "terminal-8") in commands
    assert not [c for c in commands if isinstance(c, DialTarget | DialTerminal)]
    assert call.winner == "target-7"


def test_a_worker_that_did_not_survive_costs_another_room() -> None:
    _, commands = step(thawed(BOTH), Resumed(room=False), NOW)
    assert deeds(commands) == [Advance(Trigger.LOSE), OpenRoom(2)]
    _, commands = step(thawed([Started()]), Resumed(room=False), NOW)
    assert deeds(commands) == [OpenRoom(2)]
