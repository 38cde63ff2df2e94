"""One terminal's waiting commands: bounded, in order, and particular about what is dropped."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from drivers.api.commands import (
    Command,
    DeviceCommand,
    EventState,
    ExpectCall,
    ShowText,
    Speak,
    TellEventState,
)

# A terminal that is cut off gathers about ten commands per incident.
OUTBOX_MAX: Final = 32

# What a person would miss least goes first. An acknowledgement stays longest, because the
# terminal repeats its event until it has one.
_RANKS: Final[dict[type[Command], int]] = {ShowText: 0, Speak: 1, DeviceCommand: 2, ExpectCall: 3}
_RANK_PROGRESS: Final = 4
_RANK_CLOSED: Final = 5
_RANK_ACKNOWLEDGED: Final = 6
_STATE_RANKS: Final = {
    EventState.COMMITTED: _RANK_ACKNOWLEDGED,
    EventState.REFUSED: _RANK_ACKNOWLEDGED,
    EventState.CLOSED: _RANK_CLOSED,
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """A command and when it was handed over (monotonic seconds)."""

    command: Command
    since: float


def label(command: Command) -> str:
    """Return the metric label of a command; closed."""
    match command:
        case TellEventState():
            return command.state.value
        case ShowText():
            return "show_text"
        case Speak():
            return "speak"
        case ExpectCall():
            return "expect_call"
        case DeviceCommand():
            return "device_command"


def expires_at(command: Command) -> float | None:
    """Return the Unix time in seconds after which a command means nothing any more."""
    match command:
        case ShowText() | Speak() | DeviceCommand():
            return command.expires_at
        case ExpectCall():
            return command.auto_answer_until
        case TellEventState():
            return None


def rank(command: Command) -> int:
    """Return how much is lost with a command; the lowest is dropped first."""
    if isinstance(command, TellEventState):
        return _STATE_RANKS.get(command.state, _RANK_PROGRESS)
    return _RANKS[type(command)]


class Outbox:
    """The first parcel may be under way (`sending`) and is then never dropped."""

    def __init__(self) -> None:
        self._parcels: deque[Parcel] = deque()
        self.sending = False
        self.failures = 0  # of the first parcel, in a row

    def __len__(self) -> int:
        return len(self._parcels)

    def first(self) -> Parcel:
        """Return the parcel whose turn it is."""
        return self._parcels[0]

    def pop(self) -> None:
        """Remove the first parcel."""
        self._parcels.popleft()
        self.failures = 0

    def add(self, parcel: Parcel) -> Command | None:
        """Queue a parcel; return the command that had to go for it, if any."""
        self._parcels.append(parcel)
        if len(self._parcels) <= OUTBOX_MAX:
            return None
        begin = 1 if self.sending else 0
        victim = min(range(begin, len(self._parcels)), key=lambda i: rank(self._parcels[i].command))
        dropped = self._parcels[victim].command
        del self._parcels[victim]
        if victim == 0:
            self.failures = 0
        return dropped
