"""Commands down to terminals: in order per terminal, repeated on a broken link, bounded."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from drivers.api.clock import Clock
from drivers.api.commands import Command
from drivers.api.errors import PermanentError, TransientError, Unsupported
from drivers.api.ids import TerminalId
from gateway.metrics import Metrics
from gateway.terminals.model import TerminalDirectory
from gateway.terminals.outbox import Outbox, Parcel, expires_at, label

_log = structlog.get_logger()

_BACK_OFF_S: Final = (0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
# A terminal that cannot be reached this long repeats its press anyway, and is told again.
_GIVE_UP_S: Final = 120.0
# A driver that hangs must not keep a worker for ever.
_SEND_S: Final = 10.0
# Sends under way per driver: enough to hide a broker's round trip, few enough for any broker.
_WORKERS: Final = 16
# Terminals that no operator registered, remembered by the driver they came through.
_REMEMBERED: Final = 10_000
# Terminals with something to send, all drivers together.
_OUTBOXES: Final = 20_000


class Sender(Protocol):
    """The part of a driver that the messenger uses."""

    async def send(self, terminal: TerminalId, command: Command) -> None:
        """Send a command; raises Unsupported or TransientError."""
        ...


class Messenger:
    """Implements gateway.terminals.model.TerminalMessenger. `run` does the sending."""

    def __init__(
        self,
        drivers: Mapping[str, Sender],
        directory: TerminalDirectory,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._results = metrics.notifications
        self._strangers: OrderedDict[TerminalId, str] = OrderedDict()
        self._outboxes: dict[TerminalId, Outbox] = {}
        self._drivers = dict(drivers)
        # One line per driver, so that a driver that hangs delays no other. Bounded by _OUTBOXES:
        # a terminal stands in line once.
        self._lines: dict[str, asyncio.Queue[TerminalId]] = {
            name: asyncio.Queue() for name in drivers
        }
        self._pauses: dict[TerminalId, asyncio.TimerHandle] = {}

    @property
    def pending(self) -> int:
        """Return how many terminals have something to be told."""
        return len(self._outboxes)

    def remember(self, terminal: TerminalId, driver: str) -> None:
        """Note through which driver an event came, to answer terminals nobody registered."""
        if self._directory.get(terminal) is not None:
            return
        self._strangers[terminal] = driver
        self._strangers.move_to_end(terminal)
        if len(self._strangers) > _REMEMBERED:
            self._strangers.popitem(last=False)

    def tell(self, terminal: TerminalId, command: Command) -> None:
        """Send in order per terminal; never blocks. What cannot be sent is counted and logged."""
        driver = self._driver_of(terminal)
        if driver is None:
            self._count(terminal, command, "no_driver")
            return
        outbox = self._outboxes.get(terminal)
        if outbox is None:
            if len(self._outboxes) >= _OUTBOXES:
                self._count(terminal, command, "overflow")
                return
            outbox = self._outboxes[terminal] = Outbox()
            self._lines[driver].put_nowait(terminal)
        dropped = outbox.add(Parcel(command, self._clock.monotonic()))
        if dropped is not None:
            self._count(terminal, dropped, "dropped")

    async def run(self) -> None:
        """Send until cancelled; what waits then is lost, which the terminals' repeats mend."""
        try:
            async with asyncio.TaskGroup() as group:
                for name in self._lines:
                    for number in range(_WORKERS):
                        group.create_task(self._work(name), name=f"messenger-{name}-{number}")
        finally:
            for pause in self._pauses.values():
                pause.cancel()
            self._pauses.clear()

    def _driver_of(self, terminal: TerminalId) -> str | None:
        known = self._directory.get(terminal)
        name = known.driver if known is not None else self._strangers.get(terminal)
        return name if name in self._drivers else None

    async def _work(self, driver: str) -> None:
        line = self._lines[driver]
        while True:
            await self._serve(driver, await line.get())

    async def _serve(self, driver: str, terminal: TerminalId) -> None:
        """Send the first parcel of a terminal and put the terminal back in line."""
        outbox = self._outboxes[terminal]
        parcel = outbox.first()
        if self._is_late(parcel):
            result: str | None = "expired"
        else:
            outbox.sending = True
            try:
                result = await self._send(self._drivers[driver], terminal, parcel.command)
            finally:
                outbox.sending = False
        if result is None:
            self._pause(driver, terminal, outbox)
            return
        outbox.pop()
        self._count(terminal, parcel.command, result)
        if len(outbox):
            self._lines[driver].put_nowait(terminal)
        else:
            del self._outboxes[terminal]

    async def _send(self, driver: Sender, terminal: TerminalId, command: Command) -> str | None:
        """Return the result for the metrics; None = try again."""
        try:
            async with asyncio.timeout(_SEND_S):
                await driver.send(terminal, command)
        except Unsupported:
            return "unsupported"
        except PermanentError as error:
            _log.warning("command_refused", terminal=terminal, error=str(error))
            return "failed"
        except (TransientError, TimeoutError):
            return None
        except Exception:  # noqa: BLE001 - a driver's defect must not end the worker of all others
            _log.exception("command_failed", terminal=terminal, command=label(command))
            return "failed"
        return "sent"

    def _pause(self, driver: str, terminal: TerminalId, outbox: Outbox) -> None:
        """Let a terminal wait before its next attempt, without holding a worker."""
        seconds = _BACK_OFF_S[min(outbox.failures, len(_BACK_OFF_S) - 1)]
        outbox.failures += 1
        loop = asyncio.get_running_loop()
        self._pauses[terminal] = loop.call_later(seconds, self._resume, driver, terminal)

    def _resume(self, driver: str, terminal: TerminalId) -> None:
        del self._pauses[terminal]
        self._lines[driver].put_nowait(terminal)

    def _is_late(self, parcel: Parcel) -> bool:
        if self._clock.monotonic() - parcel.since > _GIVE_UP_S:
            return True
        end = expires_at(parcel.command)
        return end is not None and self._clock.time() > end

    def _count(self, terminal: TerminalId, command: Command, result: str) -> None:
        self._results.labels(label(command), result).inc()
        if result not in {"sent", "unsupported"}:
            _log.warning("command_not_sent", terminal=terminal, command=label(command), why=result)
