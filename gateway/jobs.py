"""Long-running work of the daemon: owned tasks that are begun in order and ended together."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog

from gateway.metrics import Metrics

log = structlog.get_logger()

Work = Callable[[], Awaitable[None]]

LAG_PROBE_S: Final = 0.5
# A part that fails by a defect is begun again, not too fast to fill the log.
AGAIN_S: Final = 1.0


class Jobs:
    """Runs jobs until `end`; a job that fails is logged and begun again, a finished one is not."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Nothing runs yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still runs."""
        await self.end()

    def start(self, name: str, work: Work) -> None:
        """Begin `work`."""
        self._tasks.append(asyncio.create_task(_kept(name, work), name=name))

    async def end(self) -> None:
        """Cancel all jobs and wait until they have ended; idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def _kept(name: str, work: Work) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("job_failed", job=name)
            await asyncio.sleep(AGAIN_S)
        else:
            return


async def watch_lag(metrics: Metrics) -> None:
    """Measure how late the loop's timers are: what every message waits at least."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_PROBE_S
        await asyncio.sleep(LAG_PROBE_S)
        metrics.loop_lag.set(max(0.0, loop.time() - due))
