"""SQLAlchemy engines for the two databases, with the settings that our promises rest on."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

from gateway.config import StoreConfig

# Per connection, in KiB. Enough for the hot part of the indexes; the rest is in the system's cache.
_SQLITE_CACHE_KIB: Final = 4096
# The log shrinks back to this after a burst, in bytes.
_SQLITE_WAL_KEPT: Final = 64 * 1024 * 1024

# Far longer than any statement of ours takes to be thought of, far shorter than a shift.
IDLE_MS: Final = 10_000


def write_engine(url: str, config: StoreConfig) -> Engine:
    """Return an engine of one connection whose transactions take the write lock at once."""
    return _engine(make_url(url), config, size=1, begin="BEGIN IMMEDIATE", query_only=False)


def read_engine(url: str, config: StoreConfig) -> Engine:
    """Return an engine of `config.readers` connections that cannot write."""
    return _engine(make_url(url), config, size=config.readers, begin="BEGIN", query_only=True)


def _engine(url: URL, config: StoreConfig, *, size: int, begin: str, query_only: bool) -> Engine:
    sqlite = url.get_backend_name() == "sqlite"
    arguments = {"timeout": config.busy_timeout_s} if sqlite else _postgres_arguments(config)
    engine = create_engine(
        url, pool_size=size, max_overflow=0, pool_timeout=config.busy_timeout_s,
        connect_args=arguments,
    )  # fmt: skip
    if sqlite:
        _make_file(url)
        _prepare_sqlite(engine, begin, query_only=query_only)
    elif query_only:
        event.listen(engine, "begin", _begin_snapshot)
    return engine


def _postgres_arguments(config: StoreConfig) -> dict[str, Any]:
    wait_ms = int(config.busy_timeout_s * 1000)
    idle_ms = max(wait_ms, IDLE_MS)
    return {
        "connect_timeout": max(2, int(config.busy_timeout_s)),  # libpq knows no shorter one
        "tcp_user_timeout": wait_ms,  # an unplugged server is noticed, not waited for
        "application_name": "onekey-gateway",
        # A daemon that hangs inside a transaction must not keep the others from their rows; a
        # migration on a busy machine may think for seconds between two statements.
        "options": f"-c lock_timeout={wait_ms} -c idle_in_transaction_session_timeout={idle_ms}",
    }


def _begin_snapshot(connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _make_file(url: URL) -> None:
    if url.database:
        path = Path(url.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # it holds who called for help, and where


def _prepare_sqlite(engine: Engine, begin: str, *, query_only: bool) -> None:
    """Set the pragmas and let SQLAlchemy emit BEGIN itself.

    The driver's own transactions begin late (at the first change) and know no BEGIN IMMEDIATE;
    see "Enabling Non-Legacy SQLite Transactional Modes" in SQLAlchemy's SQLite chapter.
    """

    def on_connect(dbapi: Any, record: object) -> None:
        del record
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",  # NORMAL would lose the last commits at a power cut
            "foreign_keys = ON",
            f"cache_size = -{_SQLITE_CACHE_KIB}",  # negative means KiB
            f"journal_size_limit = {_SQLITE_WAL_KEPT}",
            f"query_only = {'ON' if query_only else 'OFF'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
