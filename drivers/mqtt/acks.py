"""The one ordered acknowledgement pump of a connection.

PUBACKs leave in the order of the PUBLISHes (MQTT 5.0 §4.6), each only when its event is settled.
A token is good for the connection it was made on: packet ids are used again after a reconnect, so
a late acknowledgement would confirm another terminal's press.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class AckToken:
    """The right to acknowledge packet `mid` of connection `epoch`; None for QoS 0."""

    epoch: int
    mid: int | None
    settled: bool = False


class AckPump:
    """Keeps tokens in the order of arrival and acknowledges from the front."""

    def __init__(self) -> None:
        self._epoch = 0
        self._acknowledge: Callable[[int], None] | None = None
        self._waiting: deque[AckToken] = deque()
        self._unordered = 0

    @property
    def waiting(self) -> int:
        """Return how many messages of this connection are in our hands, QoS 0 included."""
        return len(self._waiting) + self._unordered

    def connected(self, acknowledge: Callable[[int], None]) -> None:
        """Begin a connection; `acknowledge` sends the PUBACK of a packet id."""
        self.disconnected()
        self._acknowledge = acknowledge

    def disconnected(self) -> None:
        """Make every token so far void: the broker will deliver those messages again."""
        self._epoch += 1
        self._acknowledge = None
        self._waiting.clear()
        self._unordered = 0

    def arrived(self, mid: int | None) -> AckToken:
        """Return the token for a message that just came in."""
        token = AckToken(self._epoch, mid)
        if mid is None:
            self._unordered += 1
        else:
            self._waiting.append(token)
        return token

    def is_current(self, token: AckToken) -> bool:
        """Tell whether the connection of `token` still lives."""
        return token.epoch == self._epoch

    def settle(self, token: AckToken) -> None:
        """Acknowledge as soon as everything before it is settled; a void token does nothing."""
        if not self.is_current(token) or token.settled:
            return
        token.settled = True
        if token.mid is None:
            self._unordered -= 1
            return
        while self._waiting and self._waiting[0].settled:
            mid = self._waiting.popleft().mid
            if self._acknowledge is not None and mid is not None:
                self._acknowledge(mid)
