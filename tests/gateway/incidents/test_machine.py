"""Random presses, steps and closures against a model of a few lines."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drivers.api.events import ReceiptOutcome
from drivers.api.ids import IncidentId
from gateway.incidents.model import Change, Entry, Outcome, Source
from gateway.incidents.states import IncidentState, Trigger, WrongTransition, advance
from tests.gateway.incidents.conftest import START, make_office, press, sqlite_at

TERMINALS = st.sampled_from(["t-1", "t-2"])
EVENTS = st.sampled_from([f"e{n}" for n in range(8)])


class Desk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.office = make_office(sqlite_at(Path(self.directory.name)))
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.office.database.start())
        self.events: dict[tuple[str, str], IncidentId] = {}
        self.open: dict[str, IncidentId] = {}
        self.states: dict[IncidentId, IncidentState] = {}
        self.lines: dict[IncidentId, int] = {}

    def teardown(self) -> None:
        self.loop.run_until_complete(self.office.database.stop())
        self.loop.close()
        self.directory.cleanup()

    @rule(terminal=TERMINALS, event=EVENTS)
    def take(self, terminal: str, event: str) -> None:
        taken = self.loop.run_until_complete(self.office.desk.take(press(event, terminal=terminal)))
        assert taken.incident is not None
        incident = taken.incident.id
        if (terminal, event) in self.events:
            assert taken.outcome is ReceiptOutcome.DUPLICATE
            assert incident == self.events[terminal, event]
            return
        self.events[terminal, event] = incident
        assert taken.joined == (terminal in self.open)
        if taken.opened:
            assert incident not in self.states
            self.open[terminal] = incident
            self.states[incident] = IncidentState.OPEN
        assert incident == self.open[terminal]
        self.lines[incident] = self.lines.get(incident, 0) + 1

    @precondition(lambda self: self.states)
    @rule(data=st.data(), trigger=st.sampled_from([None, *Trigger]), count=st.integers(0, 3))
    def apply(self, data: st.DataObject, trigger: Trigger | None, count: int) -> None:
        incident = data.draw(st.sampled_from(sorted(self.states)))
        entry = Entry(at=START, source=Source.GATEWAY, what="step")
        change = Change(incident=incident, at=START, entries=(entry,) * count, trigger=trigger)
        try:
            after = self.loop.run_until_complete(self.office.desk.apply(change))
        except WrongTransition:
            assert trigger is not None
            assert (self.states[incident], trigger) not in _legal()
            return
        if trigger is not None:
            self.states[incident] = advance(self.states[incident], trigger)
        assert after.state is self.states[incident]
        self.lines[incident] += count
        self._forget_closed()

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        incident = data.draw(st.sampled_from(sorted(self.states)))
        closing = self.office.desk.close(incident, outcome=Outcome.TEST, note="", by="a", at=START)
        self.loop.run_until_complete(closing)
        if self.states[incident] is not IncidentState.CLOSED:
            self.lines[incident] += 1
        self.states[incident] = IncidentState.CLOSED
        self._forget_closed()

    def _forget_closed(self) -> None:
        self.open = {
            terminal: incident
            for terminal, incident in self.open.items()
            if self.states[incident] is not IncidentState.CLOSED
        }

    @invariant()
    def store_agrees(self) -> None:
        find, timeline = self.office.desk.find, self.office.desk.timeline
        found = {one.id: one.state for one in self.loop.run_until_complete(find())}
        assert found == self.states
        for incident, count in self.lines.items():
            assert len(self.loop.run_until_complete(timeline(incident))) == count

    @invariant()
    def gauges_agree(self) -> None:
        for state in IncidentState:
            if state is not IncidentState.CLOSED:
                shown = self.office.sample("onekey_incidents_open", state=state.value)
                assert shown == list(self.states.values()).count(state)


def _legal() -> set[tuple[IncidentState, Trigger]]:
    from gateway.incidents.states import TRANSITIONS

    return set(TRANSITIONS)


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
