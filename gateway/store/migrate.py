"""Bring a store to the newest schema, or refuse one that is newer than this program."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

MIGRATIONS = Path(__file__).parent / "migrations"
# Any number will do; it keeps two daemons that start together from migrating at once.
_LOCK = 0x0E_4E_4B_45


class StoreTooNew(Exception):
    """A newer program has used this store; running an older one on it could lose data."""


def script_config() -> Config:
    """Return Alembic's configuration without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # Newer Alembic warns unless the separator of `version_locations` is named.
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine) -> None:
    """Run the missing migrations in one transaction.

    Raises StoreTooNew for a revision this program does not know, sqlalchemy.exc.DBAPIError when
    the store cannot be reached or written.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = script_config()
        _refuse_unknown(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _refuse_unknown(connection: Connection, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = set(MigrationContext.configure(connection).get_current_heads()) - known
    if unknown:
        raise StoreTooNew(
            f"the store is at schema {', '.join(sorted(unknown))}, this program knows up to "
            f"{scripts.get_current_head()}: start the newer version, or restore the backup that "
            "was made before the upgrade"
        )
