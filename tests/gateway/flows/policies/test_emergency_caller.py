"""The terminal that calls by itself: a one-key phone, or a caller from the telephone network."""

import pytest

from drivers.api.commands import EventState
from drivers.api.legs import LegOutcome
from gateway.flows.model import (
    Advance,
    AnswerCaller,
    Bridge,
    CallerArrived,
    CallerComing,
    CallOutcome,
    DialTarget,
    DialTerminal,
    EndCall,
    FlowCommand,
    FlowEvent,
    HangUp,
    IncidentClosed,
    LegAnswered,
    LegEnded,
    OpenRoom,
    Play,
    PressedAgain,
    RoomOpened,
    Started,
    StartRecording,
    StopPlaying,
    TellTerminal,
    TimerFired,
    Trigger,
)
from gateway.flows.policies.emergency_call import Plan
from tests.gateway.flows.policies.stories import deeds, in_order, plan, run, words
from tests.gateway.flows.policies.test_emergency import ANNOUNCE, MUTE, ONE, OPEN

COMPLETED = LegOutcome.COMPLETED
COMING: list[FlowEvent] = [CallerComing(), Started(), RoomOpened()]  # target-1 is being rung
HERE = [*COMING, CallerArrived("caller-1"), LegAnswered("caller-1")]
TALKING = [*HERE, LegAnswered("target-1")]
ENQUIRY = plan(in_order("anna"), persistent=False)

Row = tuple[str, Plan, list[FlowEvent], FlowEvent, list[FlowCommand]]

TABLE: list[Row] = [
    (
        "a terminal that calls is not rung",
        ONE,
        COMING[:2],
        RoomOpened(),
        [
            Advance(Trigger.RING),
            TellTerminal(EventState.RINGING),
            DialTarget("target-1", "anna", 20.0),
        ],
    ),
    (
        "a caller without a number of its own needs room too",
        MUTE,
        [CallerComing()],
        Started(),
        [OpenRoom(2)],
    ),
    ("is answered at once", ONE, COMING, CallerArrived("caller-1"), [AnswerCaller("caller-1")]),
    (
        "and hears a prompt",
        ONE,
        [*COMING, CallerArrived("caller-1")],
        LegAnswered("caller-1"),
        [Play("caller-1", "connecting", loop=True)],
    ),
    (
        "talks to the agent who answers",
        ONE,
        HERE,
        LegAnswered("target-1"),
        [
            Advance(Trigger.ANSWER, "anna"),
            TellTerminal(EventState.ANSWERED),
            StopPlaying("caller-1"),
            Bridge("target-1", "caller-1"),
            StartRecording(),
        ],
    ),
    (
        "whose call does not arrive is rung",
        ONE,
        COMING,
        TimerFired("caller"),
        [ANNOUNCE, DialTerminal("terminal-2", 30.0)],
    ),
    ("which MUTE cannot be", MUTE, COMING, TimerFired("caller"), []),
    (
        "takes the place of the leg that was being rung",
        ONE,
        [*OPEN, CallerComing()],
        CallerArrived("caller-1"),
        [HangUp("terminal-2", "the terminal calls by itself"), AnswerCaller("caller-1")],
    ),
    (
        "and hung up early is rung back at once",
        ONE,
        HERE,
        LegEnded("caller-1", COMPLETED),
        [ANNOUNCE, DialTerminal("terminal-2", 30.0)],
    ),
    ("or, without a number, awaited", MUTE, HERE, LegEnded("caller-1", COMPLETED), []),
    (
        "an enquiry ends when the caller leaves",
        ENQUIRY,
        HERE,
        LegEnded("caller-1", COMPLETED),
        [
            HangUp("target-1", "abandoned"),
            Advance(Trigger.HANG_UP),
            EndCall(CallOutcome.ABANDONED),
        ],
    ),
    (
        "but not when the line broke",
        ENQUIRY,
        [*TALKING],
        LegEnded("caller-1", LegOutcome.LOST),
        [
            Play("target-1", "terminal_unreachable", loop=True),
            ANNOUNCE,
            DialTerminal("terminal-2", 30.0),
        ],
    ),
    (
        "a call that comes after the end is hung up",
        ONE,
        [*OPEN, IncidentClosed()],
        CallerArrived("caller-1"),
        [HangUp("caller-1", "call ended")],
    ),
    ("another press rings nobody who is on the way", ONE, COMING, PressedAgain(), []),
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


def test_an_abandoned_enquiry_asks_for_a_call_back() -> None:
    _, commands = run(ENQUIRY, [*HERE, LegEnded("caller-1", COMPLETED)])
    assert words(commands) == ["terminal_dropped", "call_back_due", "call_ended"]


def test_a_caller_who_is_late_replaces_the_leg_rung_instead() -> None:
    call, _ = run(ONE, [*COMING, TimerFired("caller"), CallerArrived("caller-1")])
    assert [leg.name for leg in call.legs if leg.role == "terminal"] == ["caller-1"]
