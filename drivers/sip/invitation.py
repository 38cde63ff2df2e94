"""What an incoming INVITE says about itself, and whom we take one from. Pure.

PJSUA hands the message over as text only, so the few header fields that matter are read here
(RFC 3261 §7.3.1, §20). Everything that leaves this module is cleaned and bounded.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import unquote

from drivers.api.ids import CallId
from protocols.text import clean_text

CALL_HEADER = "x-onekey-call"  # set by the edge, which removes any that a peer has sent
MAX_HEADERS = 32  # passed on; far above what the edge adds
MAX_VALUE = 500  # characters of one header; a Geolocation with a long URI stays below
_PASSED_ON = frozenset(
    {
        "alert-info",
        "call-info",
        "geolocation",
        "p-asserted-identity",
        "priority",
        "resource-priority",
        "subject",
        "user-agent",
    }
)
_COMPACT = {"f": "from", "t": "to", "s": "subject"}  # RFC 3261 §7.3.3
_CALL_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_USER = re.compile(r"(?:sips?:([^@>;?\s]*)@|tel:([^>;?\s]*))", re.IGNORECASE)
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*<')


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A call that the edge sent here. Header names in lower case, several values joined by ", "."""

    call: CallId
    from_user: str
    from_name: str
    from_uri: str
    to_user: str
    headers: Mapping[str, str]


def invitation_of(message: str) -> Invitation | None:
    """Return what the INVITE in `message` says; None unless it names exactly one good call id."""
    headers = headers_of(message)
    calls = headers.get(CALL_HEADER, [])
    if len(calls) != 1 or not _CALL_ID.fullmatch(calls[0]):
        return None
    sender = headers.get("from", [""])[0]
    return Invitation(
        call=CallId(calls[0]),
        from_user=_user_of(sender),
        from_name=_name_of(sender),
        from_uri=clean_text(_uri_of(sender)),
        to_user=_user_of(headers.get("to", [""])[0]),
        headers=_passed_on(headers),
    )


def headers_of(message: str) -> dict[str, list[str]]:
    """Return the header fields of a SIP message by lower-case name, values in order, unfolded."""
    head = message.split("\r\n\r\n", 1)[0]
    found: dict[str, list[str]] = {}
    for line in re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            found.setdefault(_COMPACT.get(key, key), []).append(value.strip())
    return found


def transfer_target(uri: str) -> tuple[str, bool]:
    """Return the cleaned URI of a Refer-To without header parts, and whether it asked for Replaces.

    The header parts (RFC 3261 §19.1.1) are the peer's orders to us; none of them is followed.
    """
    bare, _, wishes = _uri_of(uri).partition("?")
    return clean_text(bare), "replaces=" in wishes.lower()


class Trust:
    """The addresses that may send us calls."""

    def __init__(self, trusted: Sequence[str], *, bind_address: str) -> None:
        """Take addresses and networks; none means this machine. Raises ValueError for others."""
        self._networks = [ip_network(one) for one in trusted or ("127.0.0.0/8", "::1/128")]
        own = ip_address(bind_address)
        if not trusted and not own.is_unspecified:
            self._networks.append(ip_network(own))

    def covers(self, source: str) -> bool:
        """Tell whether `source` ("address:port" or "[address]:port") may call."""
        try:
            address = ip_address(source.rpartition(":")[0].strip("[]"))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _passed_on(headers: Mapping[str, Iterable[str]]) -> dict[str, str]:
    kept = (
        (name, values)
        for name, values in headers.items()
        if name in _PASSED_ON or (name.startswith("x-") and name != CALL_HEADER)
    )
    told = {
        clean_text(name): clean_text(", ".join(values), limit=MAX_VALUE) for name, values in kept
    }
    return dict(list(told.items())[:MAX_HEADERS])


def _uri_of(value: str) -> str:
    """Return the URI of a name-addr or addr-spec (RFC 3261 §25.1)."""
    after_name = value[quoted.end() - 1 :] if (quoted := _QUOTED.match(value)) else value
    _, bracket, rest = after_name.partition("<")
    return (rest.partition(">")[0] if bracket else after_name.partition(";")[0]).strip()


def _user_of(value: str) -> str:
    found = _USER.match(_uri_of(value))
    user = (found[1] or found[2] or "") if found else ""
    return clean_text(unquote(user.partition(":")[0]))  # without the password some still send


def _name_of(value: str) -> str:
    quoted = _QUOTED.match(value)
    if quoted:
        return clean_text(re.sub(r"\\(.)", r"\1", quoted[1]))
    return clean_text(value.partition("<")[0]) if "<" in value else ""
