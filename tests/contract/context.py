"""A gateway that a test holds in its hands: what drivers offer it, and how it answers."""

import asyncio
import time
from collections.abc import Sequence

from drivers.api.errors import StoreUnavailable
from drivers.api.events import (
    AnyTerminalEvent,
    PresenceReported,
    Receipt,
    ReceiptOutcome,
    Refusal,
    TelemetryReported,
)
from drivers.api.ids import IncidentId, TerminalId


class RealClock:
    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class FakeContext:
    """DriverContext with a gate before the commit and a store that can be away."""

    def __init__(self) -> None:
        self.offered: list[AnyTerminalEvent] = []
        self.offered_at: list[float] = []
        self.committed: list[AnyTerminalEvent] = []
        self.batches: list[list[TelemetryReported]] = []
        self.presences: list[PresenceReported] = []
        self.refusals: list[tuple[TerminalId | None, Refusal, str]] = []
        self.links: dict[str, bool] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.store_away = False
        self.defects: set[str] = set()  # event ids on which the gateway breaks
        self.commit_s = 0.0
        self._clock = RealClock()
        self._seen: set[tuple[str, str]] = set()

    @property
    def clock(self) -> RealClock:
        return self._clock

    async def submit(self, event: AnyTerminalEvent) -> Receipt:
        self.offered.append(event)
        self.offered_at.append(time.perf_counter())
        if event.event_id in self.defects:
            raise KeyError("a defect of the gateway")
        await self.gate.wait()
        if self.store_away:
            raise StoreUnavailable("disk full")
        if self.commit_s:
            await asyncio.sleep(self.commit_s)
        key = (event.terminal, event.event_id)
        outcome = ReceiptOutcome.DUPLICATE if key in self._seen else ReceiptOutcome.ACCEPTED
        self._seen.add(key)
        self.committed.append(event)
        return Receipt(outcome=outcome, incident=IncidentId("inc-1"))

    def telemetry(self, batch: Sequence[TelemetryReported]) -> None:
        self.batches.append(list(batch))

    def presence(self, report: PresenceReported) -> None:
        self.presences.append(report)

    def refused(self, terminal: TerminalId | None, reason: Refusal, detail: str) -> None:
        self.refusals.append((terminal, reason, detail))

    def link(self, name: str, *, up: bool) -> None:
        self.links[name] = up

    def offers(self, event_id: str) -> int:
        return sum(event.event_id == event_id for event in self.offered)

    def commits(self, terminal: str | None = None) -> list[str]:
        return [e.event_id for e in self.committed if terminal is None or e.terminal == terminal]

    @property
    def all_up(self) -> bool:
        return bool(self.links) and all(self.links.values())
