"""One terminal may not drown the others: token buckets per terminal, SOS with one of its own.

Refused events are acknowledged to the broker, but not to the terminal: it repeats them, as the
contract asks, and is heard once its bucket has filled again.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from drivers.api.events import AnyTerminalEvent, KeyPressed
from drivers.api.ids import EventId, TerminalId
from drivers.mqtt.config import FloodConfig

SOS_KEY = "sos"

# Committed SOS ids remembered per terminal: a repeat of one of them is not a new press.
REMEMBERED_IDS = 16


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float

    def take(self, now: float, *, burst: int, per_second: float) -> bool:
        self.level = min(float(burst), self.level + (now - self.at) * per_second)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass(slots=True)
class _Terminal:
    events: _Bucket
    sos: _Bucket
    committed: OrderedDict[EventId, None] = field(default_factory=OrderedDict)


class FloodGuard:
    """Decides by terminal, event and time (monotonic seconds); holds no more than `terminals`."""

    def __init__(self, config: FloodConfig) -> None:
        self._config = config
        self._terminals: OrderedDict[TerminalId, _Terminal] = OrderedDict()

    def __len__(self) -> int:
        return len(self._terminals)

    def admits(self, event: AnyTerminalEvent, now: float, *, redelivered: bool) -> bool:
        """Tell whether `event` may pass. `redelivered`: the broker gave it to us before."""
        config = self._config
        terminal = self._terminal(event.terminal, now)
        if terminal.events.take(now, burst=config.burst, per_second=config.per_second):
            return True
        if not _is_sos(event) or event.event_id in terminal.committed:
            return False
        # A redelivery has been admitted before and its commit was interrupted: it owes nothing.
        return redelivered or terminal.sos.take(
            now, burst=config.sos_burst, per_second=config.sos_per_second
        )

    def committed(self, event: AnyTerminalEvent) -> None:
        """Remember a committed SOS: from now on its id is a repeat."""
        terminal = self._terminals.get(event.terminal)
        if terminal is None or not _is_sos(event):
            return
        terminal.committed[event.event_id] = None
        if len(terminal.committed) > REMEMBERED_IDS:
            terminal.committed.popitem(last=False)

    def _terminal(self, name: TerminalId, now: float) -> _Terminal:
        found = self._terminals.get(name)
        if found is None:
            found = _Terminal(
                _Bucket(self._config.burst, now), _Bucket(self._config.sos_burst, now)
            )
            self._terminals[name] = found
            if len(self._terminals) > self._config.terminals:
                self._terminals.popitem(last=False)
        else:
            self._terminals.move_to_end(name)
        return found


def _is_sos(event: AnyTerminalEvent) -> bool:
    return isinstance(event, KeyPressed) and event.key == SOS_KEY
