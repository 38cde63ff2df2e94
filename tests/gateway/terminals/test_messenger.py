import asyncio
from collections.abc import AsyncIterator

import pytest

from drivers.api.commands import (
    Command,
    DeviceCommand,
    EventState,
    ExpectCall,
    ShowText,
    Speak,
    TellEventState,
)
from drivers.api.errors import TransientError, UnknownLeg, Unsupported
from drivers.api.ids import EventId, IncidentId, TerminalId
from gateway.metrics import Metrics
from gateway.terminals import messenger as module
from gateway.terminals.messenger import Messenger
from gateway.terminals.model import Terminal, TerminalMessenger, TerminalView
from gateway.terminals.outbox import OUTBOX_MAX, Outbox, Parcel, rank
from tests.gateway.terminals.conftest import START, ManualClock
from tests.waiting import wait_until

KNOWN = TerminalId("t-1")


class FixedDirectory:
    def get(self, terminal: TerminalId) -> Terminal | None:
        registered = terminal.startswith("t-")
        return Terminal(id=terminal, driver="mqtt") if registered else None

    def view(self, terminal: TerminalId) -> TerminalView | None:
        raise NotImplementedError


class Line:
    """A driver whose link the test breaks and mends."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.error: Exception | None = None
        self.sent: list[tuple[str, Command]] = []
        self.attempts = 0
        self.under_way = 0
        self.most = 0

    async def send(self, terminal: TerminalId, command: Command) -> None:
        self.attempts += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.up.wait()
        finally:
            self.under_way -= 1
        if self.error is not None:
            raise self.error
        self.sent.append((terminal, command))


class Post:
    def __init__(self) -> None:
        self.mqtt, self.sip = Line(), Line()
        self.metrics, self.clock = Metrics(), ManualClock()
        drivers = {"mqtt": self.mqtt, "sip": self.sip}
        self.messenger = Messenger(drivers, FixedDirectory(), self.metrics, self.clock)
        self.as_flows_see_it: TerminalMessenger = self.messenger

    def count(self, state: str, result: str) -> float:
        labels = {"state": state, "result": result}
        return self.metrics.registry.get_sample_value("onekey_notifications_total", labels) or 0.0


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    post = Post()
    task = asyncio.create_task(post.messenger.run())
    yield post
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def told(state: EventState, event: str = "e1") -> TellEventState:
    return TellEventState(event_id=EventId(event), state=state)


def text(number: int = 0) -> ShowText:
    return ShowText(message_id=str(number), text="已收到")


async def test_commands_go_in_order_per_terminal(post: Post) -> None:
    commands: list[Command] = [
        told(EventState.COMMITTED),
        text(1),
        told(EventState.RINGING),
        text(2),
    ]
    for command in commands:
        post.messenger.tell(KNOWN, command)
    await wait_until(lambda: post.messenger.pending == 0)
    assert [command for _, command in post.mqtt.sent] == commands
    assert post.count("committed", "sent") == 1


async def test_broken_link_delays_but_keeps_the_order(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BACK_OFF_S", (0.01,))
    post.mqtt.error = TransientError("link down")
    commands = [told(EventState.COMMITTED), told(EventState.RINGING)]
    for command in commands:
        post.messenger.tell(KNOWN, command)
    await wait_until(lambda: post.mqtt.attempts > 3)
    post.mqtt.error = None
    await wait_until(lambda: post.messenger.pending == 0)
    assert [command for _, command in post.mqtt.sent] == commands


async def test_given_up_after_two_minutes(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACK_OFF_S", (0.01,))
    post.mqtt.error = TransientError("link down")
    post.messenger.tell(KNOWN, told(EventState.COMMITTED))
    await wait_until(lambda: post.mqtt.attempts > 1)
    post.clock.now += 121
    await wait_until(lambda: post.messenger.pending == 0)
    assert post.count("committed", "expired") == 1


@pytest.mark.parametrize(
    ("command", "label"),
    [
        (ShowText(message_id="1", text="x", expires_at=START - 1), "show_text"),
        (Speak(message_id="1", expires_at=START - 1), "speak"),
        (DeviceCommand(command_id="1", name="locate", expires_at=START - 1), "device_command"),
        (
            ExpectCall(message_id="1", incident=IncidentId("i"), auto_answer_until=START - 1),
            "expect_call",
        ),
    ],
)
async def test_what_has_expired_is_not_sent(post: Post, command: Command, label: str) -> None:
    post.messenger.tell(KNOWN, command)
    await wait_until(lambda: post.count(label, "expired") == 1)
    assert post.mqtt.sent == []


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Unsupported("no display"), "unsupported"),
        (UnknownLeg("?"), "failed"),
        (KeyError(), "failed"),
    ],
)
async def test_what_cannot_be_sent_holds_up_nothing(
    post: Post, error: Exception, result: str
) -> None:
    post.mqtt.error = error
    post.messenger.tell(KNOWN, text())
    await wait_until(lambda: post.count("show_text", result) == 1)
    post.mqtt.error = None
    post.messenger.tell(KNOWN, told(EventState.CLOSED))
    await wait_until(lambda: len(post.mqtt.sent) == 1)


async def test_a_driver_that_hangs_is_tried_again(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SEND_S", 0.02)
    monkeypatch.setattr(module, "_BACK_OFF_S", (0.01,))
    post.mqtt.up.clear()
    post.messenger.tell(KNOWN, told(EventState.COMMITTED))
    await wait_until(lambda: post.mqtt.attempts > 1)
    post.mqtt.up.set()
    await wait_until(lambda: post.messenger.pending == 0)


async def test_a_hanging_driver_delays_no_other_and_sends_are_bounded(post: Post) -> None:
    post.mqtt.up.clear()
    for number in range(100):
        post.messenger.tell(TerminalId(f"t-{number}"), text())
    post.messenger.remember(TerminalId("stranger"), "sip")
    post.messenger.tell(TerminalId("stranger"), told(EventState.COMMITTED))
    await wait_until(lambda: len(post.sip.sent) == 1)
    await wait_until(lambda: post.mqtt.under_way == module._WORKERS)
    post.mqtt.up.set()
    await wait_until(lambda: len(post.mqtt.sent) == 100)
    assert post.mqtt.most == module._WORKERS


async def test_strangers_are_answered_by_the_driver_they_came_through(post: Post) -> None:
    stranger = TerminalId("stranger")
    post.messenger.tell(stranger, text())
    assert post.count("show_text", "no_driver") == 1
    post.messenger.remember(stranger, "sip")
    post.messenger.tell(stranger, text())
    await wait_until(lambda: len(post.sip.sent) == 1)


async def test_memory_of_strangers_is_bounded(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    for number in range(5):
        post.messenger.remember(TerminalId(f"s{number}"), "sip")
    post.messenger.remember(KNOWN, "sip")  # registered: nothing to remember
    assert list(post.messenger._strangers) == ["s2", "s3", "s4"]


async def test_number_of_outboxes_is_bounded(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OUTBOXES", 3)
    post.mqtt.up.clear()
    for number in range(5):
        post.messenger.tell(TerminalId(f"t-{number}"), text())
    assert post.messenger.pending == 3
    assert post.count("show_text", "overflow") == 2
    post.mqtt.up.set()


async def test_full_outbox_drops_texts_before_acknowledgements(post: Post) -> None:
    post.mqtt.up.clear()
    post.messenger.tell(KNOWN, text(0))
    await wait_until(lambda: post.mqtt.under_way == 1)  # the first is under way: never dropped
    post.messenger.tell(KNOWN, told(EventState.COMMITTED))
    for number in range(1, OUTBOX_MAX + 5):
        post.messenger.tell(KNOWN, text(number))
    post.messenger.tell(KNOWN, told(EventState.CLOSED))
    post.mqtt.up.set()
    await wait_until(lambda: post.messenger.pending == 0)
    sent = [command for _, command in post.mqtt.sent]
    assert len(sent) == OUTBOX_MAX
    assert sent[:2] == [text(0), told(EventState.COMMITTED)]
    assert sent[-1] == told(EventState.CLOSED)
    assert post.count("show_text", "dropped") == 7


def test_committed_outlives_closed() -> None:
    outbox = Outbox()
    for number in range(OUTBOX_MAX):
        assert outbox.add(Parcel(told(EventState.COMMITTED, f"e{number}"), 0)) is None
    late = told(EventState.CLOSED, "e0")
    assert outbox.add(Parcel(late, 0)) == late


def test_every_command_has_a_rank() -> None:
    for state in EventState:
        assert rank(told(state)) >= 4
    incident = IncidentId("i")
    others: list[Command] = [
        text(),
        Speak(message_id="1"),
        DeviceCommand(command_id="1", name="ring"),
        ExpectCall(message_id="1", incident=incident, auto_answer_until=0),
    ]
    assert [rank(command) for command in others] == [0, 1, 2, 3]
