"""What can be asked of the database.

The rule of this file: nothing is changed. Each question is one statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from squidmesh.ports import Capability, Due, HistoryRow, InboxRow, RunRow, TaskRow, WorkerRow
from squidmesh.store import schedules
from squidmesh.store.database import Database
from squidmesh.store.rows import (
    CODE,
    HISTORY,
    INBOX,
    RUN,
    TASK,
    WORKER,
    codes,
    history_row,
    inbox_row,
    known_id,
    known_ids,
    run_row,
    task_row,
    worker_row,
)


def run(database: Database, run_id: str, connection: Any) -> RunRow | None:
    plain = known_id(run_id)
    if plain is None:
        return None
    rows = database.read(f"SELECT {RUN} FROM squidmesh_runs WHERE id = :run_id", connection, run_id=plain)
    return run_row(rows[0]) if rows else None


def run_by_key(database: Database, key: str, workflow: str | None, connection: Any) -> RunRow | None:
    also = "" if workflow is None else " AND workflow = :workflow"
    rows = database.read(
        f"SELECT {RUN} FROM squidmesh_runs WHERE key = :key{also}", connection, key=key, workflow=workflow
    )
    return run_row(rows[0]) if rows else None


def newest(database: Database, chain: str) -> RunRow | None:
    rows = database.read(f"SELECT {RUN} FROM squidmesh_runs WHERE chain = :chain ORDER BY id DESC LIMIT 1", chain=chain)
    return run_row(rows[0]) if rows else None


def history(database: Database, run_id: str, after: int, connection: Any) -> list[HistoryRow]:
    plain = known_id(run_id)
    if plain is None:
        return []
    rows = database.read(
        f"SELECT {HISTORY} FROM squidmesh_history WHERE run_id = :run_id AND seq > :after ORDER BY seq",
        connection,
        run_id=plain,
        after=after,
    )
    return [history_row(row) for row in rows]


def histories(database: Database, run_ids: Sequence[str]) -> dict[str, list[HistoryRow]]:
    found: dict[str, list[HistoryRow]] = {}
    rows = database.read(
        f"SELECT {HISTORY} FROM squidmesh_history WHERE run_id {{in:run_ids:uuid}} ORDER BY run_id, seq",
        run_ids=database.dialect.listed(known_ids(run_ids)),
    )
    for row in map(history_row, rows):
        found.setdefault(row.run_id, []).append(row)
    return found


def count_open(database: Database) -> dict[str, int]:
    """Two sets that do not meet, each by an index of its own: those that are open, those that are held."""
    found: dict[str, int] = {}
    for status, count in database.read(_NOT_ENDED):
        found[status] = found.get(status, 0) + count
    return found


_NOT_ENDED = """
SELECT status, count(*) FROM squidmesh_runs WHERE ended_at IS NULL AND worker IS NULL GROUP BY status
UNION ALL
SELECT status, count(*) FROM squidmesh_runs WHERE worker IS NOT NULL GROUP BY status
"""


def last(database: Database, run_id: str) -> HistoryRow | None:
    plain = known_id(run_id)
    if plain is None:
        return None
    rows = database.read(
        f"SELECT {HISTORY} FROM squidmesh_history WHERE run_id = :run_id ORDER BY seq DESC LIMIT 1",
        run_id=plain,
    )
    return history_row(rows[0]) if rows else None


def inbox(database: Database, run_id: str) -> list[InboxRow]:
    plain = known_id(run_id)
    if plain is None:
        return []
    rows = database.read(f"SELECT {INBOX} FROM squidmesh_inbox WHERE run_id = :run_id ORDER BY id", run_id=plain)
    return [inbox_row(row) for row in rows]


def tasks(database: Database, run_id: str) -> list[TaskRow]:
    plain = known_id(run_id)
    if plain is None:
        return []
    rows = database.read(
        f"SELECT {TASK} FROM squidmesh_tasks WHERE run_id = :run_id ORDER BY scheduled_seq, position",
        run_id=plain,
    )
    return [task_row(row) for row in rows]


def tasks_of(database: Database, worker: str) -> list[TaskRow]:
    rows = database.read(
        f"SELECT {TASK} FROM squidmesh_tasks WHERE worker = :worker ORDER BY run_id, position", worker=worker
    )
    return [task_row(row) for row in rows]


def workers(database: Database) -> list[WorkerRow]:
    rows = database.read(f"SELECT {WORKER} FROM squidmesh_workers ORDER BY started_at, id")
    return [worker_row(row) for row in rows]


def holdings(database: Database) -> dict[str, tuple[int, int]]:
    rows = database.read(
        "SELECT worker, sum(run), sum(task) FROM ("
        "SELECT worker, 1 AS run, 0 AS task FROM squidmesh_runs WHERE worker > '' UNION ALL "
        "SELECT worker, 0, 1 FROM squidmesh_tasks WHERE worker > ''"
        ") AS h GROUP BY worker"
    )
    return {worker: (int(runs), int(tasks)) for worker, runs, tasks in rows}


def expired(database: Database, limit: int) -> list[str]:
    rows = database.read(
        "SELECT id FROM squidmesh_workers WHERE expires_at <= {now} ORDER BY expires_at LIMIT :limit",
        limit=limit,
    )
    return [row[0] for row in rows]


# The sleeping rows of a queue are in the index behind the due ones of each priority. So the priorities that occur
# are jumped to one by one, and each is read from its front: what sleeps is never counted.
_PRIORITIES = """
WITH RECURSIVE q(queue) AS (#queues#), p(queue, priority) AS (
    SELECT q.queue, (SELECT min(priority) FROM #table# WHERE queue = q.queue AND #open#) FROM q
    UNION ALL
    SELECT p.queue, (SELECT min(priority) FROM #table# WHERE queue = p.queue AND priority > p.priority AND #open#)
    FROM p WHERE p.priority IS NOT NULL
)
"""
_QUEUES = {"postgresql": "SELECT unnest(:queues::text[])", "sqlite": "SELECT value FROM json_each(:queues)"}
_OPEN = {
    "squidmesh_runs": "due_at IS NOT NULL AND worker IS NULL",
    "squidmesh_tasks": "worker IS NULL",
}
_KNOWN = {"squidmesh_runs": f"{CODE} {{in:codes}}", "squidmesh_tasks": "step {in:steps}"}
_COUNTS = """
SELECT p.queue,
    (SELECT count(*) FROM (
        SELECT 1 FROM #table#
        WHERE queue = p.queue AND priority = p.priority AND #open# AND due_at <= {now} AND #known# LIMIT :limit
    ) AS d),
    (SELECT min(due_at) FROM #table#
        WHERE queue = p.queue AND priority = p.priority AND #open# AND due_at > {now})
FROM p WHERE p.priority IS NOT NULL
"""


def _asked(database: Database, text: str, table: str) -> str:
    text = text.replace("#queues#", _QUEUES[database.dialect.name]).replace("#table#", table)
    return text.replace("#open#", _OPEN[table]).replace("#known#", _KNOWN[table])


def due(database: Database, can: Capability, limit: int) -> Due:
    found: dict[str, dict[str, int]] = {}
    next_times: list[int] = []
    for table in _OPEN:
        rows = database.read(
            _asked(database, _PRIORITIES + _COUNTS, table),
            queues=database.dialect.listed(can.queues),
            codes=database.dialect.listed(codes(can)),
            steps=database.dialect.listed(can.steps),
            limit=limit,
        )
        counts: dict[str, int] = {}
        for queue, count, next_at in rows:
            if count:
                counts[queue] = min(limit, counts.get(queue, 0) + count)
            if next_at is not None:
                next_times.append(next_at)
        found[table] = counts
    ticking, next_tick = schedules.due(database, can)
    if next_tick is not None:
        next_times.append(next_tick)
    return Due(found["squidmesh_runs"], found["squidmesh_tasks"], min(next_times, default=None), ticking, next_tick)


def priorities(database: Database, queue: str) -> list[int]:
    rows = database.read(
        _asked(database, _PRIORITIES, "squidmesh_runs")
        + "SELECT priority FROM p WHERE priority IS NOT NULL ORDER BY priority",
        queues=database.dialect.listed([queue]),
    )
    return [row[0] for row in rows]


def held(database: Database, worker: str) -> list[tuple[str, int]]:
    rows = database.read("SELECT {text:id}, epoch FROM squidmesh_runs WHERE worker = :worker", worker=worker)
    return [(row[0], row[1]) for row in rows]


def due_runs(database: Database, queue: str, can: Capability, limit: int) -> list[str]:
    found: list[str] = []
    for priority in priorities(database, queue):
        rows = database.read(
            f"SELECT {{text:id}} FROM squidmesh_runs WHERE queue = :queue AND priority = :priority "
            f"AND {_OPEN['squidmesh_runs']} AND due_at <= {{now}} AND {_KNOWN['squidmesh_runs']} "
            "ORDER BY due_at LIMIT :limit",
            queue=queue,
            priority=priority,
            codes=database.dialect.listed(codes(can)),
            limit=limit - len(found),
        )
        found += [row[0] for row in rows]
        if len(found) >= limit:
            break
    return found
