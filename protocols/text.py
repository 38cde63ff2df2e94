"""Cleaning of text that a peer chose, before it reaches logs, SIP headers or a page."""

import unicodedata

# Long enough for a name or an address line, short enough for a log line and a SIP header.
MAX_PEER_TEXT = 200


def clean_text(text: str, *, limit: int = MAX_PEER_TEXT) -> str:
    """Return `text` without control, format, surrogate or private-use characters, cut to `limit`.

    Line ends become spaces, so a peer can forge neither a log line nor a SIP header (CR/LF
    injection). Direction overrides (category Cf) go because they make a page show another text
    than the one stored.
    """
    head = text[: limit * 4].replace("\r", " ").replace("\n", " ").replace("\t", " ")
    kept = (c for c in head if unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return "".join(kept).strip()[:limit]
