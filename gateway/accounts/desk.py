"""The SIP accounts in memory, loaded from the store and followed."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, Select, select, update

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import TerminalId
from gateway.accounts import passwords
from gateway.accounts.model import Account, AccountChanged, AccountKind
from gateway.agents.model import AgentId
from gateway.store.database import Database
from gateway.store.schema import SIP_ACCOUNTS
from gateway.store.upsert import replace

_log = structlog.get_logger()

# Rows per read: about 10 ms of the loop, so that a press can pass.
_CHUNK: Final = 2000
# How often accounts that another process changed are looked for, in seconds.
_FOLLOW_EVERY: Final = 5.0
# Rows stamped this long before the newest one known are read again: their transaction may have
# ended later than the newest's. In seconds; covers some difference of clocks.
_OVERLAP: Final = 5.0


def _unheard(_change: AccountChanged) -> None:
    """Take a change that no edge waits for."""


class AccountDesk:
    """One per daemon. Accounts of another realm than `realm` are void: their digests do not match.

    `changes` is called on the loop for each account that was made, changed or revoked after
    `load`, here or by another process; the edge is then told.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        realm: str,
        changes: Callable[[AccountChanged], None] = _unheard,
    ) -> None:
        """Raises ValueError for a realm that is no host name."""
        passwords.check_realm(realm)
        self._db = db
        self._clock = clock
        self._realm = realm
        self._changes = changes
        self._accounts: dict[str, Account] = {}
        self._newest = 0.0
        self._loaded = False
        # A look at the store must not bring back what a change has just replaced.
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._accounts)

    def ha1(self, user: str) -> str | None:
        """Return MD5(user:realm:password) in hexadecimal; None when nobody has this account."""
        account = self._accounts.get(user)
        return account.ha1.hex() if account is not None else None

    def terminal_of(self, user: str) -> TerminalId | None:
        """Return the terminal whose account it is; None also for an agent's."""
        owner = self._owner(user, AccountKind.TERMINAL)
        return TerminalId(owner) if owner is not None else None

    def agent_of(self, user: str) -> AgentId | None:
        """Return the agent whose account it is; None also for a terminal's."""
        owner = self._owner(user, AccountKind.AGENT)
        return AgentId(owner) if owner is not None else None

    async def load(self) -> None:
        """Fill the desk from the store; raises StoreUnavailable."""
        foreign = 0
        query = select(SIP_ACCOUNTS).order_by(SIP_ACCOUNTS.c.user).limit(_CHUNK)
        rows = await self._rows(query)
        while rows:
            foreign += sum(row.enabled and row.realm != self._realm for row in rows)
            self._take(rows)
            rows = await self._rows(query.where(SIP_ACCOUNTS.c.user > rows[-1].user))
        self._loaded = True
        if foreign:
            _log.warning("accounts_of_another_realm", count=foreign, realm=self._realm)

    async def follow(self) -> None:
        """Take what other processes changed, every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(_FOLLOW_EVERY)
            try:
                await self.refresh()
            except StoreUnavailable as error:
                _log.warning("accounts_not_refreshed", error=str(error))

    async def refresh(self) -> None:
        """Take what was changed since the last look; raises StoreUnavailable."""
        async with self._turn:
            await self._refresh()

    async def _refresh(self) -> None:
        at, user = SIP_ACCOUNTS.c.changed_at, SIP_ACCOUNTS.c.user
        since, after = self._newest - _OVERLAP, ""
        while True:
            query = select(SIP_ACCOUNTS).where((at > since) | ((at == since) & (user > after)))
            rows = await self._rows(query.order_by(at, user).limit(_CHUNK))
            self._take(rows)
            if len(rows) < _CHUNK:
                return
            since, after = rows[-1].changed_at, rows[-1].user

    async def put(self, user: str, password: str, kind: AccountKind, owner: str | None) -> None:
        """Make an account or give it another password or owner; the password is not kept.

        Raises ValueError (never with the password in it) or StoreUnavailable.
        """
        passwords.check_user(user)
        passwords.check(password, user)
        digest = passwords.ha1(user, self._realm, password)
        values = {
            "user": user,
            "realm": self._realm,
            "ha1": digest.hex(),
            "kind": kind.value,
            "owner": owner,
            "enabled": True,
            "changed_at": self._clock.time(),
        }
        write = partial(_put, values=values)
        new = Account(digest, kind, owner)
        async with self._turn:
            await self._db.write(write, then=lambda _: self._set(user, new))
        _log.info("account_put", user=user, kind=kind.value, owner=owner)

    async def remove(self, user: str) -> bool:
        """Revoke an account; False when there was none. Raises StoreUnavailable."""
        write = partial(_revoke, user=user, now=self._clock.time())
        async with self._turn:
            removed = await self._db.write(write, then=lambda _: self._set(user, None))
        if removed:
            _log.info("account_removed", user=user)
        return removed

    def _owner(self, user: str, kind: AccountKind) -> str | None:
        account = self._accounts.get(user)
        return account.owner if account is not None and account.kind is kind else None

    async def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return await self._db.read(lambda connection: connection.execute(query).all())

    def _take(self, rows: Sequence[Row[Any]]) -> None:
        for row in rows:
            self._newest = max(self._newest, row.changed_at)
            mine = row.enabled and row.realm == self._realm
            self._set(row.user, _account(row) if mine else None)

    def _set(self, user: str, account: Account | None) -> None:
        """Take an account as it is now, None for one that is no more, and tell what changed."""
        before = self._accounts.get(user)
        if account is None:
            self._accounts.pop(user, None)
        elif before != account:
            self._accounts[user] = account
        if self._loaded and before != account:
            self._changes(AccountChanged(user, account.ha1.hex() if account else None))


def _account(row: Row[Any]) -> Account:
    owner = row.user if row.owner == row.user else row.owner  # one string for both, where it can
    return Account(bytes.fromhex(row.ha1), AccountKind(row.kind), owner)


def _put(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(replace(connection, SIP_ACCOUNTS), values)


def _revoke(connection: Connection, user: str, now: float) -> bool:
    """Leave a row behind, without the digest, that tells the other processes."""
    mine = (SIP_ACCOUNTS.c.user == user) & SIP_ACCOUNTS.c.enabled.is_(True)
    values = {"enabled": False, "ha1": "", "changed_at": now}
    return connection.execute(update(SIP_ACCOUNTS).where(mine).values(values)).rowcount == 1
