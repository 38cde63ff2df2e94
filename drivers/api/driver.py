"""What a driver is and what it is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.api.clock import Clock
from drivers.api.commands import Command
from drivers.api.events import (
    AnyTerminalEvent,
    PresenceReported,
    Receipt,
    Refusal,
    TelemetryReported,
)
from drivers.api.ids import TerminalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What terminals behind a driver can do."""

    display: bool = False
    voice_prompts: bool = False
    announces_calls: bool = False  # understands ExpectCall
    commands: frozenset[str] = frozenset()


class DriverContext(Protocol):
    """The gateway's side, as a driver sees it. All methods are called on the event loop."""

    @property
    def clock(self) -> Clock:
        """Return the clock to stamp `received_at` with."""
        ...

    async def submit(self, event: AnyTerminalEvent) -> Receipt:
        """Hand over an event; returns after the commit, duplicates included.

        Calls for one terminal are committed in the order of the calls. Raises StoreUnavailable
        when nothing was committed: the driver must not acknowledge, and offers it again.
        """
        ...

    def telemetry(self, batch: Sequence[TelemetryReported]) -> None:
        """Take measurements; never blocks, keeps the newest per terminal when overrun."""
        ...

    def presence(self, report: PresenceReported) -> None:
        """Take a birth or a will; never blocks."""
        ...

    def refused(self, terminal: TerminalId | None, reason: Refusal, detail: str) -> None:
        """Count and log a message that was not understood or not allowed."""
        ...

    def link(self, name: str, *, up: bool) -> None:
        """Report the state of one of the driver's connections, for readiness and metrics."""
        ...


class Driver(Protocol):
    """One way for terminals to attach. `run` is called once, and again only if it raised."""

    @property
    def capabilities(self) -> Capabilities:
        """Return what terminals behind this driver can do."""
        ...

    async def run(self, ctx: DriverContext) -> None:
        """Serve until cancelled; reconnects by itself; raises only on a defect."""
        ...

    async def send(self, terminal: TerminalId, command: Command) -> None:
        """Send a command; raises Unsupported or TransientError (the caller's outbox repeats)."""
        ...
