"""SIP accounts: who may register at the edge, and who that is."""

from dataclasses import dataclass
from enum import StrEnum


class AccountKind(StrEnum):
    """Whose phone it is."""

    TERMINAL = "terminal"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Account:
    """An account in memory; as small as it can be, there are 100,000 of them."""

    ha1: bytes  # 16 bytes
    kind: AccountKind
    owner: str | None  # id of the terminal or the agent; None: nobody's yet


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """What the edge must learn: `ha1` is its new HA1 in hexadecimal, None when revoked."""

    user: str
    ha1: str | None
