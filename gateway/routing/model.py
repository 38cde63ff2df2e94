"""What routing answers: which flow, and who is rung."""

from dataclasses import dataclass

from drivers.api.ids import TerminalId
from gateway.incidents.model import Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of agents; who of them is rung, gateway.agents says at the time of the call."""

    name: str
    together: bool  # all who are ready at once, rather than who has been idle longest
    overflow: "Target | None"  # takes over after `Target.ring_s`; None: what follows in the chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody who can be rung: at `uri`, or, when that is empty, any agent of `group`."""

    name: str
    uri: str
    label: str
    ring_s: float  # of a group: how long it may keep the call
    group: Group | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Targets rung in order or together."""

    targets: tuple[Target, ...]
    together: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where an incident goes. An empty chain with no last resort means: alarm a person."""

    rule: str  # name of the rule, or "" when none matched
    flow: str  # "emergency" or "none"
    chain: tuple[Stage, ...]
    last_resort: Target | None
    emergency: bool  # may use the reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What routing looks at."""

    terminal: TerminalId
    kind: str | None  # of terminal; None when unknown
    site: str | None
    event: str  # "press" or "alarm"
    key: str  # key or alarm name
    flags: frozenset[Flag]
    at: float  # Unix seconds
