"""What the gateway says to terminals, in one vocabulary for all drivers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from drivers.api.ids import EventId, IncidentId


class EventState(StrEnum):
    """What became of an event, as the terminal shows it."""

    COMMITTED = "committed"  # we have it and will not lose it
    RINGING = "ringing"  # somebody is being rung
    ANSWERED = "answered"  # an agent has your call
    WAITING = "waiting"  # nobody answered yet; we keep trying
    CLOSED = "closed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class TellEventState:
    """Application acknowledgement and its later states."""

    event_id: EventId
    state: EventState
    incident: IncidentId | None = None
    text: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowText:
    """Show `text` until `expires_at`."""

    message_id: str
    text: str
    lang: str = "zh-CN"
    incident: IncidentId | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speak:
    """Play a stored prompt or speak `text`."""

    message_id: str
    prompt: str = ""
    text: str = ""
    lang: str = "zh-CN"
    incident: IncidentId | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectCall:
    """A call is about to ring: answer by yourself until `auto_answer_until`."""

    message_id: str
    incident: IncidentId
    auto_answer_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCommand:
    """Locate, ring, volume, config, reboot; answered by CommandReplied."""

    command_id: str
    name: str
    args: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    expires_at: float | None = None


Command = TellEventState | ShowText | Speak | ExpectCall | DeviceCommand
