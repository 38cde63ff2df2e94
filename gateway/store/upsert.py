"""INSERT with ON CONFLICT, which SQLAlchemy spells per dialect though both databases agree."""

from functools import cache

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that does nothing when a unique key exists; its rowcount tells."""
    return _insert_new(connection.dialect.name, table)


def replace(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that overwrites the row with the same primary key."""
    return _replace(connection.dialect.name, table)


def _insert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


# Cached because building a statement costs several times what running it does.
@cache
def _insert_new(dialect: str, table: Table) -> Insert:
    statement: Insert = _insert(dialect, table).on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


@cache
def _replace(dialect: str, table: Table) -> Insert:
    keys = [column.name for column in table.primary_key.columns]
    insert = _insert(dialect, table)
    rest = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
    statement: Insert = insert.on_conflict_do_update(index_elements=keys, set_=rest)
    return statement
