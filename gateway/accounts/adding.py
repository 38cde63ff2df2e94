"""`onekey-gateway accounts add`: one account, its password given on stdin or made here."""

from typing import Final, TextIO

from gateway.accounts import passwords
from gateway.accounts.desk import AccountDesk
from gateway.accounts.model import AccountKind

# A line of a password and its end; more is a file given by mistake.
_LINE_MAX: Final = passwords.MOST + 2


def password_from(stream: TextIO) -> str:
    """Return the first line of `stream` without its end; raises ValueError when it is too long."""
    line = stream.readline(_LINE_MAX + 1)
    if len(line) > _LINE_MAX:
        raise ValueError(f"a password has {passwords.LEAST} to {passwords.MOST} characters")
    return line.rstrip("\r\n")


async def add_account(
    desk: AccountDesk,
    user: str,
    *,
    terminal: str | None = None,
    agent: str | None = None,
    password: str | None = None,
) -> str | None:
    """Make an account for a terminal or an agent, or change its password.

    Returns the password when it was made here, to be shown once; None when it was given. Raises
    ValueError (both or neither owner, a bad user or password) or StoreUnavailable.
    """
    if (terminal is None) == (agent is None):
        raise ValueError("an account is a terminal's or an agent's")
    kind = AccountKind.TERMINAL if terminal is not None else AccountKind.AGENT
    made = None if password is not None else passwords.generate()
    owner = terminal if terminal is not None else agent
    await desk.put(user, password if password is not None else made or "", kind, owner)
    return made
