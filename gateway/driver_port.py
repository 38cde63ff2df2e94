"""What one driver sees of the gateway (drivers.api.driver.DriverContext)."""

from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from drivers.api.clock import Clock
from drivers.api.events import (
    AnyTerminalEvent,
    PresenceReported,
    Receipt,
    Refusal,
    TelemetryReported,
)
from drivers.api.ids import TerminalId
from gateway.metrics import Metrics
from gateway.pipeline import Pipeline
from protocols.text import clean_text

log = structlog.get_logger()


class Tracker(Protocol):
    """Presence and measurements of terminals."""

    def telemetry(self, batch: Sequence[TelemetryReported]) -> None:
        """Take measurements; never blocks."""
        ...

    def presence(self, report: PresenceReported) -> None:
        """Take a birth or a will; never blocks."""
        ...

    def seen(self, terminal: TerminalId, at: float, boot: int | None) -> None:
        """Take any other sign of life; never blocks."""
        ...


class DriverPort:
    """Hands a driver's findings to the pipeline and the tracker, counted under its name."""

    def __init__(
        self,
        name: str,
        *,
        pipeline: Pipeline,
        tracker: Tracker,
        metrics: Metrics,
        clock: Clock,
        on_link: Callable[[str, str, bool], None],
    ) -> None:
        self._name = name
        self._pipeline = pipeline
        self._tracker = tracker
        self._metrics = metrics
        self._clock = clock
        self._on_link = on_link

    @property
    def clock(self) -> Clock:
        """Return the gateway's clock."""
        return self._clock

    async def submit(self, event: AnyTerminalEvent) -> Receipt:
        """Walk an event through the pipeline; raises StoreUnavailable when nothing was kept."""
        self._tracker.seen(event.terminal, event.received_at, event.boot)
        return await self._pipeline.take(self._name, event)

    def telemetry(self, batch: Sequence[TelemetryReported]) -> None:
        """Pass measurements on."""
        self._metrics.telemetry.labels(self._name).inc(len(batch))
        self._tracker.telemetry(batch)

    def presence(self, report: PresenceReported) -> None:
        """Pass a birth or a will on."""
        self._tracker.presence(report)

    def refused(self, terminal: TerminalId | None, reason: Refusal, detail: str) -> None:
        """Count and log a message that was refused; a flood is counted, not logged line by line."""
        self._metrics.refused.labels(self._name, reason.value).inc()
        level = log.debug if reason is Refusal.FLOOD else log.warning
        level(
            "message_refused",
            driver=self._name,
            terminal=clean_text(terminal) if terminal else None,
            reason=reason.value,
            detail=clean_text(detail),
        )

    def link(self, name: str, *, up: bool) -> None:
        """Note the state of a connection."""
        self._metrics.link_up.labels(self._name, name).set(1 if up else 0)
        self._on_link(self._name, name, up)
