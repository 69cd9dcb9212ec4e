"""The schema, once, for both databases.

The rule of this file: columns and indexes only. Statements are in the modules beside it; how an older schema becomes
this one is in the migrations. Times are integer microseconds since the epoch; JSON is kept as the text it came as.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, literal_column, text
from sqlalchemy.dialects import postgresql

ID = String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
# Not sqlalchemy.JSON: on SQLite that type has numeric affinity, and would turn the text `1.0` into the number 1.
JSON_TEXT = Text().with_variant(postgresql.JSON(), "postgresql")
# Compared byte by byte, so that rows are locked in one order whatever language the database was made for.
POSITION = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNTED_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts only an INTEGER PRIMARY KEY

metadata = MetaData()


def _some(name: str, table: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over some rows only, on both databases."""
    return Index(
        f"squidmesh_{table}_{name}",
        *columns,
        unique=unique,
        postgresql_where=text(where),
        sqlite_where=text(where),
    )


runs = Table(
    "squidmesh_runs",
    metadata,
    Column("id", ID, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("key", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attributes", JSON_TEXT),
    Column("parent", ID),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("deadline", BigInteger),
    Column("code", Text),  # the code that blocked it
    Column("due_at", BigInteger),  # somebody must pick it up then; null: nobody need
    Column("worker", Text),  # who holds it
    Column("epoch", Integer, nullable=False),  # counts its holders
    Column("length", Integer, nullable=False),  # number of events; exact when nobody holds it
    Column("rollback", Text),  # outcome of the newest rollback, or walking
    Column("chain", ID),  # the first of the runs that continue one another
    Column("orphans", Integer),  # effects left by its rollbacks that nobody has answered for
    _some("key", "runs", "key", where="key IS NOT NULL", unique=True),
    _some("due", "runs", "queue", "priority", "due_at", where="due_at IS NOT NULL AND worker IS NULL"),
    _some(
        "fresh",
        "runs",
        "queue",
        "priority",
        "due_at",
        "id",
        where="status = 'pending' AND due_at IS NOT NULL AND worker IS NULL",
    ),
    _some("held", "runs", "worker", where="worker IS NOT NULL"),
    _some("parent", "runs", "parent", where="parent IS NOT NULL"),
    _some("chain", "runs", "chain", "id", where="chain IS NOT NULL"),
    _some("blocked", "runs", "status", "id", where="code IS NOT NULL"),  # by code, which other code may free
    # For lists, which are read group by group (listing.py). Three sets that do not meet: over, open, held.
    _some("over", "runs", "workflow", "version", "status", "id", where="ended_at IS NOT NULL"),
    _some("open", "runs", "workflow", "version", "status", "id", where="ended_at IS NULL AND worker IS NULL"),
    _some("reason", "runs", "reason", "id", where="reason IS NOT NULL AND ended_at IS NULL AND worker IS NULL"),
    _some("deadline", "runs", "deadline", "created_at", "id", where="deadline IS NOT NULL AND ended_at IS NULL"),
    _some("timed", "runs", "id", where="deadline IS NOT NULL AND ended_at IS NULL"),
    _some("rollback", "runs", "id", where="rollback IS NOT NULL"),
    _some("orphans", "runs", "id", where="orphans > 0"),
    Index(
        "squidmesh_runs_attributes",
        literal_column("(attributes::jsonb)").label("told"),
        postgresql_using="gin",
        postgresql_ops={"told": "jsonb_path_ops"},
        postgresql_where=text("attributes IS NOT NULL"),
    ).ddl_if(dialect="postgresql"),
    Index("squidmesh_runs_attributed", "id", sqlite_where=text("attributes IS NOT NULL")).ddl_if(dialect="sqlite"),
)

# One row is one append: a JSON array of events. It is atomic by being one row, and never updated.
history = Table(
    "squidmesh_history",
    metadata,
    Column("run_id", ID, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),  # number of its first event, from 1
    Column("epoch", Integer, nullable=False),
    Column("events", JSON_TEXT, nullable=False),
    sqlite_with_rowid=False,
)

inbox = Table(
    "squidmesh_inbox",
    metadata,
    Column("id", COUNTED_ID, primary_key=True, autoincrement=True),
    Column("run_id", ID, nullable=False),
    Column("kind", Text, nullable=False),  # of its first event; Note: of an attempt that goes on
    Column("key", Text),
    Column("events", JSON_TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("squidmesh_inbox_run", "run_id", "id"),
    _some("key", "inbox", "run_id", "key", where="key IS NOT NULL", unique=True),
    sqlite_autoincrement=True,  # an id that was folded in is never given again
)

tasks = Table(
    "squidmesh_tasks",
    metadata,
    Column("run_id", ID, primary_key=True),
    Column("position", POSITION, primary_key=True),
    Column("step", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("worker", Text),
    Column("number", Integer, nullable=False),  # attempts so far
    Column("lost", Integer, nullable=False),
    Column("max_lost", Integer, nullable=False),
    Column("join_position", Text),
    Column("spec", JSON_TEXT, nullable=False),
    Column("progress", JSON_TEXT),
    Column("claimed_at", BigInteger),
    Column("scheduled_seq", Integer, nullable=False),
    _some("due", "tasks", "queue", "priority", "due_at", where="worker IS NULL"),
    _some("held", "tasks", "worker", where="worker IS NOT NULL"),
)

joins = Table(
    "squidmesh_joins",
    metadata,
    Column("run_id", ID, primary_key=True),
    Column("position", POSITION, primary_key=True),
    Column("remaining", Integer, nullable=False),  # outcomes that are still out
    Column("wake_at", Integer, nullable=False),  # somebody must look at the run when no more than these remain
    sqlite_with_rowid=False,
)

workers = Table(
    "squidmesh_workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queues", JSON_TEXT, nullable=False),
    Column("code", JSON_TEXT, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

schedules = Table(
    "squidmesh_schedules",
    metadata,
    Column("name", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("definition", JSON_TEXT, nullable=False),
    Column("origin", Text),  # the workflow whose trigger it is
    Column("created_at", BigInteger, nullable=False),
    Column("anchor", BigInteger, nullable=False),  # where intervals are counted from
    Column("revision", BigInteger, nullable=False),  # another one with each change; never one that it had before
    Column("due_at", BigInteger),  # the next tick; null: there is none any more
    Column("queued_at", BigInteger),  # the tick that waits for the end of a run
    Column("paused_at", BigInteger),
    Column("actor", Text),  # who paused or resumed it last, and why
    Column("note", Text),
    _some("due", "schedules", "due_at", where="due_at IS NOT NULL AND paused_at IS NULL"),
    _some("queued", "schedules", "queued_at", where="queued_at IS NOT NULL AND paused_at IS NULL"),
)

# Kept when the schedule goes: a tick has one run, ever.
ticks = Table(
    "squidmesh_ticks",
    metadata,
    Column("schedule", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("outcome", Text, nullable=False),
    Column("run_id", ID),
    sqlite_with_rowid=False,
)

# The runs that a tick may meet; those that have ended are cleared away at a later tick.
schedule_runs = Table(
    "squidmesh_schedule_runs",
    metadata,
    Column("schedule", Text, primary_key=True),
    Column("run_id", ID, primary_key=True),
    sqlite_with_rowid=False,
)
