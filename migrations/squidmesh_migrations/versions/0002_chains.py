"""Runs that continue one another: the column by which the newest of them is found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")


def upgrade() -> None:
    op.add_column("squidmesh_runs", sa.Column("chain", ID))
    where = sa.text("chain IS NOT NULL")
    op.create_index(
        "squidmesh_runs_chain", "squidmesh_runs", ["chain", "id"], postgresql_where=where, sqlite_where=where
    )


def downgrade() -> None:
    op.drop_index("squidmesh_runs_chain", "squidmesh_runs")
    op.drop_column("squidmesh_runs", "chain")
