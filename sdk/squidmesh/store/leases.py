"""Workers and their leases: coming, staying, leaving, and being taken for dead.

The rule of this file: what a worker holds is freed in the transaction in which its row goes, by itself or by one of
the others, never by two of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from squidmesh.ports import Capability, LostTasks
from squidmesh.store.clock import SyncedClock
from squidmesh.store.database import CLIENT_PATIENCE, Database, Statements
from squidmesh.store.messages import LAND, PING

_Lost: TypeAlias = tuple[str, str, str | None, str, bool]

ALIVE = "EXISTS (SELECT 1 FROM squidmesh_workers WHERE id = :worker AND expires_at > {now})"
# The number of a run's events; its row has it only while nobody holds it.
LENGTH = """COALESCE((
        SELECT h.seq + json_array_length(h.events) - 1 FROM squidmesh_history AS h
        WHERE h.run_id = squidmesh_runs.id ORDER BY h.seq DESC LIMIT 1
    ), length)"""


def register(database: Database, worker: str, host: str, pid: int, can: Capability, lease: float) -> None:
    code = {"workflows": [list(known) for known in can.workflows], "steps": list(can.steps)}
    if can.triggers:
        code["triggers"] = list(can.triggers)

    def ask() -> int:
        with database.autocommit() as statements:
            rows = statements.rows(
                _REGISTER,
                worker=worker,
                host=host,
                pid=pid,
                queues=json.dumps(can.queues),
                code=json.dumps(code),
                lease=_micros(lease),
            )
        now: int = rows[0][0]
        return now

    database.patiently(lambda _: _timed(database, ask), CLIENT_PATIENCE)


def renew(database: Database, worker: str, lease: float) -> bool:
    def ask() -> int | None:
        with database.autocommit() as statements:
            rows = statements.rows(_RENEW, worker=worker, lease=_micros(lease))
        return rows[0][0] if rows else None

    return database.patiently(lambda _: _timed(database, ask), lease / 3) is not None


def leave(database: Database, worker: str, lost: LostTasks) -> None:
    def attempt(_: bool) -> None:
        with database.transaction() as statements:
            tasks = statements.rows(_THEIR_TASKS, worker=worker)
            _free_lost(statements, _of(tasks, lost))
            statements.change(_FREE_TASKS, worker=worker)
            _free_runs(statements, worker)
            statements.change(_FORGET, worker=worker)

    database.patiently(attempt, CLIENT_PATIENCE)


def lose(database: Database, worker: str, lost: LostTasks) -> None:
    def attempt(_: bool) -> None:
        with database.transaction() as statements:
            _free_lost(statements, _of(statements.rows(_THEIR_TASKS, worker=worker), lost))

    database.patiently(attempt, CLIENT_PATIENCE)


def take_over(database: Database, worker: str, lost: LostTasks) -> int:
    def attempt(_: bool) -> int:
        with database.transaction() as statements:
            if not statements.rows(_LOCK_EXPIRED, worker=worker):
                return 0
            tasks = statements.rows(_THEIR_TASKS, worker=worker)
            theirs = _of(tasks, lost)
            _free_lost(statements, theirs)
            freed = len(theirs) + _free_runs(statements, worker)
            if len(theirs) == len(tasks):
                statements.change(_FORGET, worker=worker)
            return freed

    return database.patiently(attempt, CLIENT_PATIENCE)


def _of(tasks: list[Any], lost: LostTasks) -> list[_Lost]:
    """Those of the tasks that are lost: run, position, join, events for the inbox, and whether the task is over."""
    return [(row[0], row[1], row[2], *lost[row[0], row[1]]) for row in tasks if (row[0], row[1]) in lost]


def _free_lost(statements: Statements, theirs: list[_Lost]) -> None:
    """Tasks, joins, runs, inbox: in that order, as everybody locks them."""
    for run_id, position, _, _, gone in theirs:
        statements.change(_DROP_TASK if gone else _LOSE_TASK, run_id=run_id, position=position)
    for run_id, _, join_position, _, gone in theirs:
        if gone and join_position is not None:
            statements.rows(COUNT_DOWN, run_id=run_id, position=join_position, count=1)
    for run_id in sorted({run_id for run_id, *_ in theirs}):  # one that is ending has no use for another attempt
        statements.change(PING, run_id=run_id)
    for run_id, _, _, events, gone in theirs:
        kind = "StepFailed" if gone else "AttemptLost"
        statements.change(LAND, run_id=run_id, kind=kind, key=None, events=events)


def _free_runs(statements: Statements, worker: str) -> int:
    """Locked first, then freed: their lengths count what a holder committed while its run was waited for."""
    statements.rows(_THEIR_RUNS, worker=worker)
    return statements.change(_FREE_RUNS, worker=worker)


def _timed(database: Database, ask: Callable[[], int | None]) -> int | None:
    """Ask a question whose answer is the database's time, and set the clock by it."""
    heard: list[int | None] = []

    def listen() -> int | None:
        heard.append(ask())
        return heard[-1]

    if isinstance(database.clock, SyncedClock):
        database.clock.measure(listen)
    else:
        listen()
    return heard[-1]


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)


_REGISTER = """
INSERT INTO squidmesh_workers (id, host, pid, queues, code, started_at, expires_at)
VALUES (:worker, :host, :pid, :queues, :code, {now}, {now} + :lease)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, queues = excluded.queues, code = excluded.code
RETURNING expires_at - :lease
"""
_RENEW = """
UPDATE squidmesh_workers SET expires_at = {now} + :lease WHERE id = :worker AND expires_at > {now}
RETURNING expires_at - :lease
"""
_FORGET = "DELETE FROM squidmesh_workers WHERE id = :worker"
_LOCK_EXPIRED = "SELECT id FROM squidmesh_workers WHERE id = :worker AND expires_at <= {now} {lock}"
_FREE_TASKS = """
UPDATE squidmesh_tasks SET worker = NULL, claimed_at = NULL, due_at = {now}, number = number - 1 WHERE worker = :worker
"""
_FREE_RUNS = f"""
UPDATE squidmesh_runs
SET worker = NULL,
    due_at = CASE WHEN due_at IS NULL OR due_at > {{now}} THEN {{now}} ELSE due_at END,
    length = {LENGTH}
WHERE worker = :worker
"""
_THEIR_RUNS = "SELECT id FROM squidmesh_runs WHERE worker = :worker ORDER BY id {wait}"
_THEIR_TASKS = """
SELECT {text:run_id}, position, join_position FROM squidmesh_tasks WHERE worker = :worker
ORDER BY run_id, position {wait}
"""
_DROP_TASK = "DELETE FROM squidmesh_tasks WHERE run_id = :run_id AND position = :position"
_LOSE_TASK = """
UPDATE squidmesh_tasks SET worker = NULL, claimed_at = NULL, due_at = {now}, lost = lost + 1
WHERE run_id = :run_id AND position = :position
"""
COUNT_DOWN = """
UPDATE squidmesh_joins SET remaining = remaining - :count WHERE run_id = :run_id AND position = :position
RETURNING remaining <= wake_at
"""
