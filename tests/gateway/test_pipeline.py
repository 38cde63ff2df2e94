"""The walk of an event, on the real desk."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.api.errors import StoreUnavailable
from drivers.api.events import (
    AlarmRaised,
    AnyTerminalEvent,
    CommandReplied,
    KeyPressed,
    PressCancelled,
    Receipt,
    ReceiptOutcome,
)
from drivers.api.ids import EventId, TerminalId
from gateway import pipeline as module
from gateway.config import IncidentsConfig, RoutingConfig
from gateway.incidents.model import Change, Flag, Incident
from gateway.incidents.states import IncidentState, Trigger
from gateway.pipeline import TELLS, TYPE_LABELS, Parts, Pipeline, flags_of, kind_of
from gateway.routing.rules import Router
from gateway.terminals.model import Terminal
from tests.gateway.incidents.conftest import START, Office
from tests.gateway.rig import STORE, Calls, Terminals, Told, locked, words
from tests.waiting import wait_until

HOME, STRANGER, EXERCISE = TerminalId("home"), TerminalId("stranger"), TerminalId("exercise")
ROUTING = RoutingConfig.model_validate(
    {
        "targets": {"anna": {"uri": "sip:anna@127.0.0.1"}},
        "rules": [
            {"name": "shown", "keys": ["taxi"], "flow": "none"},
            {"name": "rung", "chain": [{"targets": ["anna"]}]},
        ],
    }
)


@dataclass
class House:
    """A pipeline with all that it works with."""

    office: Office
    terminals: Terminals = field(default_factory=Terminals)
    told: Told = field(default_factory=Told)
    calls: Calls = field(default_factory=Calls)

    def __post_init__(self) -> None:
        self.terminals.register(Terminal(id=HOME), Terminal(id=EXERCISE, training=True))
        self.pipeline = self.another_pipeline()

    def another_pipeline(self) -> Pipeline:
        """Return the pipeline of a daemon that has just started: it remembers nothing."""
        return Pipeline(
            Parts(
                config=IncidentsConfig(),
                desk=self.office.desk,
                directory=self.terminals,
                messenger=self.told,
                router=Router(ROUTING),
                flows=self.calls,
                metrics=self.office.metrics,
                clock=self.office.clock,
            )
        )

    async def take(self, event: AnyTerminalEvent) -> Receipt:
        receipt = await self.pipeline.take("mqtt", event)
        await self.pipeline.drain()
        return receipt

    async def incident(self, receipt: Receipt) -> Incident:
        assert receipt.incident is not None
        incident = await self.office.desk.show(receipt.incident)
        assert incident is not None
        return incident

    async def move(self, receipt: Receipt, *triggers: Trigger) -> None:
        assert receipt.incident is not None
        for trigger in triggers:
            change = Change(incident=receipt.incident, at=START, trigger=trigger)
            await self.office.desk.apply(change)


@pytest.fixture
def house(sqlite_office: Office) -> House:
    return House(sqlite_office)


def press(
    event_id: str,
    *,
    terminal: str = HOME,
    key: str = "sos",
    device_time: float | None = None,
    calling: bool = False,
) -> KeyPressed:
    return KeyPressed(
        terminal=TerminalId(terminal),
        event_id=EventId(event_id),
        received_at=START,
        device_time=device_time,
        key=key,
        calling=calling,
    )


def alarm(event_id: str, name: str) -> AlarmRaised:
    return AlarmRaised(terminal=HOME, event_id=EventId(event_id), received_at=START, alarm=name)


async def test_a_press_is_committed_acknowledged_routed_and_rung(house: House) -> None:
    house.office.clock.now = START + 0.25
    receipt = await house.take(press("e1"))
    assert receipt.outcome is ReceiptOutcome.ACCEPTED
    incident = await house.incident(receipt)
    assert (incident.terminal, incident.kind, incident.event) == (HOME, "sos", "press")
    assert house.told.states("e1") == ["committed"]
    ((started, decision, event),) = house.calls.started
    assert (started.id, decision.rule, event) == (incident.id, "rung", None)
    assert await words(house.office, incident.id) == ["press_received", "routed"]
    assert house.office.sample("onekey_press_ack_seconds_sum") == pytest.approx(0.25)
    assert house.office.sample("onekey_pipeline_in_flight") == 0
    counted = {"driver": "mqtt", "type": "press", "outcome": "accepted"}
    assert house.office.sample("onekey_events_received_total", **counted) == 1


async def test_nothing_is_said_or_rung_while_nothing_is_committed(
    house: House, tmp_path: Path
) -> None:
    with locked(tmp_path / STORE), pytest.raises(StoreUnavailable):
        await house.take(press("e1"))
    assert (house.told.commands, house.calls.started) == ([], [])
    receipt = await house.take(press("e1"))
    assert receipt.outcome is ReceiptOutcome.ACCEPTED, "the same press, now committed"
    assert house.told.states("e1") == ["committed"]
    assert len(house.calls.started) == 1


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_repeat_is_acknowledged_again_and_opens_nothing(
    house: House, *, restarted: bool
) -> None:
    first = await house.take(press("e1"))
    if restarted:
        house.pipeline = house.another_pipeline()
    again = await house.take(press("e1"))
    assert again == Receipt(outcome=ReceiptOutcome.DUPLICATE, incident=first.incident)
    assert house.told.states("e1") == ["committed", "committed"]
    assert len(house.calls.started) == 1
    assert house.calls.again == []
    assert (await house.incident(first)).presses == 1


async def test_a_repeat_is_answered_while_the_store_takes_nothing(
    house: House, tmp_path: Path
) -> None:
    await house.take(press("e1"))
    with locked(tmp_path / STORE):
        again = await house.take(press("e1"))
    assert again.outcome is ReceiptOutcome.DUPLICATE


async def test_a_repeat_is_told_where_its_incident_stands(house: House) -> None:
    first = await house.take(press("e1"))
    await house.move(first, Trigger.RING, Trigger.ANSWER)
    await house.take(press("e1"))
    assert house.told.states("e1") == ["committed", "committed", "answered"]


async def test_a_second_press_joins_and_tells_the_call(house: House) -> None:
    first = await house.take(press("e1"))
    second = await house.take(press("e2"))
    assert second == Receipt(outcome=ReceiptOutcome.ACCEPTED, incident=first.incident)
    assert house.calls.again == [(first.incident, "e2")]
    assert len(house.calls.started) == 1
    assert (await house.incident(first)).presses == 2


async def test_a_second_press_begins_a_call_where_none_runs(house: House) -> None:
    first = await house.take(press("e1"))
    await house.move(first, Trigger.RING, Trigger.ANSWER, Trigger.HANG_UP)
    house.calls.incidents.clear()
    await house.take(press("e2"))
    assert [incident.id for incident, _, _ in house.calls.started] == [first.incident] * 2
    assert house.calls.started[-1][2] == "e2"
    assert house.told.states("e2") == ["committed", "answered"]


async def test_a_cancelled_press_is_told_to_the_call_and_stays_open(house: House) -> None:
    first = await house.take(press("e1"))
    cancel = PressCancelled(
        terminal=HOME, event_id=EventId("c1"), received_at=START, cancels=EventId("e1")
    )
    receipt = await house.take(cancel)
    assert receipt.incident == first.incident
    assert house.calls.cancelled == [first.incident]
    assert house.told.states("c1") == ["committed"]
    assert (await house.incident(first)).closed_at is None


async def test_a_cancel_of_an_unknown_press_is_kept_and_acknowledged(house: House) -> None:
    cancel = PressCancelled(
        terminal=HOME, event_id=EventId("c1"), received_at=START, cancels=EventId("never")
    )
    assert (await house.take(cancel)).incident is None
    assert house.told.states("c1") == ["committed"]
    assert house.calls.cancelled == []


async def test_a_press_that_is_a_call_is_acknowledged_by_its_answer(house: House) -> None:
    await house.take(press("e1", calling=True))
    await house.take(press("e2", calling=True))
    await house.take(press("e3"))
    assert house.calls.calling == [True, True, False]
    assert house.told.states("e1") == house.told.states("e2") == []
    assert house.told.states("e3") == ["committed"]


async def test_a_reply_is_kept_and_not_acknowledged(house: House) -> None:
    """It answers us; an answer to the answer would have no end."""
    reply = CommandReplied(
        terminal=HOME, event_id=EventId("r1"), received_at=START, command_id="c", ok=True
    )
    receipt = await house.take(reply)
    assert receipt == Receipt(outcome=ReceiptOutcome.ACCEPTED, incident=None)
    assert house.told.commands == []


async def test_a_quiet_alarm_opens_nothing_others_do(house: House) -> None:
    assert (await house.take(alarm("a1", "low_battery"))).incident is None
    assert house.told.states("a1") == ["committed"]
    assert house.calls.started == []
    incident = await house.incident(await house.take(alarm("a2", "never_heard_of")))
    assert (incident.kind, incident.event) == ("never_heard_of", "alarm")
    assert len(house.calls.started) == 1


async def test_a_stranger_gets_a_quarantined_incident_and_an_answer(house: House) -> None:
    incident = await house.incident(await house.take(press("e1", terminal=STRANGER)))
    assert incident.flags == {Flag.QUARANTINE}
    assert house.told.strangers == {STRANGER: "mqtt"}
    assert house.told.states("e1") == ["committed"]
    assert len(house.calls.started) == 1
    assert house.office.sample("onekey_events_unknown_terminal_total") == 1


async def test_an_exercise_without_a_rule_of_its_own_rings_nobody(house: House) -> None:
    incident = await house.incident(await house.take(press("e1", terminal=EXERCISE)))
    assert incident.flags == {Flag.TRAINING}
    assert house.calls.started == []
    assert house.told.states("e1") == ["committed"]


async def test_a_rule_may_show_without_ringing(house: House) -> None:
    receipt = await house.take(press("e1", key="taxi"))
    assert house.calls.started == []
    assert receipt.incident is not None
    (line,) = [
        one for one in await house.office.desk.timeline(receipt.incident) if one.what == "routed"
    ]
    assert line.data == {"rule": "shown", "flow": "none"}


@pytest.mark.parametrize(
    ("device_time", "pressed_at", "delayed"),
    [
        pytest.param(None, START, False, id="no clock"),
        pytest.param(START - 59, START - 59, False, id="on its way"),
        pytest.param(START - 61, START - 61, True, id="late"),
        pytest.param(START - 7 * 86_400, START - 7 * 86_400, True, id="a week"),
        pytest.param(START - 7 * 86_400 - 1, START, False, id="a wrong clock"),
        pytest.param(START + 119, START, False, id="a little fast"),
        pytest.param(START + 121, START, False, id="far in the future"),
        pytest.param(0.0, START, False, id="1970"),
    ],
)
async def test_when_it_was_pressed(
    house: House, device_time: float | None, pressed_at: float, *, delayed: bool
) -> None:
    incident = await house.incident(await house.take(press("e1", device_time=device_time)))
    assert incident.pressed_at == pressed_at
    assert incident.received_at == START
    assert (Flag.DELAYED in incident.flags) is delayed


async def test_the_walk_goes_on_when_its_caller_is_gone(house: House, tmp_path: Path) -> None:
    """Between the commit and the call a lost connection must not cut it off."""
    with locked(tmp_path / STORE):
        caller = asyncio.create_task(house.pipeline.take("mqtt", press("e1")))
        await wait_until(lambda: house.office.sample("onekey_pipeline_in_flight") == 1)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    await house.pipeline.drain()
    assert house.told.states("e1") == ["committed"]
    assert len(house.calls.started) == 1
    assert house.office.sample("onekey_pipeline_in_flight") == 0


async def test_a_pipeline_that_is_closed_leaves_the_press_to_the_next_daemon(house: House) -> None:
    house.pipeline.close()
    with pytest.raises(StoreUnavailable, match="ending"):
        await house.take(press("e1"))
    assert (house.told.commands, house.calls.started) == ([], [])
    house.pipeline = house.another_pipeline()
    assert (await house.take(press("e1"))).outcome is ReceiptOutcome.ACCEPTED


async def test_a_defect_after_the_commit_is_raised_and_the_repeat_is_acknowledged(
    house: House,
) -> None:
    house.calls.defect = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        await house.take(press("e1"))
    again = await house.take(press("e1"))
    assert again.outcome is ReceiptOutcome.DUPLICATE
    assert house.office.sample("onekey_pipeline_in_flight") == 0


async def test_the_memory_of_events_is_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECENT_EVENTS", 3)
    for number in range(5):
        await house.take(press(f"e{number}"))
    assert [event for _, event in house.pipeline._recent] == ["e2", "e3", "e4"]
    assert (await house.take(press("e0"))).outcome is ReceiptOutcome.DUPLICATE, "the store knows"


@pytest.mark.parametrize("many", [20])
async def test_a_storm_of_one_id_opens_one_incident(house: House, many: int) -> None:
    receipts = await asyncio.gather(
        *(house.pipeline.take("mqtt", press("e1")) for _ in range(many))
    )
    assert len({receipt.incident for receipt in receipts}) == 1
    outcomes = [receipt.outcome for receipt in receipts]
    assert outcomes.count(ReceiptOutcome.ACCEPTED) == 1
    assert len(house.calls.started) == 1
    await house.pipeline.drain()


def test_every_state_and_every_kind_of_event_has_its_word() -> None:
    assert set(TELLS) == set(IncidentState)
    assert set(TYPE_LABELS) == {one.__name__ for one in AnyTerminalEvent.__args__}


def test_kind_and_flags() -> None:
    assert kind_of(press("e1", key="taxi")) == "taxi"
    assert kind_of(alarm("a1", "fall")) == "fall"
    assert flags_of(None, delayed=True) == {Flag.QUARANTINE, Flag.DELAYED}
    assert flags_of(Terminal(id=HOME), delayed=False) == frozenset()
