"""A store of the version before gets tasks and keeps its calls."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, inspect, text

from gateway.config import StoreConfig
from gateway.store.engine import write_engine
from gateway.store.migrate import script_config, upgrade


@pytest.fixture
def old(store_url: str) -> Iterator[Engine]:
    engine = write_engine(store_url, StoreConfig())
    with engine.begin() as connection:
        config = script_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        _add_call(connection)
    yield engine
    engine.dispose()


def _add_call(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO incidents (id, terminal, kind, event, state, state_at, flags, event_id,"
            " pressed_at, received_at, opened_at, presses, note, revision, lines, closed_at)"
            " VALUES ('i1', 't', 'sos', 'press', 'closed', 0, '', 'e', 0, 0, 0, 1, '', 1, 0, 9)"
        )
    )
    connection.execute(
        text(
            "INSERT INTO calls (id, incident, flow, started_at, state, ended_at, outcome)"
            " VALUES ('c1', 'i1', 'emergency', 1, :state, 2, 'completed')"
        ),
        {"state": b"{}"},
    )


def test_calls_are_kept_and_tasks_can_be_written(old: Engine) -> None:
    upgrade(old)
    with old.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM calls")).scalar() == 1
        connection.execute(
            text(
                "INSERT INTO tasks (id, call, incident, terminal, kind, created_at, due_at, note,"
                " version) VALUES ('k1', 'c1', 'i1', 't', 'missed', 1, 2, '', 1)"
            )
        )


def test_open_tasks_have_a_small_index(old: Engine) -> None:
    upgrade(old)
    found = {index["name"]: index for index in inspect(old).get_indexes("tasks")}
    where = found["ix_tasks_open"]["dialect_options"][f"{old.dialect.name}_where"]
    assert "done_at IS NULL" in str(where)
    assert found["uq_tasks_call"]["unique"]


def test_the_record_is_read_in_the_order_of_its_index(sqlite_url: str) -> None:
    engine = write_engine(sqlite_url, StoreConfig())
    upgrade(engine)
    asked = "SELECT id FROM calls WHERE ended_at >= 1 ORDER BY ended_at DESC, id DESC LIMIT 5"
    with engine.begin() as connection:
        plan = str(connection.execute(text(f"EXPLAIN QUERY PLAN {asked}")).all())
    assert "ix_calls_ended" in plan
    assert "TEMP B-TREE" not in plan
    engine.dispose()
