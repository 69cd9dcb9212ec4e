"""Tasks: claimed several at a time, reported several at a time.

The rule of this file: a claimed task is named by run, position, worker and attempt number, and who cannot name all
four has lost it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from uuid import uuid4

from squidmesh.ports import Capability, Outcome, Reported, TaskRow
from squidmesh.store.database import Database
from squidmesh.store.leases import ALIVE
from squidmesh.store.rows import TASK, known_id, task_row


class Claims:
    """Gives each claim a time of its own, by which it is found again when the answer to it was lost."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._latest = 0

    def time(self, database: Database) -> int:
        now = database.clock.now()
        if database.dialect.clocked:  # nothing gets lost on the way to a file; and a virtual clock may stand still
            return now
        with self._guard:
            self._latest = max(now, self._latest + 1)
            return self._latest


def claim(
    database: Database,
    claims: Claims,
    worker: str,
    queue: str,
    can: Capability,
    limit: int,
    run_id: str | None,
) -> list[TaskRow]:
    plain = None if run_id is None else known_id(run_id)
    if limit <= 0 or (run_id is not None and plain is None):
        return []
    at = claims.time(database)

    def attempt(again: bool) -> list[TaskRow]:
        with database.autocommit() as statements:
            rows = statements.rows(_CLAIMED, worker=worker, at=at) if again else []
            rows = rows or statements.rows(
                _CLAIM if plain is None else _CLAIM_OF_RUN,
                worker=worker,
                at=at,
                queue=queue,
                steps=database.dialect.listed(can.steps),
                limit=limit,
                run_id=plain,
            )
        return sorted(map(task_row, rows), key=lambda task: (task.priority, task.due_at, task.scheduled_seq))

    return database.patiently(attempt, database.lease)


def report(database: Database, worker: str, outcomes: Sequence[Outcome]) -> Reported:
    def attempt(again: bool) -> Reported:
        with database.autocommit_or_transaction() as statements:
            reported = database.dialect.report(statements, worker, outcomes)
            if again and not reported.accepted and statements.rows(f"SELECT 1 WHERE {ALIVE}", worker=worker):
                # Ours while the lease lives, and no longer there: the answer was lost, not the commit.
                return Reported(
                    frozenset((o.run_id, o.position) for o in outcomes), frozenset(o.run_id for o in outcomes)
                )
        return reported

    return database.patiently(attempt, database.lease) if outcomes else Reported(frozenset(), frozenset())


def checkpoint(database: Database, run_id: str, position: str, worker: str, number: int, progress: str) -> bool:
    def attempt(_: bool) -> bool:
        with database.autocommit() as statements:
            return bool(
                statements.change(
                    _CHECKPOINT,
                    run_id=run_id,
                    position=position,
                    worker=worker,
                    number=number,
                    progress=progress,
                )
            )

    return database.patiently(attempt, database.lease)


def note(database: Database, run_id: str, position: str, worker: str, number: int, events: str) -> bool:
    """Nobody is pinged: whoever must look is so when the attempt has its outcome, or is lost."""
    key = f"note:{uuid4()}"  # by which it is found again when the answer was lost

    def attempt(again: bool) -> bool:
        with database.autocommit() as statements:
            noted = statements.change(
                _NOTE, run_id=run_id, position=position, worker=worker, number=number, key=key, events=events
            )
            return bool(noted or (again and statements.rows(_NOTED, run_id=run_id, key=key)))

    return database.patiently(attempt, database.lease)


def hand_back(database: Database, worker: str, tasks: Sequence[tuple[str, str, int]]) -> None:
    def attempt(_: bool) -> None:
        with database.transaction() as statements:
            for run_id, position, number in sorted(tasks):
                statements.change(_HAND_BACK, run_id=run_id, position=position, worker=worker, number=number)

    if tasks:
        database.patiently(attempt, database.lease)


_TAKE = f"""
WITH c(claimed_run, claimed_position) AS MATERIALIZED (
    SELECT run_id, position FROM squidmesh_tasks
    WHERE #which# AND queue = :queue AND due_at <= {{now}} AND step {{in:steps}} AND {ALIVE}
    ORDER BY #order# LIMIT :limit {{lock}}
)
UPDATE squidmesh_tasks SET worker = :worker, claimed_at = :at, number = number + 1
FROM c WHERE run_id = claimed_run AND position = claimed_position
RETURNING {TASK}
"""
_CLAIM = _TAKE.replace("#which#", "worker IS NULL").replace("#order#", "priority, due_at")
# Along the primary key, up to the limit: to sort all that a large run has due would make each claim cost as much as
# the run is large. Not `worker IS NULL`: that would call in the index of the tasks of all runs.
_CLAIM_OF_RUN = _TAKE.replace("#which#", "run_id = :run_id AND COALESCE(worker, '') = ''").replace(
    "#order#", "run_id, position"
)
_CLAIMED = f"SELECT {TASK} FROM squidmesh_tasks WHERE worker = :worker AND claimed_at = :at"
_FENCE = f"run_id = :run_id AND position = :position AND worker = :worker AND number = :number AND {ALIVE}"
_CHECKPOINT = f"UPDATE squidmesh_tasks SET progress = :progress WHERE {_FENCE}"
# With the task locked: whoever takes it away comes before, and this is refused, or after, and tells it later.
_NOTE = f"""
INSERT INTO squidmesh_inbox (run_id, kind, key, events, at)
SELECT run_id, 'Note', :key, :events, {{now}} FROM squidmesh_tasks WHERE {_FENCE} {{wait}}
ON CONFLICT DO NOTHING
"""
_NOTED = "SELECT 1 FROM squidmesh_inbox WHERE run_id = :run_id AND key = :key"
_HAND_BACK = f"""
UPDATE squidmesh_tasks SET worker = NULL, claimed_at = NULL, due_at = {{now}}, number = number - 1 WHERE {_FENCE}
"""
