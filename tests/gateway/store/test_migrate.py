from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from gateway.config import StoreConfig
from gateway.store.engine import write_engine
from gateway.store.migrate import StoreTooNew, upgrade
from gateway.store.schema import METADATA


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    engine = write_engine(store_url, StoreConfig())
    yield engine
    engine.dispose()


def test_migrated_schema_equals_the_tables_of_the_code(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, METADATA) == []


def test_partial_indexes_are_those_of_the_code(engine: Engine) -> None:
    upgrade(engine)
    option = f"{engine.dialect.name}_where"
    for table, name, condition in (
        ("incidents", "uq_incidents_open_terminal", "closed_at IS NULL"),
        ("calls", "ix_calls_running", "ended_at IS NULL"),
    ):
        found = {index["name"]: index for index in inspect(engine).get_indexes(table)}[name]
        assert condition in str(found["dialect_options"][option])
        assert bool(found["unique"]) == name.startswith("uq_")


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    upgrade(engine)
    before = inspect(engine).get_table_names()
    upgrade(engine)
    assert inspect(engine).get_table_names() == before


def test_newer_store_is_refused_with_a_reason(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreTooNew, match=r"9999.*newer version"):
        upgrade(engine)
    with engine.connect() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
        )


def test_failed_upgrade_leaves_nothing_behind(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE legs (id TEXT)"))  # in the way of a later statement
    with pytest.raises(Exception, match="legs"):
        upgrade(engine)
    assert inspect(engine).get_table_names() == ["legs"]


def test_store_is_private_to_its_user(sqlite_url: str) -> None:
    engine = write_engine(sqlite_url, StoreConfig())
    upgrade(engine)
    assert Path(sqlite_url.removeprefix("sqlite:///")).stat().st_mode & 0o077 == 0
    engine.dispose()


def test_a_second_open_incident_of_a_terminal_is_refused(engine: Engine) -> None:
    upgrade(engine)
    row = (
        "INSERT INTO incidents (id, terminal, kind, event, state, state_at, flags, event_id,"
        " pressed_at, received_at, opened_at, presses, note, revision, lines, closed_at)"
        " VALUES (:id, 't', 'sos', 'press', 'open', 0, '', 'e', 0, 0, 0, 1, '', 1, 0, :closed)"
    )
    with engine.begin() as connection:
        connection.execute(text(row), {"id": "1", "closed": 5.0})
        connection.execute(text(row), {"id": "2", "closed": None})
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text(row), {"id": "3", "closed": None})
