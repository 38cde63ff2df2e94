"""The registered terminals in memory, loaded from the store and followed."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from sys import intern
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from drivers.api.clock import Clock
from drivers.api.errors import StoreUnavailable
from drivers.api.ids import TerminalId
from gateway.config import PresenceConfig
from gateway.store.database import Database
from gateway.store.schema import TERMINAL_STATUS, TERMINALS
from gateway.store.upsert import replace
from gateway.terminals.model import Presence, Terminal, TerminalView
from gateway.terminals.presence import patience, presence
from gateway.terminals.status import PRESENCES, StatusColumns

_log = structlog.get_logger()

# Rows per read or write: about 10 ms of the loop or of the writer, so that a press can pass.
_CHUNK: Final = 2000
# How often terminals that another process registered are looked for, in seconds.
_FOLLOW_EVERY: Final = 5.0
# Rows stamped this long before the newest one known are read again: their transaction may have
# ended later than the newest's. In seconds; covers a chunk and some difference of clocks.
_OVERLAP: Final = 5.0


class Directory:
    """Implements gateway.terminals.model.TerminalDirectory for up to some 100,000 terminals."""

    def __init__(self, db: Database, clock: Clock, config: PresenceConfig) -> None:
        self._db = db
        self._clock = clock
        self._config = config
        self._slots: dict[TerminalId, int] = {}
        self._terminals: list[Terminal] = []
        self._order: list[TerminalId] = []
        self._sorted = True
        self._newest = 0.0
        self._mark: Row[Any] | None = None  # of the rows that `refresh` took last
        self.status = StatusColumns()

    def __len__(self) -> int:
        return len(self._terminals)

    def get(self, terminal: TerminalId) -> Terminal | None:
        """Return a registered terminal."""
        slot = self._slots.get(terminal)
        return None if slot is None else self._terminals[slot]

    def view(self, terminal: TerminalId) -> TerminalView | None:
        """Return a registered terminal with its presence and last measurements."""
        slot = self._slots.get(terminal)
        return None if slot is None else self.status.view(slot, self._terminals[slot])

    def slot(self, terminal: TerminalId) -> int | None:
        """Return where `status` keeps a registered terminal."""
        return self._slots.get(terminal)

    def at(self, slot: int) -> Terminal:
        """Return the terminal of a slot."""
        return self._terminals[slot]

    def count_by_presence(self) -> Mapping[Presence, int]:
        """Return how many terminals are in each presence."""
        return dict(zip(PRESENCES, self.status.counts, strict=True))

    def page(
        self, after: TerminalId | None, limit: int, presence: Presence | None = None
    ) -> Sequence[TerminalView]:
        """Return up to `limit` terminals in the order of their ids, beginning behind `after`."""
        if not self._sorted:
            self._order.sort()  # nearly sorted already, so quick for any number
            self._sorted = True
        begin = 0 if after is None else bisect_right(self._order, after)
        found: list[TerminalView] = []
        for position in range(begin, len(self._order)):
            if len(found) >= limit:
                break
            slot = self._slots[self._order[position]]
            if presence is None or self.status.presence(slot) is presence:
                found.append(self.status.view(slot, self._terminals[slot]))
        return found

    async def load(self) -> None:
        """Fill the directory from the store; raises StoreUnavailable."""
        newest = (await self._rows(select(func.max(TERMINALS.c.updated_at))))[0][0] or 0.0
        # Before the rows, so that `refresh` finds what is registered while we read them.
        self._mark = (await self._rows(_mark(newest - _OVERLAP)))[0]
        query = select(TERMINALS).order_by(TERMINALS.c.id).limit(_CHUNK)
        rows = await self._rows(query)
        while rows:
            self._take(rows)
            rows = await self._rows(query.where(TERMINALS.c.id > rows[-1].id))
        await self._load_status()

    async def _load_status(self) -> None:
        query = select(TERMINAL_STATUS).order_by(TERMINAL_STATUS.c.terminal).limit(_CHUNK)
        rows = await self._rows(query)
        while rows:
            self._restore(rows)
            rows = await self._rows(query.where(TERMINAL_STATUS.c.terminal > rows[-1].terminal))

    async def follow(self) -> None:
        """Take what other processes registered, every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(_FOLLOW_EVERY)
            try:
                await self.refresh()
            except StoreUnavailable as error:
                _log.warning("terminals_not_refreshed", error=str(error))

    async def refresh(self) -> None:
        """Take what was registered since the last look; raises StoreUnavailable."""
        since, after = self._newest - _OVERLAP, ""
        # One import stamps all its rows alike: without this they were read again for ever.
        mark = (await self._rows(_mark(since)))[0]
        if mark == self._mark:
            return
        while True:
            later = TERMINALS.c.updated_at > since
            tied = (TERMINALS.c.updated_at == since) & (TERMINALS.c.id > after)
            query = select(TERMINALS).where(later | tied)
            query = query.order_by(TERMINALS.c.updated_at, TERMINALS.c.id).limit(_CHUNK)
            rows = await self._rows(query)
            self._take(rows)
            if len(rows) < _CHUNK:
                break
            since, after = rows[-1].updated_at, rows[-1].id
        self._mark = mark  # what came meanwhile changes it and is read the next time

    async def register(self, terminals: Iterable[Terminal]) -> None:
        """Insert or replace terminals, thousands in a transaction; raises StoreUnavailable."""
        waiting = list(terminals)
        now = self._clock.time()
        for begin in range(0, len(waiting), _CHUNK):
            chunk = waiting[begin : begin + _CHUNK]
            rows = [_values(terminal, now) for terminal in chunk]
            await self._db.write(partial(_upsert, rows=rows))
            for terminal in chunk:
                self._put(terminal)

    async def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        return await self._db.read(lambda connection: connection.execute(query).all())

    def _take(self, rows: Sequence[Row[Any]]) -> None:
        for row in rows:
            self._newest = max(self._newest, row.updated_at)
            terminal = _terminal(row)
            slot = self._slots.get(terminal.id)
            if slot is None or self._terminals[slot] != terminal:
                self._put(terminal)

    def _put(self, terminal: Terminal) -> None:
        slot = self._slots.get(terminal.id)
        if slot is not None:
            self._terminals[slot] = terminal
            return
        self._slots[terminal.id] = self.status.add()
        self._terminals.append(terminal)
        self._order.append(terminal.id)
        self._sorted = False

    def _restore(self, rows: Sequence[Row[Any]]) -> None:
        now = self._clock.time()
        for row in rows:
            slot = self._slots.get(row[0])
            if slot is not None:
                self.status.restore(slot, row)
                limits = patience(self._config, self._terminals[slot].model)
                self.status.set_presence(slot, presence(self.status.signs(slot), limits, now))


def _mark(since: float) -> Select[Any]:
    """Return a query that tells whether rows stamped after `since` are the same as before."""
    stamp = TERMINALS.c.updated_at
    columns: list[ColumnElement[Any]] = [func.count(), func.max(stamp), func.sum(stamp)]
    return select(*columns).where(stamp > since)


def _upsert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(replace(connection, TERMINALS), rows)


def _values(terminal: Terminal, now: float) -> dict[str, Any]:
    return {
        "id": terminal.id,
        "kind": terminal.kind,
        "model": terminal.model,
        "driver": terminal.driver,
        "sip_uri": terminal.sip_uri,
        "site": terminal.site,
        "subscriber": terminal.subscriber,
        "label": terminal.label,
        "language": terminal.language,
        "training": terminal.training,
        "updated_at": now,
    }


def _terminal(row: Sequence[Any]) -> Terminal:
    """Return the terminal of a row; words that many share are kept once."""
    # By position, in the order of the table: a start reads this for every terminal.
    name, kind, model, driver, sip_uri, site, subscriber, label, language, training, _ = row
    return Terminal(
        id=TerminalId(name),
        kind=intern(kind),
        model=intern(model),
        driver=intern(driver),
        sip_uri=sip_uri,
        site=intern(site) if site is not None else None,
        subscriber=subscriber,
        label=label,
        language=intern(language),
        training=training,
    )
