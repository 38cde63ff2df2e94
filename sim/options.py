"""What a simulated world consists of: terminals, agents, and who is rung in what order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sim.phone import Behaviour

# Far apart and no harmonics of each other, inside the telephone band.
TERMINAL_TONE_HZ = 440
AGENT_TONE_HZ = 1000
ANSWERS = Behaviour(tone_hz=AGENT_TONE_HZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """A target of the routing rules. With `uri` it is somebody else's phone: nothing is started."""

    name: str = ""  # default: agent-1, agent-2, …
    behaviour: Behaviour = ANSWERS
    ring_s: float = 20.0
    uri: str = ""
    started: bool = True  # False: its port is reserved; `World.new_agent` starts it


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One step of the chain: names of agents."""

    targets: Sequence[str]
    mode: Literal["in_order", "together"] = "in_order"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldOptions:
    """The shape of a world. The defaults are one terminal with a voice and one agent."""

    # Registered as P-0001, P-0002, …; the first `voices` of them have a SIP phone of their own,
    # and the first `pendants` are started with the world (`World.new_pendant` starts others).
    terminals: int = 1
    voices: int = 1
    pendants: int = 1
    terminal_kind: str = "portable"
    agents: Sequence[AgentSpec] = (AgentSpec(),)
    chain: Sequence[StageSpec] | None = None  # None: all agents, in order, in one stage
    last_resort: str = ""
    # Processes of the telephony pool; they take max_workers SIP ports and 32 × RTP ports each.
    min_workers: int = 1
    spare_workers: int = 1
    max_workers: int = 4
    store_url: str = ""  # SQLAlchemy; empty: SQLite in the world's directory
    # TOML laid over the generated configuration: tables are merged, values replaced.
    extra_toml: str = ""
    gateway_env: Mapping[str, str] = field(default_factory=dict)
    repeat_s: float = 5.0  # of the pendants' presses
    ready_deadline_s: float = 30.0  # for each part to become ready
    bind_address: str = "127.0.0.1"  # of all SIP and RTP sockets

    @property
    def names(self) -> tuple[str, ...]:
        """Return the agents' names."""
        return tuple(spec.name or f"agent-{n}" for n, spec in enumerate(self.agents, 1))

    @property
    def phones(self) -> int:
        """Return how many simulated phones need ports."""
        return self.voices + len(self.agents)

    def stages(self) -> Sequence[StageSpec]:
        """Return the chain with its default filled in; a chain of nobody has no stages."""
        if self.chain is not None:
            return self.chain
        everyone = tuple(name for name in self.names if name != self.last_resort)
        return (StageSpec(targets=everyone),) if everyone else ()


def terminal_id(number: int) -> str:
    """Return the id of terminal `number`, counted from 1."""
    return f"P-{number:04d}"
