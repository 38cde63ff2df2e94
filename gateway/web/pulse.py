"""What the page shows but nobody reports: calls, workers, agents, terminals, and our pulse."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.web.deps import WebDeps
from gateway.web.snapshot import terminals
from gateway.web.views import agents_now, calls_now, iso, workers_now

log = structlog.get_logger()

BEAT_S: Final = 0.5  # how stale a call's leg may look
SLOW_BEATS: Final = 10  # terminals, and the sign of life that the page waits for


class Pulse:
    """Publishes what changed since the last beat, as long as anybody looks on."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps
        self._last: dict[str, Mapping[str, object]] = {}
        self._beats = 0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(BEAT_S)
            if not self._deps.feed.watched:
                self._last.clear()
                continue
            try:
                self.beat()
            except Exception:
                # A defect in one read model must not leave every page without a sign of life.
                log.exception("feed_pulse_failed")

    def beat(self) -> None:
        """Publish once."""
        self._publish(calls_now(self._deps.calls()))
        self._publish(workers_now(self._deps.workers()))
        self._publish(agents_now(self._deps.agents.view()))
        self._beats += 1
        if self._beats % SLOW_BEATS == 0:
            self._publish({"type": "tick", "at": iso(self._deps.clock.time())})
            self._publish(terminals(self._deps))

    def _publish(self, message: Mapping[str, object]) -> None:
        kind = str(message["type"])
        if self._last.get(kind) != message:
            self._last[kind] = message
            self._deps.feed.publish(message)
