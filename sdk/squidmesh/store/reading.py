"""What can be asked of the database.

The rule of this file: nothing is changed. Each question is one statement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from squidmesh.ports import Capability, Due, HistoryRow, InboxRow, RunFilter, RunRow, TaskRow, WorkerRow
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


def runs(database: Database, wanted: RunFilter, limit: int, before: str | None) -> list[RunRow]:
    conditions: list[str] = []
    parameters: dict[str, Any] = {"limit": limit}

    def narrow(condition: str, name: str, value: Any) -> None:
        if value is not None:
            conditions.append(condition)
            parameters[name] = value

    def one_of(column: str, values: Sequence[str] | None) -> None:
        if values is not None:
            narrow(f"{column} {{in:{column}}}", column, database.dialect.listed(values))

    one_of("status", wanted.status)
    one_of("reason", wanted.reason)
    one_of("rollback", wanted.rollback)
    one_of("workflow", wanted.workflow)
    narrow("version = :version", "version", wanted.version)
    narrow("key = :key", "key", wanted.key)
    narrow("created_at >= :created_after", "created_after", wanted.created_after)
    narrow("created_at < :created_before", "created_before", wanted.created_before)
    narrow("ended_at >= :ended_after", "ended_after", wanted.ended_after)
    narrow("ended_at < :ended_before", "ended_before", wanted.ended_before)
    for name, column, operator, value in (
        ("parent", "parent", "=", wanted.parent),
        ("before", "id", "<", before),
    ):
        if value is not None:
            plain = known_id(value)
            if plain is None:
                return []
            narrow(f"{column} {operator} :{name}", name, plain)
    if wanted.attributes:
        narrow(_ATTRIBUTES[database.dialect.name], "attributes", json.dumps(dict(wanted.attributes)))
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    found = database.read(f"SELECT {RUN} FROM squidmesh_runs AS r {where}ORDER BY id DESC LIMIT :limit", **parameters)
    return [run_row(row) for row in found]


# A run has the attributes when each one asked for is there with an equal value.
_ATTRIBUTES = {
    "postgresql": """NOT EXISTS (
        SELECT FROM json_each(:attributes::json) AS w
        WHERE (r.attributes -> w.key)::jsonb IS DISTINCT FROM w.value::jsonb
    )""",
    "sqlite": """NOT EXISTS (
        SELECT 1 FROM json_each(:attributes) AS w WHERE NOT EXISTS (
            SELECT 1 FROM json_each(r.attributes) AS a
            WHERE a.key = w.key AND a.value IS w.value
                AND replace(a.type, 'real', 'integer') = replace(w.type, 'real', 'integer')
        )
    )""",
}


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


def count_runs(database: Database, statuses: Sequence[str]) -> dict[str, int]:
    """By the index on status: of those that are not asked for, none is looked at."""
    rows = database.read(
        "SELECT status, count(*) FROM squidmesh_runs WHERE status {in:status} GROUP BY status",
        status=database.dialect.listed(statuses),
    )
    found = dict(rows)
    return {status: found.get(status, 0) for status in statuses}


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
