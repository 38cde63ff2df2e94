"""A registered terminal and its presence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from drivers.api.commands import Command
from drivers.api.events import Position
from drivers.api.ids import TerminalId


class Presence(StrEnum):
    """Whether a terminal can be counted on; closed, a metric label."""

    NEVER_SEEN = "never_seen"
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """A device as the operator registered it. Personal data stays in the subscriber's record."""

    id: TerminalId
    kind: str = "portable"  # phone, app, tv, portable, kiosk
    model: str = ""
    driver: str = "mqtt"
    sip_uri: str = ""  # its own voice; empty when it has none
    site: str | None = None
    subscriber: str | None = None  # id only
    label: str = ""  # what the operator calls it ("kiosk north gate"), not a person's name
    language: str = "zh-CN"
    training: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalView:
    """A terminal with what is known of it now."""

    terminal: Terminal
    presence: Presence
    last_seen_at: float | None = None
    boot: int | None = None
    battery: int | None = None
    signal_dbm: int | None = None
    position: Position | None = None
    vitals: Mapping[str, float] = field(default_factory=dict)


class TerminalDirectory(Protocol):
    """Known terminals, in memory; changes go through the store first."""

    def get(self, terminal: TerminalId) -> Terminal | None:
        """Return a registered terminal."""
        ...

    def view(self, terminal: TerminalId) -> TerminalView | None:
        """Return a registered terminal with its presence and last measurements."""
        ...


class TerminalMessenger(Protocol):
    """Messages down to terminals."""

    def tell(self, terminal: TerminalId, command: Command) -> None:
        """Send in order per terminal; never blocks, repeats on a broken link, bounded."""
        ...

    def remember(self, terminal: TerminalId, driver: str) -> None:
        """Note by which driver a terminal that is not registered can be answered."""
        ...
