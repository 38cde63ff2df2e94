import asyncio

import pytest
from sqlalchemy import func, select

from drivers.api.events import ReceiptOutcome
from drivers.api.ids import CallId, IncidentId, LegId, TerminalId
from gateway.incidents.desk import SqlIncidentDesk
from gateway.incidents.model import (
    CallRecord,
    Change,
    Entry,
    Flag,
    Incident,
    IncidentDesk,
    LegRecord,
    Outcome,
    Source,
)
from gateway.incidents.states import IncidentState, Trigger, WrongTransition
from gateway.store.schema import EVENTS
from tests.gateway.incidents.conftest import START, Office, alarm, cancel, press, reply
from tests.waiting import wait_until


def line(what: str, at: float = START) -> Entry:
    return Entry(at=at, source=Source.GATEWAY, what=what, data={"n": 1, "x": None})


async def opened(desk: SqlIncidentDesk, event: str = "e1", terminal: str = "t-1") -> Incident:
    taken = await desk.take(press(event, terminal=terminal))
    assert taken.incident is not None
    return taken.incident


async def step(office: Office, incident: Incident, *triggers: Trigger) -> Incident:
    for trigger in triggers:
        change = Change(
            incident=incident.id, at=office.clock.now, trigger=trigger, answered_by="night-desk"
        )
        incident = await office.desk.apply(change)
    return incident


async def test_desk_is_an_incident_desk(office: Office) -> None:
    desk: IncidentDesk = office.desk  # held by mypy
    assert await desk.find() == []


async def test_press_opens_an_incident(office: Office) -> None:
    taken = await office.desk.take(press("e1", flags=frozenset({Flag.DELAYED, Flag.QUARANTINE})))
    assert taken.outcome is ReceiptOutcome.ACCEPTED
    assert taken.opened
    assert not taken.joined
    incident = taken.incident
    assert incident is not None
    assert incident.state is IncidentState.OPEN
    assert incident.pressed_at == START - 1
    assert incident == await office.desk.show(incident.id)
    assert [entry.what for entry in await office.desk.timeline(incident.id)] == ["press_received"]
    assert await office.desk.events_of(incident.id) == ["e1"]


async def test_repeated_press_is_a_duplicate_with_the_present_incident(office: Office) -> None:
    incident = await opened(office.desk)
    ringing = await step(office, incident, Trigger.RING)
    again = await office.desk.take(press("e1"))
    assert again.outcome is ReceiptOutcome.DUPLICATE
    assert not again.opened
    assert not again.joined
    assert again.incident == ringing
    assert len(await office.desk.timeline(incident.id)) == 1
    closed = await office.desk.close(
        incident.id, outcome=Outcome.HELPED, note="", by="agent", at=START
    )
    assert (await office.desk.take(press("e1"))).incident == closed


async def test_same_event_id_of_another_terminal_is_another_press(office: Office) -> None:
    assert await opened(office.desk) != await opened(office.desk, terminal="t-2")


async def test_second_press_joins_and_is_shown(office: Office) -> None:
    incident = await opened(office.desk)
    taken = await office.desk.take(press("e2", key="taxi"))
    assert taken.joined
    assert not taken.opened
    assert taken.incident is not None
    assert taken.incident.id == incident.id
    assert taken.incident.presses == 2
    assert taken.incident.revision == incident.revision + 1
    lines = await office.desk.timeline(incident.id)
    assert [entry.what for entry in lines] == ["press_received", "press_again"]
    assert lines[1].data["key"] == "taxi"
    assert await office.desk.events_of(incident.id) == ["e1", "e2"]
    assert (await office.desk.take(press("e2"))).incident == taken.incident


async def test_press_after_the_closure_opens_anew(office: Office) -> None:
    first = await opened(office.desk)
    await office.desk.close(first.id, outcome=Outcome.HELPED, note="", by="agent", at=START)
    second = await opened(office.desk, "e2")
    assert second.id > first.id


async def test_alarm_opens_and_its_code_is_visible(office: Office) -> None:
    taken = await office.desk.take(alarm("a1", "unmapped"))
    assert taken.incident is not None
    assert taken.incident.event == "alarm"
    (only,) = await office.desk.timeline(taken.incident.id)
    assert only.what == "alarm_received"
    assert only.data["code"] == "0x17"


@pytest.mark.parametrize("intake", [alarm("q1", "low_battery", opens=False), reply("r1")])
async def test_what_opens_nothing_is_journalled_only(office: Office, intake: object) -> None:
    await opened(office.desk)
    taken = await office.desk.take(intake)  # type: ignore[arg-type]
    assert taken.incident is None
    assert taken.outcome is ReceiptOutcome.ACCEPTED
    again = await office.desk.take(intake)  # type: ignore[arg-type]
    assert again.outcome is ReceiptOutcome.DUPLICATE
    assert again.incident is None
    count = select(func.count()).select_from(EVENTS)
    assert await office.database.read(lambda c: c.execute(count).scalar()) == 2


async def test_cancellation_is_shown_but_closes_nothing(office: Office) -> None:
    incident = await opened(office.desk)
    taken = await office.desk.take(cancel("c1", "e1"))
    assert taken.incident is not None
    assert taken.incident.id == incident.id
    assert taken.incident.state is IncidentState.OPEN
    assert not taken.joined
    assert not taken.opened
    whats = [entry.what for entry in await office.desk.timeline(incident.id)]
    assert whats == ["press_received", "press_cancelled"]
    assert await office.desk.events_of(incident.id) == ["e1"]
    again = await office.desk.take(cancel("c1", "e1"))
    assert again.outcome is ReceiptOutcome.DUPLICATE
    assert again.incident == taken.incident


async def test_cancellation_of_an_unknown_press_is_kept(office: Office) -> None:
    taken = await office.desk.take(cancel("c1", "never"))
    assert taken.outcome is ReceiptOutcome.ACCEPTED
    assert taken.incident is None
    assert (await office.desk.take(cancel("c1", "never"))).outcome is ReceiptOutcome.DUPLICATE


async def test_change_writes_lines_state_call_and_leg(office: Office) -> None:
    incident = await opened(office.desk)
    call = CallRecord(
        id=CallId("k"), incident=incident.id, flow="emergency", started_at=START, state=b'{"a":1}'
    )
    leg = LegRecord(
        id=LegId("k.1"), call=call.id, incident=incident.id, role="target", party="night-desk",
        started_at=START, answered_at=None, ended_at=START + 9, outcome="busy", code=486,
        reason="Busy Here", stats={"codec": "PCMA", "jitter_ms": 1.5},
    )  # fmt: skip
    change = Change(
        incident=incident.id, at=START + 1, entries=(line("ringing"), line("busy")),
        trigger=Trigger.RING, call=call, leg=leg,
    )  # fmt: skip
    after = await office.desk.apply(change)
    assert after.state is IncidentState.ALERTING
    assert after.revision == 2
    lines = await office.desk.timeline(incident.id)
    assert [entry.what for entry in lines] == ["press_received", "ringing", "busy"]
    assert lines[1] == line("ringing")
    assert await office.desk.calls_of(incident.id) == [call]
    assert await office.desk.legs_of(incident.id) == [leg]
    assert await office.desk.running_calls() == [call]


async def test_call_is_replaced_and_leg_kept(office: Office) -> None:
    incident = await opened(office.desk)
    call = CallRecord(
        id=CallId("k"), incident=incident.id, flow="emergency", started_at=START, state=b"1"
    )
    ended = CallRecord(
        id=CallId("k"), incident=incident.id, flow="emergency", started_at=START, state=b"2",
        ended_at=START + 9, outcome="bridged",
    )  # fmt: skip
    leg = LegRecord(
        id=LegId("k.1"), call=call.id, incident=incident.id, role="terminal", party="t-1",
        started_at=START, answered_at=START, ended_at=START, outcome="lost", code=None, reason="",
        stats={},
    )  # fmt: skip
    for record in (call, ended):
        await office.desk.apply(Change(incident=incident.id, at=START, call=record, leg=leg))
    assert await office.desk.calls_of(incident.id) == [ended]
    assert await office.desk.running_calls() == []
    assert await office.desk.legs_of(incident.id) == [leg]


async def test_answer_keeps_the_first_time(office: Office) -> None:
    incident = await step(office, await opened(office.desk), Trigger.RING, Trigger.ANSWER)
    assert incident.answered_at == START
    assert incident.answered_by == "night-desk"
    office.clock.now += 60
    incident = await step(office, incident, Trigger.LOSE, Trigger.RING, Trigger.ANSWER)
    assert incident.answered_at == START


async def test_wrong_transition_changes_nothing(office: Office) -> None:
    incident = await opened(office.desk)
    with pytest.raises(WrongTransition):
        await office.desk.apply(
            Change(incident=incident.id, at=START, entries=(line("x"),), trigger=Trigger.ANSWER)
        )
    assert await office.desk.show(incident.id) == incident
    assert len(await office.desk.timeline(incident.id)) == 1
    assert office.database.ready


async def test_unknown_incident_is_a_lookup_error(office: Office) -> None:
    nothing = IncidentId("nothing")
    with pytest.raises(LookupError):
        await office.desk.apply(Change(incident=nothing, at=START))
    with pytest.raises(LookupError):
        await office.desk.close(nothing, outcome=Outcome.TEST, note="", by="a", at=START)
    assert await office.desk.show(nothing) is None
    assert await office.desk.timeline(nothing) == []


async def test_changes_of_one_incident_keep_their_order(office: Office) -> None:
    incident = await opened(office.desk)
    changes = [
        Change(incident=incident.id, at=START, entries=(line(f"line_{i}"),)) for i in range(200)
    ]
    await asyncio.gather(*(office.desk.apply(change) for change in changes))
    whats = [entry.what for entry in await office.desk.timeline(incident.id)]
    assert whats[1:] == [f"line_{i}" for i in range(200)]
    numbers = [message.first_line for message in office.messages]
    assert numbers == list(range(1, 202))


async def test_close_once(office: Office) -> None:
    incident = await opened(office.desk)
    closed = await office.desk.close(
        incident.id, outcome=Outcome.FALSE_ALARM, note="好的", by="agent-7", at=START + 9
    )
    assert closed.state is IncidentState.CLOSED
    assert closed.closed_at == START + 9
    assert closed.note == "好的"
    again = await office.desk.close(
        incident.id, outcome=Outcome.HELPED, note="", by="agent-8", at=START + 99
    )
    assert again == closed
    last = (await office.desk.timeline(incident.id))[-1]
    assert (last.what, last.source, last.data["by"]) == ("closed", Source.PERSON, "agent-7")
    assert office.sample("onekey_incidents_closed_total", kind="sos", outcome="false_alarm") == 1


async def test_records_may_follow_the_closure(office: Office) -> None:
    incident = await opened(office.desk)
    await office.desk.close(incident.id, outcome=Outcome.HELPED, note="", by="a", at=START)
    after = await office.desk.apply(
        Change(incident=incident.id, at=START, entries=(line("recording_verified"),))
    )
    assert after.state is IncidentState.CLOSED
    assert after.outcome is Outcome.HELPED
    assert office.sample("onekey_incidents_closed_total", kind="sos", outcome="helped") == 1


async def test_find_pages_newest_first(office: Office) -> None:
    made = [await opened(office.desk, terminal=f"t-{i}") for i in range(5)]
    await office.desk.close(made[1].id, outcome=Outcome.TEST, note="", by="a", at=START)
    ids = [incident.id for incident in reversed(made)]
    assert [one.id for one in await office.desk.find(limit=2)] == ids[:2]
    assert [one.id for one in await office.desk.find(before=ids[1])] == ids[2:]
    only_open = await office.desk.find(states=frozenset({IncidentState.OPEN}))
    assert made[1].id not in [one.id for one in only_open]
    assert len(only_open) == 4
    assert [one.id for one in await office.desk.find(terminal=TerminalId("t-3"))] == [made[3].id]


async def test_wrap_up_is_closed_by_the_clock(office: Office) -> None:
    stale = await opened(office.desk)
    await step(office, stale, Trigger.RING, Trigger.ANSWER, Trigger.HANG_UP)
    alive = await opened(office.desk, terminal="t-2")
    office.clock.now += 59
    await office.desk.sweep()
    still = await office.desk.show(stale.id)
    assert still is not None
    assert still.state is IncidentState.WRAP_UP
    office.clock.now += 2
    await office.desk.sweep()
    closed = await office.desk.show(stale.id)
    assert closed is not None
    assert closed.outcome is Outcome.EXPIRED
    assert closed.closed_at == office.clock.now
    assert (await office.desk.timeline(stale.id))[-1].source is Source.GATEWAY
    assert office.messages[-1].incident == closed
    other = await office.desk.show(alive.id)
    assert other is not None
    assert other.state is IncidentState.OPEN


async def test_metrics_follow_the_commits(office: Office) -> None:
    incident = await opened(office.desk)
    await office.desk.take(press("z", terminal="t-9", key="made_up_by_a_terminal"))
    assert office.sample("onekey_incidents_opened_total", kind="sos") == 1
    assert office.sample("onekey_incidents_opened_total", kind="other") == 1
    assert office.sample("onekey_incidents_open", state="open") == 2
    office.clock.now += 30
    assert office.sample("onekey_incident_oldest_unanswered_seconds") == 30
    await step(office, incident, Trigger.RING, Trigger.ANSWER)
    assert office.sample("onekey_incidents_open", state="answered") == 1
    assert office.sample("onekey_incidents_open", state="open") == 1


async def test_flags_are_counted(office: Office) -> None:
    await office.desk.take(press("e1", flags=frozenset({Flag.TRAINING})))
    assert office.sample("onekey_incidents_flagged_total", flag="training") == 1


async def test_gauges_are_restored_at_start(office: Office, second_office: Office) -> None:
    incident = await opened(office.desk)
    await step(office, incident, Trigger.RING)
    task = asyncio.create_task(second_office.desk.run())
    await wait_until(lambda: second_office.sample("onekey_incidents_open", state="alerting") == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_two_daemons_never_double_a_press(office: Office, second_office: Office) -> None:
    presses = [press(f"e{n}", terminal=f"t-{n % 7}") for n in range(100)]
    taken = await asyncio.gather(
        *(office.desk.take(one) for one in presses),
        *(second_office.desk.take(one) for one in presses),
    )
    assert sum(one.opened for one in taken) == 7
    assert sum(one.joined for one in taken) == 93
    assert sum(one.outcome is ReceiptOutcome.DUPLICATE for one in taken) == 100
    by_press = zip(taken[:100], taken[100:], strict=True)
    for ours, theirs in by_press:
        assert ours.incident is not None
        assert theirs.incident is not None
        assert ours.incident.id == theirs.incident.id
    incidents = await office.desk.find()
    assert len(incidents) == 7
    assert sum(incident.presses for incident in incidents) == 100
    for incident in incidents:
        assert len(await office.desk.timeline(incident.id)) == incident.presses
        assert len(await office.desk.events_of(incident.id)) == incident.presses


async def test_press_and_closure_by_two_daemons(office: Office, second_office: Office) -> None:
    incident = await opened(office.desk)
    for n in range(20):
        closing = office.desk.close(incident.id, outcome=Outcome.OTHER, note="", by="a", at=START)
        _, taken = await asyncio.gather(closing, second_office.desk.take(press(f"f{n}")))
        assert taken.incident is not None
        incident = taken.incident
        assert taken.opened != taken.joined
        if taken.joined:  # it was closed just after
            incident = await opened(office.desk, f"g{n}")
    assert len(await office.desk.find(states=frozenset({IncidentState.OPEN}))) == 1


async def test_messages_tell_what_changed(office: Office) -> None:
    incident = await opened(office.desk)
    await office.desk.take(press("e1"))  # a duplicate: nothing to tell
    await step(office, incident, Trigger.RING)
    first, second = office.messages
    assert first.opened
    assert first.incident == incident
    assert [entry.what for entry in first.entries] == ["press_received"]
    assert not second.opened
    assert second.incident.state is IncidentState.ALERTING
