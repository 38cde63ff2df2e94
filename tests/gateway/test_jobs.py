"""Owned work: begun again after a defect, ended together."""

import asyncio

import pytest

from gateway import jobs as module
from gateway.jobs import Jobs, watch_lag
from gateway.metrics import Metrics
from tests.waiting import wait_until


async def test_a_failing_job_is_begun_again_and_a_finished_one_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    fails, finishes = [], []

    async def fail_twice() -> None:
        fails.append(1)
        if len(fails) < 3:
            raise RuntimeError("a defect")

    async def finish() -> None:
        finishes.append(1)

    async with Jobs() as jobs:
        jobs.start("fails", fail_twice)
        jobs.start("finishes", finish)
        await wait_until(lambda: len(fails) == 3)
    assert finishes == [1]
    assert capsys.readouterr().out.count("job_failed") == 2


async def test_the_end_waits_for_all_and_may_come_twice() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    jobs = Jobs()
    for _ in range(3):
        jobs.start("works", work)
    await asyncio.sleep(0)
    await jobs.end()
    await jobs.end()
    assert ended == [1, 1, 1]


async def test_the_lag_of_the_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAG_PROBE_S", 0.01)
    metrics = Metrics()
    metrics.loop_lag.set(-1)

    def lag() -> float:
        return metrics.registry.get_sample_value("onekey_event_loop_lag_seconds") or 0.0

    watching = asyncio.create_task(watch_lag(metrics))
    await wait_until(lambda: lag() >= 0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
