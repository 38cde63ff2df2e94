"""After a restart, and in the gaps: every open incident has a call."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId, IncidentId
from gateway import recovery as module
from gateway.incidents.model import CallRecord, Change, Flag, Incident, Outcome
from gateway.incidents.states import IncidentState, Trigger
from gateway.recovery import NEED_A_CALL, Recovery
from gateway.routing.model import Decision
from tests.gateway.incidents.conftest import START, Office, press
from tests.gateway.rig import STORE, Calls, locked
from tests.waiting import wait_until


@dataclass
class Night:
    """What a new daemon finds; `begun` are the incidents that it began again."""

    office: Office
    calls: Calls
    begun: list[IncidentId]
    recovery: Recovery

    async def incident(self, number: int, *triggers: Trigger, flag: Flag | None = None) -> Incident:
        flags = frozenset({flag} if flag else ())
        intake = press(f"e{number}", terminal=f"t-{number}", flags=flags)
        taken = await self.office.desk.take(intake)
        incident = taken.incident
        assert incident is not None
        for trigger in triggers:
            change = Change(incident=incident.id, at=START, trigger=trigger)
            incident = await self.office.desk.apply(change)
        return incident

    async def call(self, incident: Incident, name: str) -> CallRecord:
        record = CallRecord(
            id=CallId(name), incident=incident.id, flow="emergency", started_at=START, state=b"{}"
        )
        await self.office.desk.apply(Change(incident=incident.id, at=START, call=record))
        return record


@pytest.fixture
def night(sqlite_office: Office) -> Night:
    calls, begun = Calls(), list[IncidentId]()

    def begin(incident: Incident) -> Decision:
        begun.append(incident.id)
        exercise = Flag.TRAINING in incident.flags
        decision = Decision(
            rule="r", flow="none" if exercise else "emergency", chain=(), last_resort=None,
            emergency=True,
        )  # fmt: skip
        if not exercise:
            calls.start(incident, decision)
        return decision

    recovery = Recovery(sqlite_office.desk, calls, begin, sqlite_office.clock)
    return Night(sqlite_office, calls, begun, recovery)


async def test_calls_are_taken_over_and_the_rest_is_begun_again(night: Night) -> None:
    talking = await night.incident(1, Trigger.RING, Trigger.ANSWER)
    record = await night.call(talking, "living")
    cut_off = await night.incident(2)
    ringing = await night.incident(3, Trigger.RING)
    alarmed = await night.incident(4, Trigger.EXHAUST)
    await night.incident(5, Trigger.RING, Trigger.ANSWER, Trigger.HANG_UP)
    night.calls.living.add(record.id)
    await night.recovery.at_start()
    assert [one.id for one in night.calls.resumed] == ["living"]
    assert sorted(night.begun) == sorted([cut_off.id, ringing.id, alarmed.id])


async def test_a_call_without_its_worker_is_resumed_too_and_not_begun_twice(night: Night) -> None:
    """The flow itself goes on in another worker (FlowRunner.resume)."""
    incident = await night.incident(1, Trigger.RING)
    await night.call(incident, "dead")
    await night.recovery.at_start()
    assert [one.id for one in night.calls.resumed] == ["dead"]
    assert night.begun == []


async def test_the_call_of_a_closed_incident_is_ended(night: Night) -> None:
    incident = await night.incident(1, Trigger.RING)
    await night.call(incident, "late")
    await night.office.desk.close(incident.id, outcome=Outcome.TEST, note="", by="p", at=START)
    await night.recovery.at_start()
    assert night.calls.resumed == []
    assert await night.office.desk.running_calls() == []
    (record,) = await night.office.desk.calls_of(incident.id)
    assert (record.ended_at, record.outcome) == (START, "closed")


async def test_an_incident_that_rings_nobody_is_begun_once(night: Night) -> None:
    incident = await night.incident(1, flag=Flag.TRAINING)
    await night.recovery.at_start()
    await night.recovery._sweep(grace_s=0)
    assert night.begun == [incident.id]
    await night.office.desk.close(incident.id, outcome=Outcome.TEST, note="", by="p", at=START)
    await night.recovery._sweep(grace_s=0)
    assert night.recovery._needs_nobody == set(), "forgotten with the incident"


async def test_what_the_pipeline_routed_to_nobody_is_not_routed_again(night: Night) -> None:
    incident = await night.incident(1, flag=Flag.TRAINING)
    night.recovery._needs_nobody.add(incident.id)  # shared with the pipeline
    await night.recovery._sweep(grace_s=0)
    assert night.begun == []


async def test_a_gap_is_closed_after_a_moment_of_grace(night: Night) -> None:
    incident = await night.incident(1)
    night.office.clock.now = START + module.GRACE_S - 0.1
    await night.recovery._sweep(grace_s=module.GRACE_S)
    assert night.begun == [], "its call may be about to start"
    night.office.clock.now = START + module.GRACE_S
    await night.recovery._sweep(grace_s=module.GRACE_S)
    assert night.begun == [incident.id]
    await night.recovery._sweep(grace_s=module.GRACE_S)
    assert night.begun == [incident.id], "it has a call now"
    night.calls.incidents.clear()  # the call ended by a defect
    await night.recovery._sweep(grace_s=module.GRACE_S)
    assert night.begun == [incident.id] * 2


async def test_all_pages_are_looked_at(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(5):
        await night.incident(number)
    await night.recovery.at_start()
    assert len(set(night.begun)) == 5


async def test_the_sweep_outlives_a_store_that_fails(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    incident = await night.incident(1)
    night.office.clock.now = START + 60
    await night.office.database.stop()
    sweeping = asyncio.create_task(night.recovery.run())
    await asyncio.sleep(0.05)  # some sweeps in vain: nothing to see of them but that it lives
    assert not sweeping.done()
    await night.office.database.start()
    await wait_until(lambda: night.begun == [incident.id])
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


async def test_a_store_that_fails_at_the_start_is_told(night: Night, tmp_path: Path) -> None:
    incident = await night.incident(1, Trigger.RING)
    await night.call(incident, "late")
    await night.office.desk.close(incident.id, outcome=Outcome.TEST, note="", by="p", at=START)
    with locked(tmp_path / STORE), pytest.raises(StoreUnavailable):
        await night.recovery.at_start()


def test_who_needs_a_call() -> None:
    assert set(IncidentState) - NEED_A_CALL == {IncidentState.WRAP_UP, IncidentState.CLOSED}
