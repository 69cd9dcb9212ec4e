"""The first schema: runs, history, inbox, tasks, joins, workers, schedules and their ticks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
JSON_TEXT = sa.Text().with_variant(postgresql.JSON(), "postgresql")
POSITION = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNTED_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "squidmesh_runs",
        sa.Column("id", ID, primary_key=True),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attributes", JSON_TEXT),
        sa.Column("parent", ID),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("deadline", sa.BigInteger),
        sa.Column("code", sa.Text),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("worker", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("rollback", sa.Text),
    )
    _some("squidmesh_runs_key", "squidmesh_runs", ["key"], "key IS NOT NULL", unique=True)
    _some(
        "squidmesh_runs_due",
        "squidmesh_runs",
        ["queue", "priority", "due_at"],
        "due_at IS NOT NULL AND worker IS NULL",
    )
    _some("squidmesh_runs_held", "squidmesh_runs", ["worker"], "worker IS NOT NULL")
    _some("squidmesh_runs_parent", "squidmesh_runs", ["parent"], "parent IS NOT NULL")
    op.create_index("squidmesh_runs_status", "squidmesh_runs", ["status", "id"])

    op.create_table(
        "squidmesh_history",
        sa.Column("run_id", ID, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("events", JSON_TEXT, nullable=False),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "squidmesh_inbox",
        sa.Column("id", COUNTED_ID, primary_key=True, autoincrement=True),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("events", JSON_TEXT, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("squidmesh_inbox_run", "squidmesh_inbox", ["run_id", "id"])
    _some("squidmesh_inbox_key", "squidmesh_inbox", ["run_id", "key"], "key IS NOT NULL", unique=True)

    op.create_table(
        "squidmesh_tasks",
        sa.Column("run_id", ID, primary_key=True),
        sa.Column("position", POSITION, primary_key=True),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("lost", sa.Integer, nullable=False),
        sa.Column("max_lost", sa.Integer, nullable=False),
        sa.Column("join_position", sa.Text),
        sa.Column("spec", JSON_TEXT, nullable=False),
        sa.Column("progress", JSON_TEXT),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("scheduled_seq", sa.Integer, nullable=False),
    )
    _some("squidmesh_tasks_due", "squidmesh_tasks", ["queue", "priority", "due_at"], "worker IS NULL")
    _some("squidmesh_tasks_held", "squidmesh_tasks", ["worker"], "worker IS NOT NULL")

    op.create_table(
        "squidmesh_joins",
        sa.Column("run_id", ID, primary_key=True),
        sa.Column("position", POSITION, primary_key=True),
        sa.Column("remaining", sa.Integer, nullable=False),
        sa.Column("wake_at", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "squidmesh_workers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("queues", JSON_TEXT, nullable=False),
        sa.Column("code", JSON_TEXT, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )

    op.create_table(
        "squidmesh_schedules",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("definition", JSON_TEXT, nullable=False),
        sa.Column("origin", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("anchor", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("queued_at", sa.BigInteger),
        sa.Column("paused_at", sa.BigInteger),
        sa.Column("actor", sa.Text),
        sa.Column("note", sa.Text),
    )
    _some("squidmesh_schedules_due", "squidmesh_schedules", ["due_at"], "due_at IS NOT NULL AND paused_at IS NULL")
    _some(
        "squidmesh_schedules_queued",
        "squidmesh_schedules",
        ["queued_at"],
        "queued_at IS NOT NULL AND paused_at IS NULL",
    )
    op.create_table(
        "squidmesh_ticks",
        sa.Column("schedule", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("run_id", ID),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "squidmesh_schedule_runs",
        sa.Column("schedule", sa.Text, primary_key=True),
        sa.Column("run_id", ID, primary_key=True),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("schedule_runs", "ticks", "schedules", "workers", "joins", "tasks", "inbox", "history", "runs"):
        op.drop_table(f"squidmesh_{table}")


def _some(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    only = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=only, sqlite_where=only)
