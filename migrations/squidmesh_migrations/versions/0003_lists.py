"""Lists: what an operator asks for is found by index, and a run's row counts what its rollbacks have left behind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

GROUP = ["workflow", "version", "status", "id"]


def upgrade() -> None:
    op.add_column("squidmesh_runs", sa.Column("orphans", sa.Integer))
    op.drop_index("squidmesh_runs_status", "squidmesh_runs")
    _some("blocked", ["status", "id"], "code IS NOT NULL")
    _some("over", GROUP, "ended_at IS NOT NULL")
    _some("open", GROUP, "ended_at IS NULL AND worker IS NULL")
    _some("reason", ["reason", "id"], "reason IS NOT NULL AND ended_at IS NULL AND worker IS NULL")
    _some("deadline", ["deadline", "created_at", "id"], "deadline IS NOT NULL AND ended_at IS NULL")
    _some("timed", ["id"], "deadline IS NOT NULL AND ended_at IS NULL")
    _some("rollback", ["id"], "rollback IS NOT NULL")
    _some("orphans", ["id"], "orphans > 0")
    attributed = sa.text("attributes IS NOT NULL")
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "squidmesh_runs_attributes",
            "squidmesh_runs",
            [sa.text("(attributes::jsonb) jsonb_path_ops")],
            postgresql_using="gin",
            postgresql_where=attributed,
        )
    else:
        op.create_index("squidmesh_runs_attributed", "squidmesh_runs", ["id"], sqlite_where=attributed)


def downgrade() -> None:
    attributes = "attributes" if op.get_bind().dialect.name == "postgresql" else "attributed"
    for name in ("blocked", "over", "open", "reason", "deadline", "timed", "rollback", "orphans", attributes):
        op.drop_index(f"squidmesh_runs_{name}", "squidmesh_runs")
    op.create_index("squidmesh_runs_status", "squidmesh_runs", ["status", "id"])
    op.drop_column("squidmesh_runs", "orphans")


def _some(name: str, columns: list[str], where: str) -> None:
    only = sa.text(where)
    op.create_index(f"squidmesh_runs_{name}", "squidmesh_runs", columns, postgresql_where=only, sqlite_where=only)
