"""Q.850 causes of legs, and who hung up."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from drivers.api.legs import LegOutcome

# SIP response → ISUP cause, RFC 3398 §8.2.6.1. 487 has none there: who cancels clears normally.
# 488 and 606 depend on a warning that we do not keep: 31, normal, unspecified.
_BY_CODE: Final[Mapping[int, int]] = {
    400: 41,
    401: 21,
    402: 21,
    403: 21,
    404: 1,
    405: 63,
    406: 79,
    407: 21,
    408: 102,
    410: 22,
    413: 127,
    414: 127,
    415: 79,
    416: 127,
    420: 127,
    421: 127,
    423: 127,
    480: 18,
    481: 41,
    482: 25,
    483: 25,
    484: 28,
    485: 1,
    486: 17,
    487: 16,
    488: 31,
    500: 41,
    501: 79,
    502: 38,
    503: 41,
    504: 102,
    505: 127,
    513: 127,
    600: 17,
    603: 21,
    604: 1,
    606: 31,
}
# ITU-T Q.850 table 1, for legs whose end no response tells.
_BY_OUTCOME: Final[Mapping[str, int]] = {
    LegOutcome.COMPLETED: 16,  # normal call clearing
    LegOutcome.CANCELLED: 16,
    LegOutcome.BUSY: 17,
    LegOutcome.NO_ANSWER: 19,  # user alerted, no answer
    LegOutcome.DECLINED: 21,
    LegOutcome.UNREACHABLE: 18,  # no user responding
    LegOutcome.LOST: 41,  # temporary failure
    LegOutcome.FAILED: 31,
}
# What decides by itself, whatever response came last: a BYE after 200, a ring until the end.
_FIRST: Final = frozenset(
    {LegOutcome.COMPLETED, LegOutcome.CANCELLED, LegOutcome.NO_ANSWER, LegOutcome.LOST}
)
_SAID: Final = re.compile(r"Q\.850\s*;\s*cause=([0-9]{1,3})(?![0-9])", re.ASCII)


class Side(StrEnum):
    """Who ended a leg; closed."""

    GATEWAY = "gateway"
    PEER = "peer"
    NETWORK = "network"  # nobody: its worker, its path or its far end died
    UNKNOWN = ""


def q850(outcome: str, code: int | None, reason: str) -> int | None:
    """Return the cause (1 to 127) of a leg: what the peer said, else what its end means."""
    said = _SAID.search(reason)
    if said is not None and 1 <= int(said[1]) <= 127:
        return int(said[1])
    if outcome not in _FIRST and code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    return _BY_OUTCOME.get(outcome)


def ended_by(outcome: str, code: int | None, by_us: object) -> Side:
    """Return who ended a leg; `by_us` is the worker's word, where it was kept."""
    if outcome == LegOutcome.LOST:
        return Side.NETWORK
    if isinstance(by_us, bool):
        return Side.GATEWAY if by_us else Side.PEER
    if outcome == LegOutcome.CANCELLED:
        return Side.GATEWAY
    answered = outcome == LegOutcome.COMPLETED
    return Side.PEER if code is not None and code >= 300 and not answered else Side.UNKNOWN
