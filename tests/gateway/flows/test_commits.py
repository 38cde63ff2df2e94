import asyncio
from collections import deque

import pytest

from drivers.api.ids import CallId, IncidentId
from gateway.flows import commits
from gateway.flows.commits import Committer, merged
from gateway.incidents.model import CallRecord, Change, Entry, Source
from gateway.incidents.states import IncidentState, Trigger
from tests.gateway.flows.fakes import NOW, FakeDesk, an_incident
from tests.waiting import wait_until

INCIDENT = IncidentId("01JINCIDENT")


def change(what: str, trigger: Trigger | None = None, state: bytes = b"") -> Change:
    entry = Entry(at=NOW, source=Source.GATEWAY, what=what)
    call = CallRecord(
        id=CallId("c"), incident=INCIDENT, flow="emergency", started_at=NOW, state=state
    )
    return Change(
        incident=INCIDENT, at=NOW, entries=(entry,), trigger=trigger, call=call if state else None
    )


class Waits:
    def __init__(self) -> None:
        self.waited: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        await asyncio.sleep(0)


async def test_changes_are_committed_in_order_and_merged_while_they_wait() -> None:
    desk = FakeDesk(an_incident())
    committer = Committer(desk)
    for n, trigger in enumerate([Trigger.RING, None, None, Trigger.ANSWER, None]):
        committer.put(change(f"line_{n}", trigger, state=b"%d" % n))
    assert committer.incidents == {INCIDENT}
    assert await committer.drain(deadline_s=5)
    assert desk.words == [f"line_{n}" for n in range(5)]
    assert len(desk.changes) == 2
    assert desk.call.state == b"4"
    assert desk.incident.state is IncidentState.ANSWERED
    assert committer.incidents == frozenset()


async def test_an_absent_store_is_asked_again_ever_more_slowly() -> None:
    desk, waits = FakeDesk(an_incident()), Waits()
    desk.down = True
    committer = Committer(desk, sleep=waits.sleep)
    committer.put(change("first", Trigger.RING))
    await wait_until(lambda: len(waits.waited) >= 8)
    assert waits.waited[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    committer.put(change("second"))
    desk.down = False
    assert await committer.drain(deadline_s=5)
    assert desk.words == ["first", "second"]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "PENDING_MAX", 3)
    desk = FakeDesk(an_incident())
    desk.down = True
    committer = Committer(desk, sleep=Waits().sleep)
    for n in range(6):
        committer.put(change(f"line_{n}"))
    desk.down = False
    assert await committer.drain(deadline_s=5)
    assert desk.words == ["line_3", "line_4", "line_5"]


async def test_a_trigger_that_lost_a_race_keeps_its_lines() -> None:
    desk = FakeDesk(an_incident(state=IncidentState.CLOSED))
    committer = Committer(desk)
    committer.put(change("late", Trigger.ANSWER))
    assert await committer.drain(deadline_s=5)
    assert desk.words == ["late"]
    assert desk.incident.state is IncidentState.CLOSED


async def test_ringing_for_an_answered_incident_means_that_its_agent_was_lost() -> None:
    desk = FakeDesk(an_incident(state=IncidentState.ANSWERED))
    committer = Committer(desk)
    committer.put(change("again", Trigger.RING))
    assert await committer.drain(deadline_s=5)
    assert desk.incident.state is IncidentState.ALERTING


async def test_an_unknown_incident_is_given_up() -> None:
    desk = FakeDesk(an_incident(id=IncidentId("other")))
    committer = Committer(desk)
    committer.put(change("lost"))
    assert await committer.drain(deadline_s=5)
    assert desk.changes == []


async def test_draining_has_a_deadline() -> None:
    desk = FakeDesk(an_incident())
    desk.down = True
    committer = Committer(desk)
    committer.put(change("late"))
    assert not await committer.drain(deadline_s=0.01)
    assert committer.incidents == frozenset()


def test_two_triggers_never_share_a_change() -> None:
    queue = deque([change("a", Trigger.RING), change("b"), change("c", Trigger.ANSWER)])
    first = merged(queue)
    assert (first.trigger, len(first.entries), len(queue)) == (Trigger.RING, 2, 1)
    assert merged(queue).trigger is Trigger.ANSWER
