"""The promises every driver keeps to the gateway (drivers.api.driver), on a real network."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

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
from drivers.api.errors import TransientError, Unsupported
from drivers.api.ids import EventId, IncidentId, TerminalId
from tests.contract.driver_contract import DriverHarness, DriverUnderTest
from tests.contract.harnesses import HARNESSES
from tests.waiting import wait_until

HUGE = b'{"type":"press","key":"sos","id":"' + b"x" * 20_000 + b'"}'
GARBAGE = [
    b"",
    b"\x00\x01\x02\xff\xfe\x80",
    b'{"type":"press","id":"e1","key":"so',
    b'{"type":"press","id":"e1","key":"\xff\xff"}',
    b'{"type":"press","id":7,"key":"sos"}',
    b'{"type":"explode","id":"e1"}',
    b'{"type":"press"}',
    b"[" * 2000,
    b"null",
    HUGE,
]
COMMANDS: list[Command] = [
    TellEventState(event_id=EventId("e1"), state=EventState.RINGING),
    ShowText(message_id="m1", text="救护车四分钟到 / ambulance in 4 minutes"),
    Speak(message_id="m2", text="你好"),
    ExpectCall(message_id="m3", incident=IncidentId("i1"), auto_answer_until=time.time() + 60),
    DeviceCommand(command_id="c1", name="locate", args={"high": True}),
]


@pytest.fixture(params=sorted(HARNESSES))
async def under_test(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[DriverUnderTest]:
    harness: DriverHarness = HARNESSES[request.param](tmp_path)
    await harness.open()
    under_test = DriverUnderTest(harness)
    try:
        await under_test.start()
        yield under_test
    finally:
        await under_test.stop()
        await harness.close()


async def test_a_press_reaches_the_gateway_once(under_test: DriverUnderTest) -> None:
    before = time.time()
    await under_test.harness.press("T-1", "e1")
    await wait_until(lambda: under_test.ctx.commits() == ["e1"])
    event = under_test.ctx.offered[0]
    assert event.terminal == "T-1"
    assert before <= event.received_at <= time.time()
    assert not under_test.ctx.refusals


async def test_nothing_is_acknowledged_before_the_commit(under_test: DriverUnderTest) -> None:
    ctx = under_test.ctx
    ctx.gate.clear()
    await under_test.harness.press("T-1", "e1")
    await wait_until(lambda: ctx.offers("e1") == 1)
    await under_test.restart()
    await wait_until(lambda: ctx.offers("e1") == 2)
    assert ctx.commits() == []
    ctx.gate.set()
    await wait_until(lambda: ctx.commits() == ["e1"])


async def test_what_was_committed_does_not_come_again(under_test: DriverUnderTest) -> None:
    await under_test.harness.press("T-1", "e1")
    await wait_until(lambda: under_test.ctx.commits() == ["e1"])
    await under_test.harness.press("T-1", "e2")
    await wait_until(lambda: under_test.ctx.commits() == ["e1", "e2"])
    await under_test.restart()
    await under_test.harness.press("T-1", "e3")
    await wait_until(lambda: under_test.ctx.offers("e3") == 1)
    # e2's answer may have crossed the restart; e1's was read before e2 was sent.
    assert under_test.ctx.offers("e1") == 1


async def test_while_the_store_is_away_a_press_is_offered_again(
    under_test: DriverUnderTest,
) -> None:
    ctx = under_test.ctx
    ctx.store_away = True
    await under_test.harness.press("T-1", "e1")
    await wait_until(lambda: ctx.offers("e1") >= 2)
    assert ctx.commits() == []
    ctx.store_away = False
    await wait_until(lambda: ctx.commits() == ["e1"], deadline=10)


async def test_each_terminals_order_is_kept(under_test: DriverUnderTest) -> None:
    ctx = under_test.ctx
    ctx.commit_s = 0.002
    names = [f"T-{n}" for n in range(1, 5)]
    presses = [(name, f"{name}-{n}") for n in range(10) for name in names]
    for name, event_id in presses:
        await under_test.harness.press(name, event_id)
    await wait_until(lambda: len(ctx.committed) == len(presses))
    for name in names:
        assert ctx.commits(name) == [f"{name}-{n}" for n in range(10)]


async def test_one_terminals_commit_does_not_hold_up_another(under_test: DriverUnderTest) -> None:
    ctx = under_test.ctx
    ctx.gate.clear()
    names = [f"T-{n}" for n in range(1, 13)]
    await asyncio.gather(*(under_test.harness.press(name, f"e-{name}") for name in names))
    await wait_until(lambda: {event.terminal for event in ctx.offered} == set(names))
    ctx.gate.set()
    await wait_until(lambda: len(ctx.committed) == len(names))


@pytest.mark.parametrize("payload", GARBAGE, ids=lambda p: repr(p[:24]))
async def test_garbage_is_refused_with_a_reason(
    under_test: DriverUnderTest, payload: bytes
) -> None:
    await under_test.harness.garbage(payload)
    await wait_until(lambda: len(under_test.ctx.refusals) == 1)
    assert under_test.ctx.refusals[0][2]
    await under_test.harness.press("T-1", "after")
    await wait_until(lambda: under_test.ctx.commits() == ["after"])
    assert under_test.lives


async def test_random_bytes_never_end_the_driver(under_test: DriverUnderTest) -> None:
    rng = random.Random(7)
    for _ in range(40):
        await under_test.harness.garbage(rng.randbytes(rng.randint(1, 400)).replace(b"\n", b" "))
    await wait_until(lambda: len(under_test.ctx.refusals) == 40)
    await under_test.harness.press("T-1", "after")
    await wait_until(lambda: under_test.ctx.commits() == ["after"])


async def test_duplicates_are_passed_on(under_test: DriverUnderTest) -> None:
    await under_test.harness.press("T-1", "e1")
    await wait_until(lambda: under_test.ctx.offers("e1") == 1)
    await under_test.harness.press("T-1", "e1")
    await wait_until(lambda: under_test.ctx.commits() == ["e1", "e1"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
async def test_commands_arrive_or_are_declined(
    under_test: DriverUnderTest, command: Command
) -> None:
    await under_test.harness.listen("T-2")
    await under_test.harness.press("T-2", "here")
    await wait_until(lambda: under_test.ctx.commits() == ["here"])
    try:
        await under_test.driver.send(TerminalId("T-2"), command)
    except (Unsupported, TransientError) as declined:
        assert isinstance(declined, Unsupported), "the terminal is there"  # noqa: PT017
        assert under_test.harness.received_by("T-2") == []
        return
    await wait_until(lambda: len(under_test.harness.received_by("T-2")) == 1)


async def test_a_terminal_that_is_not_there_is_no_surprise(under_test: DriverUnderTest) -> None:
    for command in COMMANDS:
        try:
            await under_test.driver.send(TerminalId("T-never-seen"), command)
        except (Unsupported, TransientError):
            continue


async def test_before_and_after_its_run_a_driver_sends_nothing(under_test: DriverUnderTest) -> None:
    with pytest.raises(TransientError):
        await under_test.harness.driver().send(TerminalId("T-1"), COMMANDS[0])
    await under_test.stop()
    with pytest.raises(TransientError):
        await under_test.driver.send(TerminalId("T-1"), COMMANDS[0])


async def test_links_are_reported(under_test: DriverUnderTest) -> None:
    assert under_test.ctx.all_up
    await under_test.stop()
    assert not any(under_test.ctx.links.values())


async def test_a_stop_leaves_no_task(under_test: DriverUnderTest) -> None:
    await under_test.stop()
    before = asyncio.all_tasks()
    await under_test.start()
    assert asyncio.all_tasks() - before
    await under_test.stop()
    await wait_until(lambda: not asyncio.all_tasks() - before, deadline=1)


async def test_a_stop_does_not_wait_for_the_store(under_test: DriverUnderTest) -> None:
    under_test.ctx.gate.clear()
    await under_test.harness.press("T-1", "e1")
    await wait_until(lambda: under_test.ctx.offers("e1") == 1)
    begun = time.monotonic()
    await under_test.stop()
    assert time.monotonic() - begun < 2
