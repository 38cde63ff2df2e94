"""The two speeds of stopping, with real signals to this very process."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from gateway.stopping import Stop, StopSignals
from tests.waiting import wait_until


@pytest.fixture
async def signals() -> AsyncIterator[StopSignals]:
    loop = asyncio.get_running_loop()
    yield StopSignals()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGTERM, Stop.DRAIN), (signal.SIGINT, Stop.NOW)]
)
async def test_what_a_signal_asks_for(
    signals: StopSignals, number: signal.Signals, how: Stop
) -> None:
    os.kill(os.getpid(), number)
    async with asyncio.timeout(2):
        assert await signals.asked() is how
    assert signals.at_once is (how is Stop.NOW)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_hurries(signals: StopSignals, second: signal.Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await signals.asked()
    cancelled = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(1)

    waiting = asyncio.create_task(signals.hurried(work()))
    await asyncio.sleep(0)
    before = signals.at_once
    os.kill(os.getpid(), second)
    async with asyncio.timeout(2):
        await waiting
    assert (before, signals.at_once) == (False, True)
    assert cancelled == [1]


async def test_work_that_ends_is_not_waited_for_any_longer(signals: StopSignals) -> None:
    done = []

    async def work() -> None:
        done.append(1)

    async with asyncio.timeout(2):
        await signals.hurried(work())
    assert done == [1]
    assert not signals.at_once


async def test_waiting_can_be_cancelled(signals: StopSignals) -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    waiting = asyncio.create_task(signals.hurried(work()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await wait_until(waiting.done)
    assert ended == [1]


async def test_work_gets_its_grace_when_it_is_hurried(signals: StopSignals) -> None:
    """Also when the hurry came first: a commit takes milliseconds, and a dead store for ever."""
    os.kill(os.getpid(), signal.SIGINT)
    await signals.asked()
    done = []

    async def commit() -> None:
        await asyncio.sleep(0.05)
        done.append(1)

    await signals.hurried(commit(), grace_s=5)
    assert done == [1]
    async with asyncio.timeout(2):
        await signals.hurried(asyncio.Event().wait(), grace_s=0.05)


async def test_what_work_raises_is_not_lost(signals: StopSignals) -> None:
    async def fail() -> None:
        raise OSError("a defect")

    with pytest.raises(OSError, match="a defect"):
        await signals.hurried(fail())
