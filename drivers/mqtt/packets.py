"""Splits a read into MQTT 5 packets; a plain PUBLISH is opened here, in a microsecond. Pure.

Plain is what telemetry is: QoS 0, not retained, without properties (MQTT 5.0 §3.3). All other
packets are handed on closed, to the client library.
"""

from collections.abc import Callable

PLAIN_PUBLISH = 0x30
# Four bytes of seven bits are the longest Remaining Length (MQTT 5.0 §1.5.5).
LENGTH_BYTES = 4
MALFORMED = -1

Plain = Callable[[bytes, bytes], None]
Other = Callable[[int, bytes], None]


def split(data: bytes, plain: Plain, other: Other) -> int:
    """Give `plain` topic and payload, `other` first byte and body of each complete packet.

    Returns how many bytes were used; MALFORMED when a Remaining Length has no end.
    """
    at, end = 0, len(data)
    while end - at >= 2:
        size, body = data[at + 1], at + 2
        if size > 0x7F:
            size, body = _length(data, at + 1)
            if size == MALFORMED:
                return MALFORMED
        stop = body + size
        if body > end or stop > end:
            break
        if data[at] == PLAIN_PUBLISH and size > 2:
            # A property length of 0 follows the topic.
            begin = body + 2
            behind = begin + (data[body] << 8) + data[body + 1]
            if behind < stop and not data[behind]:
                plain(data[begin:behind], data[behind + 1 : stop])
                at = stop
                continue
        other(data[at], data[body:stop])
        at = stop
    return at


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return the Remaining Length at `at` and where the body begins; beyond the end: not there."""
    size = 0
    for digit in range(LENGTH_BYTES):
        if at + digit >= len(data):
            return 0, len(data) + 1
        size |= (data[at + digit] & 0x7F) << (7 * digit)
        if data[at + digit] < 0x80:
            return size, at + digit + 1
    return MALFORMED, at
