"""The whole configuration: one TOML file, overridden by `ONEKEY__SECTION__FIELD` variables.

Every field has a type, a default and a comment; `onekey-gateway check-config FILE` names each
error with its path. Secrets may come from files (`secrets` of the platform) or the environment.
"""

from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

# Digest realm and SIP domain where the edge's section names none (drivers.edge.config).
DEFAULT_REALM = "onekey.local"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Section(BaseModel):
    """A part of the configuration; unknown names are errors, so that a typo is not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreConfig(Section):
    """Where incidents live."""

    # SQLAlchemy URL; empty = SQLite in data_dir. PostgreSQL: postgresql+psycopg://user@host/db
    url: str = ""
    # How long a writer waits for another process's lock before the press stays unacknowledged.
    busy_timeout_s: float = Field(default=5.0, gt=0, le=60)
    # Upper bound of presses in one commit; 200 bounds the damage of one bad batch and is far
    # beyond where batching still gains (docs/benchmarks.md).
    batch_max: int = Field(default=200, ge=1, le=5000)
    # Refuse (do not acknowledge) when this many writes wait: the broker keeps them better.
    queue_max: int = Field(default=20_000, ge=100)
    readers: int = Field(default=2, ge=1, le=32)


class WebConfig(Section):
    """HTTP: API, live page, health, metrics."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    # Bearer token for the API and the feed. Mandatory when `host` is not a loopback address.
    token: SecretStr | None = None
    feed_queue: int = Field(default=500, ge=10)  # messages a slow page may lag before it is cut

    @model_validator(mode="after")
    def _open_port_needs_token(self) -> Self:
        if self.host not in LOOPBACK and self.token is None:
            raise ValueError("web.token is mandatory when web.host is not a loopback address")
        return self


class TargetConfig(Section):
    """Somebody who can be rung."""

    uri: str = Field(pattern=r"^sips?:[^\s<>\"]+$", max_length=200)
    label: str = Field(default="", max_length=80)  # shown on timelines
    ring_s: float = Field(default=20.0, gt=0, le=180)


class GroupConfig(Section):
    """Agents who are rung for the same calls; who belongs to it stands in the store."""

    label: str = Field(default="", max_length=80)  # shown on timelines
    # One after another, who has been idle longest first; or all who are ready at once.
    strategy: Literal["longest_idle", "together"] = "longest_idle"
    # A call that nobody of the group has taken by then goes on to `overflow_to`, else to what
    # follows in the chain.
    overflow_after_s: float = Field(default=60.0, gt=0, le=3600)
    overflow_to: str = ""  # a target or another group


class StageConfig(Section):
    """One step of a chain: targets or groups of agents, rung in order or together."""

    targets: tuple[str, ...] = Field(min_length=1)
    mode: Literal["in_order", "together"] = "in_order"


class RuleConfig(Section):
    """First match wins; an empty list matches everything."""

    name: str = Field(max_length=64)
    events: tuple[Literal["press", "alarm"], ...] = ()
    keys: tuple[str, ...] = ()  # keys of presses, names of alarms
    kinds: tuple[str, ...] = ()  # terminal kinds
    sites: tuple[str, ...] = ()
    weekdays: tuple[int, ...] = ()  # 0 = Monday
    begins: time | None = None  # local time of `routing.timezone`; may pass midnight
    ends: time | None = None
    flow: Literal["emergency", "none"] = "emergency"
    chain: tuple[StageConfig, ...] = ()
    last_resort: str = ""  # target rung at the end of the chain, for longer
    priority: Literal["emergency", "normal"] = "emergency"
    # A rule is for exercises or for real: a training terminal reaches no rule without this, a real
    # terminal no rule with it.
    training: bool = False

    @model_validator(mode="after")
    def _hours_are_a_pair(self) -> Self:
        if (self.begins is None) != (self.ends is None):
            raise ValueError("`begins` and `ends` go together")
        return self


class RoutingConfig(Section):
    """Who is rung for what."""

    timezone: str = "Asia/Shanghai"
    targets: dict[str, TargetConfig] = Field(default_factory=dict)
    groups: dict[str, GroupConfig] = Field(default_factory=dict)
    rules: tuple[RuleConfig, ...] = ()

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        for rule in self.rules:
            for name in [name for stage in rule.chain for name in stage.targets]:
                if name not in self.targets and name not in self.groups:
                    raise ValueError(f"routing rule {rule.name!r} names unknown target {name!r}")
            if rule.last_resort and rule.last_resort not in self.targets:
                unknown = f"names unknown target {rule.last_resort!r}"
                raise ValueError(f"routing rule {rule.name!r} {unknown} as its last resort")
        return self

    @model_validator(mode="after")
    def _groups_overflow_somewhere(self) -> Self:
        for name in self.groups:
            if name in self.targets:
                raise ValueError(f"{name!r} is the name of a target and of a group")
            seen, after = {name}, self.groups[name].overflow_to
            while after and after not in self.targets:
                if after not in self.groups:
                    raise ValueError(f"group {name!r} overflows to unknown {after!r}")
                if after in seen:
                    raise ValueError(f"group {name!r} overflows in a circle")
                seen.add(after)
                after = self.groups[after].overflow_to
        return self


class EmergencyConfig(Section):
    """The flow `emergency`."""

    # Auto-answer window announced to the terminal; covers two rings of a slow network.
    auto_answer_s: float = Field(default=45.0, gt=0, le=600)
    terminal_ring_s: float = Field(default=30.0, gt=0, le=180)
    terminal_retry_s: float = Field(default=5.0, gt=0, le=120)  # pause before it is rung again
    terminal_attempts: int = Field(default=5, ge=1, le=50)
    last_resort_ring_s: float = Field(default=60.0, gt=0, le=300)
    # After the chain and the last resort are through without an answer: alarm a person, mark the
    # incident unanswered, pause, ring all again; the pause doubles up to the maximum.
    # 0 rounds = until somebody answers or closes the incident.
    chain_rounds: int = Field(default=0, ge=0, le=1000)
    chain_pause_s: float = Field(default=10.0, ge=0, le=600)
    chain_pause_max_s: float = Field(default=60.0, ge=0, le=3600)
    # An agent who waits for a terminal that never answers is let go after this.
    agent_wait_s: float = Field(default=180.0, gt=0, le=3600)
    # No media from a party for this long: treat the leg as dropped.
    silence_s: float = Field(default=15.0, gt=0, le=300)
    max_call_s: float = Field(default=7200.0, gt=0, le=86_400)


class RecordingConfig(Section):
    """Recording of bridged calls."""

    enabled: bool = True
    directory: Path | None = None  # default: data_dir/recordings
    segment_s: float = Field(default=60.0, ge=1, le=3600)  # what a crash may cost to repair


class TelephonyConfig(Section):
    """The pool of SIP workers."""

    enabled: bool = True
    # 4 is compiled into the registry's wheel (PJSUA_MAX_CALLS); larger for a site's own build.
    legs_per_worker: int = Field(default=4, ge=2, le=1000)
    min_workers: int = Field(default=2, ge=1, le=1000)
    max_workers: int = Field(default=100, ge=1, le=1000)
    spare_workers: int = Field(default=1, ge=0, le=100)  # kept warm beyond the present need
    reserve_legs: int = Field(default=4, ge=0, le=1000)  # of max_workers × legs; SOS only
    # PJSIP 2.15 aborts when calls follow each other faster than about 15/s in one process.
    dials_per_second: float = Field(default=10.0, gt=0, le=1000)
    recycle_after_calls: int = Field(default=500, ge=1)
    idle_s: float = Field(default=60.0, gt=0)  # an idle worker beyond the spares ends after this
    room_wait_s: float = Field(default=2.0, ge=0, le=30)  # a call waits for a worker to start
    sip: dict[str, Any] = Field(default_factory=dict)  # passed to drivers.sip.config.SipConfig


class PromptsConfig(Section):
    """What callers hear."""

    directory: Path | None = None  # operator's own recordings: <language>/<name>.wav
    generated: Path | None = None  # made at install; default: data_dir/prompts
    language: str = "zh-CN"


class PresenceConfig(Section):
    """When a silent terminal is late or offline."""

    heartbeat_s: float = Field(default=300.0, gt=0)  # expected interval if the model has no entry
    models: dict[str, float] = Field(default_factory=dict)  # model → expected interval in seconds
    late_after: float = Field(default=2.0, ge=1)  # in intervals
    offline_after: float = Field(default=5.0, ge=1)
    flush_s: float = Field(default=5.0, gt=0, le=300)  # telemetry goes to the store this often


class IncidentsConfig(Section):
    """Life of a case."""

    delayed_after_s: float = Field(default=60.0, gt=0)  # older presses open as *delayed*
    future_tolerance_s: float = Field(default=120.0, ge=0)  # device clocks ahead beyond are void
    auto_close_after_s: float = Field(default=1800.0, gt=0)  # in wrap-up, if nobody closes it
    keys: tuple[str, ...] = ("sos", "hospital", "taxi", "mobility", "service", "call")
    # Alarms that are kept and shown on the terminal but open no case.
    quiet_alarms: tuple[str, ...] = ("low_battery", "charging", "power_cut", "taken_off")
    drain_s: float = Field(default=30.0, ge=0)  # SIGTERM: calls may go on this long


class AgentsConfig(Section):
    """Agents whose state the gateway keeps; targets with a URI of their own have none."""

    wrap_up_s: float = Field(default=20.0, ge=0, le=3600)  # after a call, then ready
    offer_s: float = Field(default=20.0, gt=0, le=180)  # how long an agent's phone rings
    # How long an agent stays with a call whose daemon is gone; longer than a restart takes.
    lease_s: float = Field(default=15.0, ge=3, le=300)
    missed_to_pause: int = Field(default=2, ge=0, le=100)  # offers missed in a row; 0 = never
    # No new offer to an agent so soon after a missed one: a phone that refuses at once must not
    # be rung without end.
    reoffer_gap_s: float = Field(default=5.0, ge=0.5, le=300)


class CallersConfig(Section):
    """What one-key phones and trunk numbers dial: user part of the request URI → key."""

    keys: dict[str, str] = Field(
        default_factory=lambda: {
            "sos": "sos",
            "hospital": "hospital",
            "mobility": "mobility",
            "service": "service",
        }
    )


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


class LogConfig(Section):
    """Logs go to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: LogFormat = LogFormat.JSON


class Settings(BaseSettings):
    """Root of the configuration."""

    model_config = SettingsConfigDict(
        env_prefix="ONEKEY__", env_nested_delimiter="__", extra="forbid", frozen=True
    )
    toml_file: ClassVar[Path | None] = None

    instance: str = Field(default="gateway-1", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    data_dir: Path = Path("data")
    store: StoreConfig = StoreConfig()
    web: WebConfig = WebConfig()
    drivers: dict[str, dict[str, Any]] = Field(default_factory=dict)  # name → its own section
    routing: RoutingConfig = RoutingConfig()
    emergency: EmergencyConfig = EmergencyConfig()
    telephony: TelephonyConfig = TelephonyConfig()
    recording: RecordingConfig = RecordingConfig()
    prompts: PromptsConfig = PromptsConfig()
    presence: PresenceConfig = PresenceConfig()
    incidents: IncidentsConfig = IncidentsConfig()
    agents: AgentsConfig = AgentsConfig()
    log: LogConfig = LogConfig()
    callers: CallersConfig = CallersConfig()
    # The SIP border (drivers.edge.config.EdgeConfig); empty: none, workers dial directly.
    edge: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of strength: arguments, environment, file."""
        del dotenv_settings, file_secret_settings
        file = TomlConfigSettingsSource(settings_cls, toml_file=cls.toml_file)
        return (init_settings, env_settings, file)

    @property
    def store_url(self) -> str:
        """Return the SQLAlchemy URL with the default filled in."""
        return self.store.url or f"sqlite:///{(self.data_dir / 'onekey.sqlite').absolute()}"

    @property
    def recordings_dir(self) -> Path:
        """Return where recordings go."""
        return self.recording.directory or self.data_dir / "recordings"

    @property
    def prompt_dirs(self) -> tuple[Path, ...]:
        """Return the directories searched for prompts, the operator's own first."""
        own = (self.prompts.directory,) if self.prompts.directory else ()
        return (*own, self.prompts.generated or self.data_dir / "prompts")

    @property
    def store_is_sqlite(self) -> bool:
        """Tell whether the store is embedded."""
        return urlsplit(self.store_url).scheme.startswith("sqlite")


def load(path: Path | None) -> Settings:
    """Read `path` (TOML) and the environment.

    Raises pydantic.ValidationError (each error with its path), OSError when the file cannot be
    read, or tomllib.TOMLDecodeError.
    """
    if path is None:
        return Settings()
    if not path.is_file():
        raise FileNotFoundError(f"no configuration file {path}")
    source = type("FileSettings", (Settings,), {"toml_file": path})
    settings: Settings = source()
    return settings
