"""How the database is doing.

The rule of this file: nothing is changed, and nothing is read that grows with the runs that have ended.
"""

from __future__ import annotations

from typing import Final

from squidmesh.ports import Health, TableSize, Waiting
from squidmesh.store.database import Database

_GONE: Final = (
    "worker IS NOT NULL AND NOT EXISTS "
    "(SELECT 1 FROM squidmesh_workers AS w WHERE w.id = h.worker AND w.expires_at > {now})"
)
_WAITING: Final = (
    ("squidmesh_runs", "due_at", "due_at <= {now} AND worker IS NULL"),
    ("squidmesh_tasks", "due_at", "due_at <= {now} AND worker IS NULL"),
    ("squidmesh_inbox", "at", "1 = 1"),
    ("squidmesh_schedules", "due_at", "due_at <= {now} AND paused_at IS NULL"),
)
_SERVER: Final = {
    "postgresql": "SELECT 'PostgreSQL ' || current_setting('server_version'), {now}",
    "sqlite": "SELECT 'SQLite ' || sqlite_version(), {now}",
}
_TABLES: Final = """
SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND left(relname, 10) = 'squidmesh_' ORDER BY relname
"""
_FILE: Final = (
    "SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)


def health(database: Database) -> Health:
    ((server, now),) = database.read(_SERVER[database.dialect.name])
    due_runs, due_tasks, inbox, late = (_waiting(database, *asked) for asked in _WAITING)
    tables, size, free = _sizes(database)
    return Health(
        server=server, now=now, due_runs=due_runs, due_tasks=due_tasks,
        stranded_runs=_stranded(database, "squidmesh_runs"), stranded_tasks=_stranded(database, "squidmesh_tasks"),
        inbox=inbox, late_schedules=late, tables=tables, bytes=size, free=free,
    )  # fmt: skip


def _waiting(database: Database, table: str, time: str, where: str) -> Waiting:
    ((count, oldest),) = database.read(f"SELECT count(*), min({time}) FROM {table} WHERE {where}")
    return Waiting(count, oldest)


def _stranded(database: Database, table: str) -> int:
    ((count,),) = database.read(f"SELECT count(*) FROM {table} AS h WHERE {_GONE}")
    return int(count)


def _sizes(database: Database) -> tuple[tuple[TableSize, ...], int, int]:
    if database.dialect.name == "sqlite":
        ((pages, free, size),) = database.read(_FILE)
        return (), pages * size, free * size
    tables = tuple(TableSize(*row) for row in database.read(_TABLES))
    return tables, sum(table.bytes for table in tables), 0
