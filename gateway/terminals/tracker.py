"""Takes births, wills and measurements in memory and flushes them to the store in batches."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.events import PresenceReported, TelemetryReported
from drivers.api.ids import TerminalId
from gateway.config import PresenceConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.schema import TERMINAL_STATUS
from gateway.store.upsert import replace
from gateway.terminals.directory import Directory
from gateway.terminals.presence import (
    Patience,
    PresenceChanged,
    Signs,
    after_report,
    after_telemetry,
    patience,
    presence,
)
from gateway.terminals.status import PRESENCES

_log = structlog.get_logger()

# Rows of one transaction: about 10 ms of the writer, so that a press never waits longer.
_CHUNK: Final = 1000
# Silence is judged to the second for small fleets; large ones are walked in this many seconds.
_SWEEP_EVERY: Final = 1.0
_SWEEP_ROUND: Final = 30
_SWEEP_LEAST: Final = 1000


class TerminalTracker:
    """Keeps the directory's `status` true; all methods but the coroutines never block."""

    def __init__(
        self,
        directory: Directory,
        db: Database,
        metrics: Metrics,
        clock: Clock,
        config: PresenceConfig,
        publish: Callable[[PresenceChanged], None],
    ) -> None:
        self._directory = directory
        self._status = directory.status
        self._db = db
        self._metrics = metrics
        self._clock = clock
        self._config = config
        self._publish = publish
        self._dirty: set[int] = set()  # slots; bounded by the number of terminals
        self._patience: dict[str, Patience] = {}  # by model; bounded by the registered models
        self._position = 0  # of the sweep
        dropped = metrics.telemetry_dropped
        self._unknown = dropped.labels("unknown_terminal")
        self._superseded = dropped.labels("superseded")
        self._older = dropped.labels("older")

    @property
    def dirty(self) -> int:
        """Return how many terminals have news that the store does not know."""
        return len(self._dirty)

    def telemetry(self, batch: Sequence[TelemetryReported]) -> None:
        """Take measurements; the newest of a terminal wins, by the device's clock if it has one."""
        unknown = older = superseded = 0  # counted once a batch: it comes by the ten thousand
        for report in batch:
            slot = self._directory.slot(report.terminal)
            if slot is None:
                unknown += 1
                continue
            if not self._status.measure(slot, report):
                older += 1
            elif slot in self._dirty:
                superseded += 1
            signs = after_telemetry(self._status.signs(slot), report)
            self._note(slot, signs, report.received_at)
        self._unknown.inc(unknown)
        self._older.inc(older)
        self._superseded.inc(superseded)

    def presence(self, report: PresenceReported) -> None:
        """Take a birth or a will."""
        slot = self._directory.slot(report.terminal)
        if slot is None:
            self._unknown.inc()
            return
        signs = after_report(self._status.signs(slot), report)
        self._note(slot, signs, report.received_at)

    def seen(self, terminal: TerminalId, at: float, boot: int | None) -> None:
        """Take any other sign of life, such as a press; unknown terminals are not counted."""
        slot = self._directory.slot(terminal)
        if slot is not None:
            report = TelemetryReported(terminal=terminal, received_at=at, boot=boot)
            self._note(slot, after_telemetry(self._status.signs(slot), report), at)

    async def run(self) -> None:
        """Flush and sweep until cancelled; then call `flush` once more."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush_for_ever(), name="telemetry-flush")
            group.create_task(self._sweep_for_ever(), name="presence-sweep")

    async def flush(self) -> None:
        """Write what is new, in as few transactions as a press can bear.

        Raises StoreUnavailable; what was not written stays for the next time.
        """
        waiting = sorted(self._dirty, key=lambda slot: self._directory.at(slot).id)
        for begin in range(0, len(waiting), _CHUNK):
            chunk = waiting[begin : begin + _CHUNK]
            rows = [self._status.row(slot, self._directory.at(slot).id) for slot in chunk]
            self._dirty.difference_update(chunk)
            try:
                await self._db.write(partial(_upsert, rows=rows))
            except BaseException:  # a cancelled flush may not have been written either
                self._dirty.update(chunk)
                raise

    def sweep(self) -> None:
        """Judge the next part of the terminals by the clock and publish what changed."""
        total = len(self._status)
        share = max(_SWEEP_LEAST, -(-total // _SWEEP_ROUND))
        begin = self._position if self._position < total else 0
        end = min(begin + share, total)
        now = self._clock.time()
        for slot in range(begin, end):
            self._judge(slot, self._status.signs(slot), now)
        self._position = end
        for state, count in zip(PRESENCES, self._status.counts, strict=True):
            self._metrics.terminals.labels(state.value).set(count)

    def _note(self, slot: int, signs: Signs, at: float) -> None:
        self._status.set_signs(slot, signs)
        self._dirty.add(slot)
        self._judge(slot, signs, at)

    def _judge(self, slot: int, signs: Signs, now: float) -> None:
        before = self._status.presence(slot)
        terminal = self._directory.at(slot)
        after = presence(signs, self._patience_of(terminal.model), now)
        if after is not before:
            self._status.set_presence(slot, after)
            self._publish(PresenceChanged(terminal=terminal.id, before=before, after=after, at=now))

    def _patience_of(self, model: str) -> Patience:
        found = self._patience.get(model)
        if found is None:
            found = self._patience[model] = patience(self._config, model)
        return found

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._config.flush_s)
            try:
                await self.flush()
            except StoreUnavailable as error:
                _log.warning("telemetry_flush_postponed", rows=self.dirty, error=str(error))

    async def _sweep_for_ever(self) -> None:
        while True:
            self.sweep()
            await asyncio.sleep(_SWEEP_EVERY)


def _upsert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(replace(connection, TERMINAL_STATUS), rows)
