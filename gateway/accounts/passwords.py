"""Passwords of SIP accounts: made, judged, digested; never kept."""

import hashlib
import re
import secrets
import string
from typing import Final

# Without characters that look alike on a phone's display or on paper, and typed without Shift.
ALPHABET: Final = "".join(sorted(set(string.ascii_lowercase + string.digits) - set("01ilo")))
LENGTH: Final = 20  # of 31 characters: 99 bits, out of reach of anyone who guesses MD5 digests
LEAST: Final = 12  # of a password that a person chose, or that a phone's maker burnt in
MOST: Final = 128
# Characters that need no escaping in a digest's user name (RFC 7616 §3.4) and in a SIP URI.
_USER = re.compile(r"[A-Za-z0-9+][A-Za-z0-9_.+-]{0,63}", re.ASCII)
_REALM = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)


def generate() -> str:
    """Return a new random password."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def check(password: str, user: str) -> None:
    """Raise ValueError, without the password in it, when it is too short or not printable."""
    if not LEAST <= len(password) <= MOST:
        raise ValueError(f"a password has {LEAST} to {MOST} characters")
    if not password.isprintable() or password != password.strip():
        raise ValueError("a password has printable characters, and no space at its ends")
    if user.lower() in password.lower() or len(set(password)) < LEAST // 2:
        raise ValueError("a password does not hold the user's name, nor one character many times")


def check_user(user: str) -> None:
    """Raise ValueError for a user name that SIP URIs or digests would have to escape."""
    if not _USER.fullmatch(user):
        raise ValueError("a user is 1 to 64 of A-Z a-z 0-9 _ . + -, first a letter, digit or +")


def check_realm(realm: str) -> None:
    """Raise ValueError for a realm that is no host name."""
    if not _REALM.fullmatch(realm):
        raise ValueError("a realm is a host name")


def ha1(user: str, realm: str, password: str) -> bytes:
    """Return MD5(user:realm:password), 16 bytes (RFC 2617 §3.2.2.2, RFC 7616 §3.4.2, UTF-8).

    MD5 is what SIP phones and the edge's `pv_www_authenticate` have in common.
    """
    text = f"{user}:{realm}:{password}".encode()
    return hashlib.md5(text, usedforsecurity=False).digest()
