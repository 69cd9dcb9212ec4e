"""A crowd of waiting runs, made of one that waits: its rows, copied in the database.

The rule of this file: what is copied was written by a worker; to have workers write 100,000 of them takes minutes.
"""

from __future__ import annotations

import psycopg

#: Microseconds in a second.
SECOND = 1_000_000

_COPY = """
WITH copy AS MATERIALIZED (
    SELECT gen_random_uuid() AS id, due_at + n * %(over)s::bigint / %(count)s AS due, r.id AS original
    FROM squidmesh_runs AS r, generate_series(1, %(count)s) AS n WHERE r.id = %(run_id)s
), runs AS (
    INSERT INTO squidmesh_runs
        (id, workflow, version, status, reason, queue, priority, attributes, created_at, due_at, epoch, length)
    SELECT c.id, workflow, version, status, reason, queue, priority, json_build_object('due', c.due), created_at,
        c.due, epoch, length
    FROM copy AS c JOIN squidmesh_runs AS r ON r.id = c.original ORDER BY c.due
)
INSERT INTO squidmesh_history (run_id, seq, epoch, events)
SELECT c.id, seq, epoch, events FROM copy AS c JOIN squidmesh_history ON run_id = c.original
"""
_ORDER = """
SELECT (attributes ->> 'due')::bigint, ended_at FROM squidmesh_runs
WHERE attributes ->> 'due' IS NOT NULL AND ended_at IS NOT NULL ORDER BY ended_at
"""


def copy(database: psycopg.Connection, run_id: str, count: int, over: float = 0.0) -> None:
    """Copy a waiting run so many times; what is due is spread over so many seconds after the original."""
    database.execute(_COPY, {"run_id": run_id, "count": count, "over": round(over * SECOND)})
    database.execute("ANALYZE squidmesh_runs, squidmesh_history")


def ended(database: psycopg.Connection) -> list[tuple[int, int]]:
    """When the copies were due, and when they ended, in the order of their ends."""
    return [(int(due), int(at)) for due, at in database.execute(_ORDER).fetchall()]
