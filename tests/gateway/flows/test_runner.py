import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from drivers.api.commands import EventState, ExpectCall, TellEventState
from drivers.api.errors import NoCapacity, UnknownLeg, WorkerGone
from drivers.api.ids import CallId, EventId, IncidentId
from drivers.api.legs import LegEnded, LegOutcome, LegState
from gateway.flows import actor
from gateway.incidents.model import CallRecord
from gateway.incidents.states import IncidentState
from tests.gateway.flows.conftest import ANNA, BERT, Scene, decision
from tests.gateway.flows.fakes import FakeLink, a_snapshot
from tests.waiting import wait_until

COMPLETED, LOST, BUSY = LegOutcome.COMPLETED, LegOutcome.LOST, LegOutcome.BUSY


async def test_a_press_becomes_a_conversation_and_an_end(scene: Scene) -> None:
    room = await scene.started()
    room.ring("target-1")
    room.answer("target-1")
    await wait_until(lambda: room.did("play"))
    assert room.did("play") == [("target-1", "agent_connecting", True)]
    room.answer("terminal-2")
    await wait_until(lambda: room.did("record"))
    assert room.did("bridge") == [("target-1", "terminal-2")]
    room.end("target-1", COMPLETED)
    await wait_until(lambda: room.did("hang_up"))
    room.end("terminal-2", COMPLETED, by_us=True)
    await scene.runner.idle()
    assert room.did("stop_recording")
    assert room.released
    await scene.settled()
    assert scene.desk.incident.state is IncidentState.WRAP_UP
    assert scene.desk.incident.answered_by == "anna"
    assert scene.desk.call.outcome == "completed"
    assert scene.desk.call.ended_at is not None
    assert [(leg.party, leg.outcome) for leg in scene.desk.legs] == [
        ("anna", "completed"),
        ("pendant-1", "completed"),
    ]
    assert scene.desk.legs[0].stats["codec"] == "PCMA"
    assert "recording_started" in scene.desk.words


async def test_what_is_said_in_the_invitations(scene: Scene) -> None:
    room = await scene.started()
    target, terminal = room.requests
    assert target.uri == ANNA.uri
    assert target.display_name == "north   gate"
    assert target.ring_s == 20
    assert target.headers == (
        ("X-Onekey-Incident", "01JINCIDENT"),
        ("Priority", "emergency"),
    )
    assert terminal.uri == "sip:pendant-1@127.0.0.1"
    assert dict(terminal.headers)["Call-Info"] == "<sip:127.0.0.1>;answer-after=0"
    assert dict(terminal.headers)["X-Onekey-Incident"] == "01JINCIDENT"


async def test_the_terminal_is_told_and_expects_the_call(scene: Scene) -> None:
    room = await scene.started()
    expect, ringing = scene.messenger.told
    assert isinstance(expect, ExpectCall)
    assert expect.auto_answer_until == scene.clock.now + 45
    assert isinstance(ringing, TellEventState)
    assert (ringing.state, ringing.event_id) == (EventState.RINGING, "press-1")
    room.answer("target-1")
    await wait_until(lambda: len(scene.messenger.told) == 3)
    answered = scene.messenger.told[2]
    assert isinstance(answered, TellEventState)
    assert answered.state is EventState.ANSWERED


async def test_an_unknown_terminal_gets_an_agent_without_a_voice(scene: Scene) -> None:
    scene.terminals.terminal = None
    scene.runner.start(scene.desk.incident, decision(ANNA))
    await wait_until(lambda: scene.dialer.rooms and scene.room.requests)
    scene.room.answer("target-1")
    await wait_until(lambda: scene.room.did("play"))
    assert scene.room.did("play") == [("target-1", "terminal_without_voice", True)]
    assert scene.room.dialled == ["target-1"]


async def test_dialling_does_not_wait_for_the_store(scene: Scene) -> None:
    scene.desk.down = True
    room = await scene.bridged()
    assert room.did("bridge")
    assert scene.desk.changes == []
    scene.desk.down = False
    await scene.settled()
    assert scene.desk.incident.state is IncidentState.ANSWERED
    words = scene.desk.words
    assert words.index("target_dialled") < words.index("target_answered") < words.index("bridged")


async def test_times_are_measured_once(scene: Scene) -> None:
    room = await scene.started(ANNA, BERT)
    scene.clock.now += 3
    room.end("target-1", BUSY)
    await wait_until(lambda: "target-3" in room.dialled)
    room.answer("target-3")
    room.answer("terminal-2")
    await wait_until(lambda: room.did("bridge"))
    assert scene.metric("onekey_press_invite_seconds_count") == 1
    assert scene.metric("onekey_press_invite_seconds_sum") == 1
    assert scene.metric("onekey_receipt_answer_seconds_sum") == 4
    assert scene.metric("onekey_press_answer_seconds_sum") == 5
    assert scene.metric("onekey_legs_active", role="target") == 1
    assert scene.metric("onekey_calls_active", flow="emergency") == 1
    assert scene.metric("onekey_legs_total", role="target", outcome="busy") == 1


async def test_a_dead_worker_is_replaced_and_both_are_rung_again(scene: Scene) -> None:
    first = await scene.bridged(ANNA, BERT)
    first.die()
    await wait_until(lambda: len(scene.dialer.rooms) == 2 and len(scene.room.requests) == 2)
    assert scene.room.dialled == ["target-3", "terminal-4"]
    assert scene.room.requests[0].uri == ANNA.uri
    await wait_until(lambda: first.released)
    scene.room.answer("target-3")
    scene.room.answer("terminal-4")
    await wait_until(lambda: scene.room.did("record"))
    assert scene.room.did("record")[0][1] == first.did("record")[0][1]
    await scene.settled()
    assert {leg.outcome for leg in scene.desk.legs} == {"lost"}
    assert scene.desk.incident.state is IncidentState.ANSWERED
    assert len(scene.runner.running) == 1


async def test_a_worker_that_dies_twice_is_lost_once(scene: Scene) -> None:
    first = await scene.started()
    first.die()
    await wait_until(lambda: len(scene.dialer.rooms) == 2 and len(scene.room.requests) == 2)
    first.die()
    scene.room.answer("target-3")
    scene.room.answer("terminal-4")
    await wait_until(lambda: scene.room.did("bridge"))
    await scene.settled()
    assert scene.desk.words.count("worker_lost") == 1
    assert len(scene.dialer.rooms) == 2


async def test_a_worker_that_dies_before_its_room_is_ours_is_no_room(scene: Scene) -> None:
    scene.dialer.stillborn = True
    scene.runner.start(scene.desk.incident, decision(ANNA))
    await wait_until(lambda: scene.clock.timers)
    assert scene.room.released
    scene.clock.pass_by(0.5)
    await wait_until(lambda: len(scene.dialer.rooms) == 2 and len(scene.room.requests) == 2)


@pytest.mark.parametrize("command", ["hang_up", "play", "bridge", "stop_playing", "dial"])
async def test_a_worker_that_dies_in_a_command_is_a_lost_worker(scene: Scene, command: str) -> None:
    room = await scene.started(ANNA, BERT)
    room.link.failures[command] = WorkerGone("gone")
    if command == "dial":
        room.end("target-1", BUSY)
    elif command == "hang_up":
        scene.clock.pass_by(21)
    else:
        room.answer("target-1")
        room.answer("terminal-2")
    await wait_until(lambda: len(scene.dialer.rooms) == 2 and len(scene.room.requests) == 2)
    assert scene.alarms == []


async def test_a_hanging_worker_is_a_lost_worker(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.flows.seat.COMMAND_S", 0.01)
    room = await scene.started()

    async def hang(*_: Any, **__: Any) -> None:
        await room.link.closed()

    monkeypatch.setattr(room.link, "play", hang)
    room.answer("target-1")
    await wait_until(lambda: len(scene.dialer.rooms) == 2)


async def test_a_leg_without_capacity_failed(scene: Scene) -> None:
    room = await scene.started(ANNA, BERT)
    room.link.failures["dial"] = NoCapacity("full")
    room.end("target-1", BUSY)
    await wait_until(lambda: scene.alarms == ["nobody_answered"])
    await scene.settled()
    assert ("bert", "failed") in [(leg.party, leg.outcome) for leg in scene.desk.legs]
    assert scene.desk.incident.state is IncidentState.UNANSWERED


async def test_a_leg_that_the_worker_does_not_know_was_lost(scene: Scene) -> None:
    room = await scene.started(ANNA, BERT)
    room.link.failures["play"] = UnknownLeg("target-1")
    room.answer("target-1")
    await wait_until(lambda: "target-3" in room.dialled)


async def test_a_full_pool_is_asked_again_and_a_person_alarmed(scene: Scene) -> None:
    scene.dialer.full = True
    scene.runner.start(scene.desk.incident, decision(ANNA))
    await wait_until(lambda: len(scene.dialer.asked) == 1 and scene.clock.timers)
    scene.clock.pass_by(0.5)
    await wait_until(lambda: scene.alarms == ["no_capacity"])
    scene.dialer.full = False
    scene.clock.pass_by(1.0)
    await wait_until(lambda: scene.dialer.rooms and len(scene.room.requests) == 2)
    await scene.settled()
    assert scene.desk.incident.state is IncidentState.ALERTING
    assert "alarm_raised" in scene.desk.words


async def test_a_defect_of_the_pool_does_not_stop_the_call(scene: Scene) -> None:
    scene.dialer.defect = RuntimeError("defect")
    scene.runner.start(scene.desk.incident, decision(ANNA))
    await wait_until(lambda: scene.clock.timers)
    scene.dialer.defect = None
    scene.clock.pass_by(0.5)
    await wait_until(lambda: scene.dialer.rooms)


async def test_a_defect_of_the_flow_begins_the_call_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await scene.bridged()

    def broken(*_: Any) -> Any:
        raise RuntimeError("defect")

    monkeypatch.setattr("gateway.flows.actor.step", broken)
    first.media("target-1", active=False)
    await wait_until(lambda: len(scene.alarms) == 2)  # at once, and once more at Started
    scene.clock.pass_by(4.9)
    monkeypatch.undo()
    assert len(scene.dialer.rooms) == 1
    scene.clock.pass_by(0.1)
    await wait_until(lambda: len(scene.dialer.rooms) == 2 and len(scene.room.requests) == 2)
    assert {leg for leg, _ in first.did("hang_up")} == {"target-1", "terminal-2"}
    assert not set(scene.room.dialled) & set(first.dialled)
    assert scene.alarms == ["flow_defect", "flow_defect"]
    await scene.settled()
    assert scene.desk.incident.state is IncidentState.ALERTING


async def test_a_flood_is_a_defect_and_not_a_leak(scene: Scene) -> None:
    room = await scene.started()
    for _ in range(actor.MAILBOX_MAX + 100):
        room.ring("target-1")
    await wait_until(lambda: len(scene.dialer.rooms) == 2)
    assert scene.alarms == ["flow_defect"]


async def test_closing_the_incident_ends_the_call(scene: Scene) -> None:
    room = await scene.started()
    assert scene.runner.incident_closed(scene.desk.incident.id)
    await wait_until(lambda: len(room.did("hang_up")) == 2)
    room.end("target-1", LegOutcome.CANCELLED, by_us=True)
    room.end("terminal-2", LegOutcome.CANCELLED, by_us=True)
    await scene.runner.idle()
    assert room.released
    assert scene.runner.running == ()
    assert not scene.runner.incident_closed(scene.desk.incident.id)
    assert scene.metric("onekey_calls_total", flow="emergency", outcome="closed") == 1
    assert scene.metric("onekey_calls_active", flow="emergency") == 0
    assert scene.metric("onekey_legs_active", role="target") == 0


async def test_legs_that_never_end_do_not_hold_the_room_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.flows.seat.LEGS_END_S", 0.01)
    room = await scene.started()
    scene.runner.incident_closed(scene.desk.incident.id)
    await scene.runner.idle()
    assert room.released


async def test_the_recording_is_finished_after_the_call(scene: Scene) -> None:
    room = await scene.bridged()
    view = scene.runner.running[0]
    assert view.call in scene.runner.call_ids
    room.end("terminal-2", COMPLETED)
    room.end("target-1", COMPLETED, by_us=True)
    await scene.runner.idle()
    directory = scene.directory / "recordings/2023/11/14/01JINCIDENT" / view.call
    assert scene.finished == [(view.call, IncidentId("01JINCIDENT"), directory)]
    assert room.did("record") == [(view.call, directory, 60.0)]


async def test_a_call_that_cannot_be_recorded_goes_on(scene: Scene) -> None:
    room = await scene.started()
    room.link.failures["record"] = UnknownLeg("disk full")
    room.answer("target-1")
    room.answer("terminal-2")
    await wait_until(lambda: "recording_failed" in scene.desk.words)
    assert scene.runner.running[0].phase == "talking"


async def test_another_press_reaches_the_running_call(scene: Scene) -> None:
    await scene.started()
    call = scene.runner.running[0].call
    assert scene.runner.pressed_again(scene.desk.incident.id, EventId("again"))
    assert scene.runner.press_cancelled(scene.desk.incident.id)
    assert scene.runner.start(scene.desk.incident, decision(ANNA)) == call
    await wait_until(lambda: scene.desk.words.count("pressed_again") == 2)
    assert "press_cancelled" in scene.desk.words
    assert not scene.runner.pressed_again(IncidentId("other"), EventId("again"))


async def test_a_prompt_without_a_file_does_not_stop_the_call(scene: Scene) -> None:
    scene.prompts.missing = {"press_cancelled"}
    room = await scene.started()
    scene.runner.press_cancelled(scene.desk.incident.id)
    room.answer("target-1")
    await wait_until(lambda: room.did("play"))
    assert room.did("play") == [("target-1", "agent_connecting", True)]


async def test_the_live_page_sees_legs(scene: Scene) -> None:
    room = await scene.started()
    room.ring("target-1")
    (view,) = scene.runner.running
    assert view.phase == "seeking"
    assert view.incident in scene.runner.incidents
    assert [(leg.role.value, leg.party, leg.state) for leg in view.legs] == [
        ("target", "anna", LegState.RINGING),
        ("terminal", "pendant-1", LegState.DIALLING),
    ]


async def test_nobody_to_ring_alarms_and_stays(scene: Scene) -> None:
    scene.runner.start(scene.desk.incident, decision())
    await wait_until(lambda: scene.alarms == ["no_route"])
    await scene.settled()
    assert scene.desk.incident.state is IncidentState.UNANSWERED
    assert scene.runner.running[0].phase == "stranded"


async def let_go(scene: Scene) -> CallRecord:
    """Stop the runner with its call alive; return what the store knows of it."""
    await scene.settled()
    await scene.runner.stop(hang_up=False)
    record = scene.desk.call
    assert record.ended_at is None
    scene.runner = scene.another_runner()
    return record


async def test_another_daemon_takes_a_conversation_over(scene: Scene) -> None:
    first = await scene.bridged()
    record = await let_go(scene)
    assert first.did("hang_up") == []
    legs = {
        "target-1": (LegState.ANSWERED, ANNA.uri),
        "terminal-2": (LegState.ANSWERED, "sip:pendant-1@127.0.0.1"),
    }
    scene.dialer.survivor = FakeLink(a_snapshot(record.id, legs, recording=Path("/r")))
    assert await scene.runner.resume(record, scene.desk.incident)
    await wait_until(lambda: scene.room.did("bridge"))
    assert scene.room.dialled == []
    assert scene.room.did("record") == []
    scene.room.end("target-1", COMPLETED)
    await wait_until(lambda: scene.room.did("hang_up"))
    scene.room.end("terminal-2", COMPLETED, by_us=True)
    await scene.runner.idle()
    await scene.settled()
    assert scene.desk.call.outcome == "completed"
    assert [leg.outcome for leg in scene.desk.legs] == ["completed", "completed"]
    assert scene.finished


async def test_who_said_goodbye_meanwhile_is_not_rung_again(scene: Scene) -> None:
    await scene.bridged()
    record = await let_go(scene)
    scene.dialer.survivor = FakeLink(a_snapshot(record.id, {}))
    for name in ("terminal-2", "target-1"):
        scene.dialer.kept.append(
            LegEnded(
                call=record.id,
                leg=scene.dialer.rooms[0].leg(name)["leg"],
                at=scene.clock.now,
                outcome=COMPLETED,
            )
        )
    await scene.runner.resume(record, scene.desk.incident)
    await scene.runner.idle()
    await scene.settled()
    assert scene.desk.incident.state is IncidentState.WRAP_UP
    assert scene.room.dialled == []
    assert [leg.outcome for leg in scene.desk.legs] == ["completed", "completed"]


async def test_a_call_whose_worker_is_gone_goes_on_in_another(scene: Scene) -> None:
    await scene.bridged()
    record = await let_go(scene)
    assert not await scene.runner.resume(record, scene.desk.incident)
    assert scene.desk.incident.id in scene.runner.incidents
    await wait_until(lambda: len(scene.dialer.rooms) == 2 and len(scene.room.requests) == 2)
    assert scene.room.requests[0].uri == ANNA.uri
    assert scene.room.dialled == ["target-103", "terminal-104"]


async def test_timers_go_on_under_another_daemon(scene: Scene) -> None:
    room = await scene.started(ANNA, BERT)
    record = await let_go(scene)
    scene.clock.now += 15
    legs = {"target-1": (LegState.RINGING, ANNA.uri), "terminal-2": (LegState.RINGING, "sip:x")}
    scene.dialer.survivor = FakeLink(a_snapshot(record.id, legs))
    await scene.runner.resume(record, scene.desk.incident)
    await wait_until(lambda: "call_resumed" in scene.desk.words)
    scene.clock.pass_by(7)  # 20 s and a second of grace since it began to ring
    await wait_until(lambda: scene.room.dialled)
    assert scene.room.did("hang_up") == [("target-1", "no answer")]
    assert room.did("hang_up") == []


async def test_a_state_of_another_version_ends_the_call_for_a_new_one(scene: Scene) -> None:
    room = await scene.bridged()
    record = await let_go(scene)
    odd = CallRecord(
        id=record.id,
        incident=record.incident,
        flow=record.flow,
        started_at=record.started_at,
        state=json.dumps({"version": 99}).encode(),
    )
    legs = {"target-1": (LegState.ANSWERED, ANNA.uri)}
    scene.dialer.survivor = FakeLink(a_snapshot(record.id, legs))

    async def say_goodbye() -> None:
        await wait_until(lambda: scene.room is not room and scene.room.did("hang_up"))
        scene.room.end("target-1", COMPLETED, by_us=True)

    goodbye = asyncio.create_task(say_goodbye())
    assert not await scene.runner.resume(odd, scene.desk.incident)
    await goodbye
    await scene.settled()
    assert scene.desk.call.outcome == "unreadable"
    assert scene.desk.incident.id not in scene.runner.incidents
    assert scene.room.released


async def test_stopping_for_good_hangs_up_but_does_not_end_the_case(scene: Scene) -> None:
    room = await scene.bridged()
    await scene.settled()
    await scene.runner.stop(hang_up=True)
    assert {leg for leg, _ in room.did("hang_up")} == {"target-1", "terminal-2"}
    assert scene.desk.call.ended_at is None
    assert CallId(room.call) == scene.desk.call.id


async def test_a_terminal_that_calls_is_answered_where_it_was_sent(scene: Scene) -> None:
    scene.runner.start(scene.desk.incident, decision(ANNA), calling=True)
    place = await scene.runner.place(scene.desk.incident.id, deadline_s=5)
    assert place is not None
    assert place.contact == "127.0.0.1:16000"
    room = scene.room
    assert room.expected == 1
    await wait_until(lambda: room.requests)
    assert room.dialled == ["target-1"], "the terminal is not rung"
    room.offer("caller-1")
    await wait_until(lambda: room.did("answer"))
    room.answer("caller-1")
    room.answer("target-1")
    await wait_until(lambda: room.did("bridge"))
    assert room.did("bridge") == [("target-1", "caller-1")]
    room.end("caller-1", COMPLETED)
    await wait_until(lambda: room.did("hang_up"))
    room.end("target-1", COMPLETED, by_us=True)
    await scene.runner.idle()
    await scene.settled()
    assert {leg.role: leg.party for leg in scene.desk.legs} == {
        "terminal": "pendant-1",
        "target": "anna",
    }


async def test_there_is_no_place_for_a_caller_without_a_call(scene: Scene) -> None:
    assert await scene.runner.place(IncidentId("other"), deadline_s=0.01) is None
