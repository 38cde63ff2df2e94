"""Alembic's entry: runs the migrations on the connection that gateway.store.migrate hands over."""

from alembic import context

from gateway.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite cannot alter tables in place
)
context.run_migrations()
