"""When a terminal counts as online: pure rules over its signs of life. Times are Unix seconds."""

from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from drivers.api.events import PresenceReported, TelemetryReported
from drivers.api.ids import TerminalId
from gateway.config import PresenceConfig
from gateway.terminals.model import Presence


class Signs(Struct, frozen=True):
    """What is known of a terminal's life. `gone` = its will came after its last sign of life."""

    last_seen_at: float | None = None
    boot: int | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """Silence in seconds after which a terminal is late, then offline."""

    late_s: float
    offline_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceChanged:
    """A terminal's presence is another one since `at`."""

    terminal: TerminalId
    before: Presence
    after: Presence
    at: float


def patience(config: PresenceConfig, model: str) -> Patience:
    """Return how long a terminal of `model` may be silent, by its expected heartbeat."""
    heartbeat = config.models.get(model, config.heartbeat_s)
    return Patience(heartbeat * config.late_after, heartbeat * config.offline_after)


def presence(signs: Signs, limits: Patience, now: float) -> Presence:
    """Return the presence at `now`."""
    if signs.last_seen_at is None:
        return Presence.OFFLINE if signs.gone else Presence.NEVER_SEEN
    silence = now - signs.last_seen_at
    if signs.gone or silence > limits.offline_s:
        return Presence.OFFLINE
    return Presence.LATE if silence > limits.late_s else Presence.ONLINE


def after_report(signs: Signs, report: PresenceReported) -> Signs:
    """Return the signs after a birth or a will.

    A will of an older boot than the last birth is void: the broker sends it when it notices, at
    last, that the connection before this one is dead. A birth counts with any boot, because a
    terminal whose counter was reset is alive all the same.
    """
    if report.online:
        return Signs(_later(signs.last_seen_at, report.received_at), report.boot)
    if signs.boot is not None and report.boot < signs.boot:
        return signs
    return replace(signs, boot=report.boot, gone=True)


def after_telemetry(signs: Signs, report: TelemetryReported) -> Signs:
    """Return the signs after a measurement, which proves life unless it is of an older boot."""
    if report.boot is not None and signs.boot is not None and report.boot < signs.boot:
        return signs
    boot = report.boot if report.boot is not None else signs.boot
    return Signs(_later(signs.last_seen_at, report.received_at), boot)


def _later(a: float | None, b: float) -> float:
    return b if a is None else max(a, b)
