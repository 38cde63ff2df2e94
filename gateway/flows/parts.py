"""What calls work with, and what does not change in the life of one."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from drivers.api.clock import Clock
from drivers.api.ids import CallId, IncidentId
from drivers.api.legs import LegDialer
from gateway.config import Settings
from gateway.flows.commits import Committer
from gateway.flows.offers import Agents
from gateway.flows.timers import Schedule
from gateway.incidents.model import Incident
from gateway.metrics import Metrics
from gateway.routing.model import Target
from gateway.terminals.model import Terminal, TerminalMessenger

FLOW: Final = "emergency"  # the one flow there is; closed, a metric label


class PromptSource(Protocol):
    """Where prompts are."""

    def path(self, name: str, language: str | None = None) -> Path | None:
        """Return the WAV of a prompt, or None when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowParts:
    """What every call works with."""

    settings: Settings
    dialer: LegDialer
    committer: Committer
    messenger: TerminalMessenger
    prompts: PromptSource
    metrics: Metrics
    clock: Clock
    schedule: Schedule
    finish_recording: Callable[[CallId, IncidentId, Path], Awaitable[None]]
    on_alarm: Callable[[IncidentId, str], None]
    agents: Agents | None = None  # who is free in groups; None where none are kept
    # Tells the parties of a dead worker ("address:port") that their calls are over.
    free_parties: Callable[[str], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What does not change in the life of a call."""

    id: CallId
    incident: Incident  # as it was when the call began
    terminal: Terminal | None  # None: not registered
    targets: Mapping[str, Target]
    emergency: bool  # may use the reserve, and says so to agents
    started_at: float
    measured: bool  # a fresh press, whose times belong into the histograms
