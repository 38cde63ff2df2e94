"""What goes out with an emergency call beside its SDP: header lines and body parts, as plain data.

Whoever sends the INVITE makes a multipart/mixed of SDP and `parts` and adds `headers`; the codec
knows neither SIP stacks nor sockets.
"""

import re
from dataclasses import dataclass
from typing import Final

from protocols.errors import LocalUseError

# The part may be skipped by who does not understand it, so that data never cost a voice call
# (RFC 7852 §6.3; RFC 3261 §20.11: without `handling=optional` an unknown part means 415).
DISPOSITION: Final = "By-Reference;handling=optional"

# A Content-ID (RFC 2392) goes into header lines: nothing in it may need quoting.
_STEM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DOMAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", re.ASCII)

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class BodyPart:
    """One part of the multipart body; `content_id` stands between < and > on the wire."""

    content_type: str
    content_id: str
    body: bytes
    disposition: str = DISPOSITION


@dataclass(frozen=True, slots=True)
class Attached:
    """What to send; `notes` names what was left out and why, for the timeline."""

    headers: tuple[Header, ...] = ()
    parts: tuple[BodyPart, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Attached") -> "Attached":
        return Attached(
            self.headers + other.headers, self.parts + other.parts, self.notes + other.notes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Names this call's data: `stem` is unique per call (its leg id), `domain` is the sender's.

    Raises LocalUseError when either cannot stand in a header.
    """

    stem: str
    domain: str = "onekey.invalid"  # RFC 2606 §2: never anybody's

    def __post_init__(self) -> None:
        if not _STEM.fullmatch(self.stem) or not _DOMAIN.fullmatch(self.domain):
            raise LocalUseError(f"not for a Content-ID: {self.stem[:80]!r} {self.domain[:80]!r}")

    @property
    def reference(self) -> str:
        """Return the DataProviderReference that ties one provider's blocks together (§6)."""
        return f"{self.stem}@{self.domain}"

    def content_id(self, what: str) -> str:
        """Return the Content-ID of the part `what`."""
        return f"{what}.{self.stem}@{self.domain}"
