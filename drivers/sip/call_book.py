"""How many different calls a worker has carried, and which callers' numbers are taken. Pure."""

from collections import OrderedDict

from drivers.api.ids import CallId, LegId

# A worker of 4 legs carries 4 calls at a time; one that comes back after so many others counts
# as another call.
MEMORY = 256


class CallBook:
    """Remembers the latest calls."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._callers: OrderedDict[CallId, int] = OrderedDict()
        self.carried = 0

    def enter(self, call: CallId) -> None:
        """Note that a leg of `call` is carried here."""
        if call not in self._callers:
            self.carried += 1
            self._callers[call] = 0
        self._callers.move_to_end(call)
        if len(self._callers) > self._memory:
            self._callers.popitem(last=False)

    def caller(self, call: CallId) -> LegId:
        """Return the name of the next caller of `call`: "<call>.caller-<n>"."""
        self.enter(call)
        self._callers[call] += 1
        return LegId(f"{call}.caller-{self._callers[call]}")
