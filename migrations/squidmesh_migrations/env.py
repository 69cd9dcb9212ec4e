"""Runs the migrations on the connection that ``squidmesh.store.migrate`` gives."""

from __future__ import annotations

from alembic import context

from squidmesh.store.migrate import VERSION_TABLE
from squidmesh.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
