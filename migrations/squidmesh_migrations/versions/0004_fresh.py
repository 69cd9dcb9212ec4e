"""Runs that have not begun: the index by which they are found among all that is due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    where = sa.text("status = 'pending' AND due_at IS NOT NULL AND worker IS NULL")
    op.create_index(
        "squidmesh_runs_fresh",
        "squidmesh_runs",
        ["queue", "priority", "due_at", "id"],
        postgresql_where=where,
        sqlite_where=where,
    )


def downgrade() -> None:
    op.drop_index("squidmesh_runs_fresh", "squidmesh_runs")
