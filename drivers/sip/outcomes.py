"""What a SIP final response means to a call flow (RFC 3261 §21), and the Reason we give."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from drivers.api.legs import LegOutcome
from protocols.text import clean_text

NORMAL_CLEARING = 16  # Q.850 §2.2.5
MAX_CAUSE = 127  # Q.850 §2.1: seven bits
MAX_REASON = 500  # characters of a peer's header that are looked at
# A header may list several reasons, separated by commas; the cause is a parameter of its own.
_Q850 = re.compile(r"(?:^|,)\s*Q\.850\s*(?:;[^,;]*)*?;\s*cause\s*=\s*(\d{1,3})\b", re.IGNORECASE)


class Ending(StrEnum):
    """Who or what ended a leg."""

    PEER = "peer"
    COMMAND = "command"  # hang_up, or the worker quits
    RING_TIMEOUT = "ring_timeout"  # our own timer: it rang long enough
    NO_REPLY = "no_reply"  # our own timer: not even 100 Trying came back
    REJECTION = "rejection"  # reject, of a caller
    UNDECIDED = "undecided"  # our own timer: nobody said what to do with the caller
    DESERTED = "deserted"  # no daemon is there to look after the caller
    NO_ACK = "no_ack"  # our own timer: the caller never confirmed our answer


# Responses to an INVITE whose meaning does not depend on whether it rang.
_BY_CODE: Mapping[int, LegOutcome] = {
    403: LegOutcome.DECLINED,
    404: LegOutcome.UNREACHABLE,
    410: LegOutcome.UNREACHABLE,
    486: LegOutcome.BUSY,
    502: LegOutcome.UNREACHABLE,
    503: LegOutcome.UNREACHABLE,
    504: LegOutcome.UNREACHABLE,
    600: LegOutcome.BUSY,
    603: LegOutcome.DECLINED,
    604: LegOutcome.UNREACHABLE,
    607: LegOutcome.DECLINED,  # RFC 8197: unwanted
}
# "Nobody came": after ringing the person did not answer, before it there was no device.
_SILENT = frozenset({408, 480})
# An answered call that ends with one of these was not hung up: the peer, its transport or the
# session refresh (RFC 4028) had died.
_DEAD_DIALOG = frozenset({408, 481, 503})

# What a caller is told for each outcome that a rejection may have.
REJECTIONS: Mapping[LegOutcome, int] = {
    LegOutcome.BUSY: 486,
    LegOutcome.DECLINED: 603,
    LegOutcome.NO_ANSWER: 480,
    LegOutcome.UNREACHABLE: 503,
    LegOutcome.FAILED: 500,
}
# What a caller is told when we end a call that was not answered. After 503 the edge asks for
# another place.
UNANSWERED: Mapping[Ending, int] = {
    Ending.COMMAND: 480,
    Ending.UNDECIDED: 480,
    Ending.DESERTED: 503,
}
REQUEST_TERMINATED = 487


def outcome_of(code: int | None, *, answered: bool, rang: bool, ending: Ending) -> LegOutcome:
    """Return the outcome of a leg that ended with the final response `code`."""
    if answered:
        lost = ending is Ending.NO_ACK or (ending is Ending.PEER and code in _DEAD_DIALOG)
        return LegOutcome.LOST if lost else LegOutcome.COMPLETED
    if ending is Ending.COMMAND:
        return LegOutcome.CANCELLED
    if ending is not Ending.PEER or code in _SILENT:
        return LegOutcome.NO_ANSWER if rang else LegOutcome.UNREACHABLE
    return _BY_CODE.get(code or 0, LegOutcome.FAILED)


def inbound_outcome_of(
    code: int | None, *, ending: Ending, verdict: LegOutcome | None
) -> LegOutcome:
    """Return the outcome of a caller's leg that ended before the answer."""
    if ending is Ending.REJECTION and verdict is not None:
        return verdict
    if ending is Ending.PEER:
        return LegOutcome.CANCELLED if code == REQUEST_TERMINATED else LegOutcome.FAILED
    if ending is Ending.UNDECIDED:
        return LegOutcome.NO_ANSWER
    return LegOutcome.UNREACHABLE if ending is Ending.DESERTED else LegOutcome.CANCELLED


def reason_header(text: str, *, answered: bool, cause: int | None = None) -> str:
    """Return a Reason header value (RFC 3326) for our BYE (`answered`) or CANCEL.

    `cause` is of Q.850; None: normal clearing after the answer, SIP 487 before it.
    """
    if cause is None and not answered:
        protocol = f"SIP;cause={REQUEST_TERMINATED}"
    else:
        protocol = f"Q.850;cause={NORMAL_CLEARING if cause is None else cause}"
    return f"{protocol};text={quoted(text)}" if text else protocol


def q850_of(reasons: Iterable[str]) -> int | None:
    """Return the Q.850 cause in Reason header values (RFC 3326), None when there is none."""
    for value in reasons:
        found = _Q850.search(value[:MAX_REASON])
        if found and 1 <= int(found[1]) <= MAX_CAUSE:
            return int(found[1])
    return None


def quoted(text: str, *, limit: int = 60) -> str:
    """Return `text` as a SIP quoted-string (RFC 3261 §25.1), cleaned and cut to `limit`."""
    inner = clean_text(text, limit=limit).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
