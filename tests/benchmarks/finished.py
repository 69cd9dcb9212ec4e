"""Finished runs in bulk: copies of one that has really run, made by the database, in the months before now.

The rule of this file: rows are what the engine writes, in the order in which it would have written them: a run's
history lies together, and the oldest at the front.
"""

from __future__ import annotations

from typing import Any

import psycopg

AT_ONCE = 50_000  # runs in one transaction
APART = 1_000  # microseconds between the starts of two runs

_IDS = """
CREATE TEMP TABLE made AS
SELECT n, at, (
    lpad(to_hex(at / 1000), 12, '0') || '7' || lpad(to_hex(mod(at, 1000) * 4), 3, '0')
    || '8' || substr(md5(n::text), 1, 15)
)::uuid AS id
FROM (SELECT n, %(first)s::bigint + n * %(apart)s::bigint AS at FROM generate_series(1, %(runs)s::int) AS n) AS t
"""
_COLUMNS = """workflow, version, status, reason, queue, priority, attributes, parent, deadline, code, due_at, worker,
    epoch, length, rollback"""
_RUNS = f"""
INSERT INTO squidmesh_runs (id, key, created_at, ended_at, {_COLUMNS})
SELECT made.id, 'finished-' || made.at, made.at, made.at + 1000, {_COLUMNS}
FROM made CROSS JOIN squidmesh_runs AS r WHERE r.id = %(like)s ORDER BY made.id
"""
_HISTORIES = """
INSERT INTO squidmesh_history (run_id, seq, epoch, events)
SELECT made.id, h.seq, h.epoch, h.events
FROM made CROSS JOIN squidmesh_history AS h WHERE h.run_id = %(like)s ORDER BY made.id, h.seq
"""


def make(database: str, like: str, runs: int, first: int) -> None:
    """Make so many, as if started from ``first`` (microseconds since the epoch) on, like the run of this id."""
    with psycopg.connect(database) as connection:
        connection.execute("SET synchronous_commit = off")
        for done in range(0, runs, AT_ONCE):
            some = min(AT_ONCE, runs - done)
            told = {"first": first + done * APART, "apart": APART, "runs": some, "like": like}
            connection.execute("DROP TABLE IF EXISTS made")
            connection.execute(_IDS, told)
            connection.execute(_RUNS, told)
            connection.execute(_HISTORIES, told)
            connection.commit()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE squidmesh_runs, squidmesh_history")


def sizes(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Bytes of the tables of runs and histories, with their indexes."""
    query = "SELECT pg_total_relation_size('squidmesh_runs'), pg_total_relation_size('squidmesh_history')"
    runs, history = connection.execute(query).fetchone() or (0, 0)
    return {"runs": int(runs), "history": int(history)}
