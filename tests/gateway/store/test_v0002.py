"""A store of the version before gets accounts and agents and keeps its terminals."""

from alembic import command
from sqlalchemy import text

from gateway.config import StoreConfig
from gateway.store.engine import write_engine
from gateway.store.migrate import script_config, upgrade


def test_terminals_are_kept_and_agents_can_be_written(store_url: str) -> None:
    engine = write_engine(store_url, StoreConfig())
    with engine.begin() as connection:
        config = script_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO terminals (id, kind, model, driver, sip_uri, label, language,"
                " training, updated_at) VALUES ('t', 'phone', '', 'mqtt', '', '', 'zh', :no, 1)"
            ),
            {"no": False},
        )
    upgrade(engine)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT id FROM terminals")).scalars().all() == ["t"]
        connection.execute(
            text("INSERT INTO agents (id, label, sip_user, enabled) VALUES ('a', '', '1', :yes)"),
            {"yes": True},
        )
        connection.execute(
            text("INSERT INTO agent_groups (agent, \"group\", rank) VALUES ('a', 'sos', 0)")
        )
    engine.dispose()
