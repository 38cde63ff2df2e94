"""What an operator does from the command line: registers terminals, agents and SIP accounts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.accounts.adding import add_account as put_account
from gateway.accounts.desk import AccountDesk
from gateway.agents.csv_file import read_agents
from gateway.agents.desk import register as register_agents
from gateway.clock import SystemClock
from gateway.config import DEFAULT_REALM, Settings
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.terminals.csv_file import read_terminals
from gateway.terminals.directory import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOwner:
    """Whose account it is (one of the two), and its password if it is not to be made."""

    terminal: str | None
    agent: str | None
    password: str | None = None


async def import_terminals(settings: Settings, file: Path) -> int:
    """Register the terminals of a CSV file; returns how many. Raises CsvErrors, OSError."""
    terminals = read_terminals(file)
    async with _store(settings) as database:
        await Directory(database, SystemClock(), settings.presence).register(terminals)
    return len(terminals)


async def import_agents(settings: Settings, file: Path) -> int:
    """Register the agents of a CSV file; returns how many. Raises CsvErrors, OSError."""
    agents = read_agents(file)
    async with _store(settings) as database:
        await register_agents(database, SystemClock(), agents)
    return len(agents)


async def add_account(settings: Settings, user: str, owner: AccountOwner) -> str | None:
    """Make a SIP account or change its password; returns a password that was made here.

    A running daemon takes it within seconds. Raises ValueError for a bad user or password.
    """
    realm = str(settings.edge.get("realm", DEFAULT_REALM))
    async with _store(settings) as database:
        desk = AccountDesk(database, SystemClock(), realm)
        await desk.load()
        return await put_account(
            desk, user, terminal=owner.terminal, agent=owner.agent, password=owner.password
        )


async def migrate(settings: Settings) -> None:
    """Bring the store to this version's schema."""
    async with _store(settings):
        return


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[Database]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.store, settings.store_url, Metrics())
    await database.start()
    try:
        yield database
    finally:
        await database.stop()
