import asyncio
from collections.abc import Callable

import pytest

from drivers.mqtt.links import Backoff, LinkLost, keep_linked
from tests.contract.context import FakeContext
from tests.waiting import wait_until


def test_waits_double_to_the_longest_with_jitter() -> None:
    backoff = Backoff(0.5, 10)
    waits = [backoff.next() for _ in range(8)]
    for wait, most in zip(waits, [0.5, 1, 2, 4, 8, 10, 10, 10], strict=True):
        assert most / 2 <= wait <= most
    backoff.reset()
    assert backoff.next() <= 0.5
    backoff.jump()
    assert backoff.next() >= 5


@pytest.mark.parametrize("error", [LinkLost("refused"), FileNotFoundError("/run/secret")])
async def test_a_lost_link_is_reported_and_made_again(error: Exception) -> None:
    ctx = FakeContext()
    states: list[bool] = []
    turns: list[asyncio.Event] = []

    async def serve(up: Callable[[], None]) -> None:
        up()
        states.append(ctx.links["x"])
        turns.append(asyncio.Event())
        await turns[-1].wait()
        raise error

    task = asyncio.create_task(keep_linked("x", serve, ctx, Backoff(0.001, 0.01)))
    for n in range(3):
        await wait_until(lambda n=n: len(turns) == n + 1)  # type: ignore[misc] # mypy on defaults
        turns[n].set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(states)
    assert ctx.links == {"x": False}
