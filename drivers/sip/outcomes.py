"""What a SIP final response means to a call flow (RFC 3261 §21), and the Reason we give."""

from collections.abc import Mapping
from enum import StrEnum

from drivers.api.legs import LegOutcome
from protocols.text import clean_text


class Ending(StrEnum):
    """Who or what ended a leg."""

    PEER = "peer"
    COMMAND = "command"  # hang_up, or the worker quits
    RING_TIMEOUT = "ring_timeout"  # our own timer: it rang long enough
    NO_REPLY = "no_reply"  # our own timer: not even 100 Trying came back


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


def outcome_of(code: int | None, *, answered: bool, rang: bool, ending: Ending) -> LegOutcome:
    """Return the outcome of a leg that ended with the final response `code`."""
    if answered:
        lost = ending is Ending.PEER and code in _DEAD_DIALOG
        return LegOutcome.LOST if lost else LegOutcome.COMPLETED
    if ending is Ending.COMMAND:
        return LegOutcome.CANCELLED
    if ending is not Ending.PEER or code in _SILENT:
        return LegOutcome.NO_ANSWER if rang else LegOutcome.UNREACHABLE
    return _BY_CODE.get(code or 0, LegOutcome.FAILED)


def reason_header(text: str, *, answered: bool) -> str:
    """Return a Reason header value (RFC 3326) for our BYE (`answered`) or CANCEL."""
    cause = "Q.850;cause=16" if answered else "SIP;cause=487"
    return f"{cause};text={quoted(text)}"


def quoted(text: str, *, limit: int = 60) -> str:
    """Return `text` as a SIP quoted-string (RFC 3261 §25.1), cleaned and cut to `limit`."""
    inner = clean_text(text, limit=limit).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
