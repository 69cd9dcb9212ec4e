"""Holding a run: claiming it, looking at what arrived, writing its history.

The rule of this file: a holder is a worker and an epoch, and every statement names both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from squidmesh.ports import Append, Appended, Capability, Claimed, HistoryRow, InboxRow
from squidmesh.store.committer import Committer
from squidmesh.store.database import Database, Statements
from squidmesh.store.leases import ALIVE, COUNT_DOWN, LENGTH
from squidmesh.store.messages import PING
from squidmesh.store.rows import CODE, INBOX, RUN, codes, inbox_row, known_id, run_row


def claim(
    database: Database, worker: str, run_id: str, can: Capability, known: Callable[[str], int] | None
) -> Claimed | None:
    """Take the run, and then read: a ping between the two is either seen here, or leaves a due time behind."""
    plain = known_id(run_id)

    def attempt(again: bool) -> Claimed | None:
        with database.autocommit() as statements:
            rows = statements.rows(
                _CLAIM_AGAIN if again else _CLAIM,
                worker=worker,
                run_id=plain,
                codes=database.dialect.listed(codes(can)),
            )
            if not rows:
                return None
            history, inbox = _everything(statements, rows[0][0], known(rows[0][0]) if known is not None else 0)
        return Claimed(run_row(rows[0]), history, inbox)

    return None if plain is None else database.patiently(attempt, database.lease)


def claim_next(
    database: Database,
    worker: str,
    queue: str,
    priority: int,
    can: Capability,
    known: Callable[[str], int],
    fresh: bool = False,
) -> Claimed | None:
    """Take the first due run of a queue and priority, passing over those that others are taking."""

    def attempt(_: bool) -> Claimed | None:
        with database.autocommit() as statements:
            rows = statements.rows(
                _CLAIM_FRESH if fresh else _CLAIM_NEXT,
                worker=worker,
                queue=queue,
                priority=priority,
                codes=database.dialect.listed(codes(can)),
            )
            if not rows:
                return None
            run = run_row(rows[0])
            history, inbox = _everything(statements, rows[0][0], known(run.run_id))
        return Claimed(run, history, inbox)

    return database.patiently(attempt, database.lease, resend=False)


def _everything(statements: Statements, run_id: str, known: int) -> tuple[list[HistoryRow], list[InboxRow]]:
    history: list[HistoryRow] = []
    inbox: list[InboxRow] = []
    for arrived, number, events, at in statements.rows(_EVERYTHING, run_id=run_id, known=known):
        if arrived:
            inbox.append(InboxRow(number, run_id, events, at))
        else:
            history.append(HistoryRow(run_id, number, events))
    return history, inbox


def refresh(database: Database, run_id: str, worker: str, epoch: int) -> list[InboxRow] | None:
    def attempt(_: bool) -> list[InboxRow] | None:
        with database.autocommit() as statements:
            if not statements.change(_FORGET_PING, run_id=run_id, worker=worker, epoch=epoch):
                return None
            rows = statements.rows(
                f"SELECT {INBOX} FROM squidmesh_inbox WHERE run_id = :run_id ORDER BY id", run_id=run_id
            )
        return [inbox_row(row) for row in rows]

    return database.patiently(attempt, database.lease)


def append(database: Database, committer: Committer, wanted: Append) -> Appended:
    def attempt(again: bool) -> Appended:
        answer, tried = committer.write(wanted)
        if not tried:  # its batch failed: what is wrong may be this one, or any other of them
            again = True
            answer = database.dialect.write(database, (wanted,))[0]
        if answer is None and again and _is_mine(database, wanted):
            return Appended(accepted=True, pinged=True)  # written before the connection went; look, to be sure
        return answer or Appended(accepted=False, pinged=False)

    return database.patiently(attempt, database.lease)


def _is_mine(database: Database, wanted: Append) -> bool:
    rows: list[Any] = database.read(
        "SELECT epoch FROM squidmesh_history WHERE run_id = :run_id AND seq = :seq",
        run_id=wanted.run_id,
        seq=wanted.seq,
    )
    return bool(rows) and rows[0][0] == wanted.epoch


def let_go(database: Database, run_id: str, worker: str, epoch: int, due_at: int | None) -> bool:
    def attempt(_: bool) -> bool:
        with database.autocommit() as statements:
            return bool(statements.change(_LET_GO, run_id=run_id, worker=worker, epoch=epoch, due_at=due_at))

    return database.patiently(attempt, database.lease)


def withdraw(database: Database, run_id: str, worker: str, epoch: int, positions: Iterable[str]) -> list[str]:
    """Tasks go first, then joins, then the ping: the order in which everybody locks."""
    wanted = list(positions)

    def attempt(_: bool) -> list[str]:
        with database.transaction() as statements:
            rows = statements.rows(
                _WITHDRAW,
                run_id=run_id,
                worker=worker,
                epoch=epoch,
                positions=database.dialect.listed(wanted),
            )
            joins = Counter(join for _, join in rows if join is not None)
            down = [_count_down(statements, run_id, join, joins[join]) for join in sorted(joins)]
            if any(down):  # the others have reported already, and nobody else will wake the run for them
                statements.change(PING, run_id=run_id)
        deleted = {row[0] for row in rows}
        return [position for position in wanted if position in deleted]

    return database.patiently(attempt, database.lease, resend=False) if wanted else []


def _count_down(statements: Statements, run_id: str, position: str, count: int) -> bool:
    left = statements.rows(COUNT_DOWN, run_id=run_id, position=position, count=count)
    return bool(left and left[0][0])


_TAKE = f"""
UPDATE squidmesh_runs
SET worker = :worker, epoch = epoch + 1, due_at = NULL,
    reason = CASE WHEN status IN ('pending', 'waiting', 'paused', 'running') THEN NULL ELSE reason END,
    status = CASE WHEN status IN ('pending', 'waiting', 'paused') THEN 'running' ELSE status END
WHERE id = :run_id AND ended_at IS NULL AND {CODE} {{in:codes}} AND {ALIVE}
    AND #free#
RETURNING {RUN}
"""
_CLAIM = _TAKE.replace("#free#", "worker IS NULL AND due_at <= {now}")
# When the answer to a claim was lost: ours now, or it may be ours already. Should another thread of this worker hold
# it, that one is fenced off by the new epoch.
_CLAIM_AGAIN = _TAKE.replace("#free#", "(worker IS NULL AND due_at <= {now} OR worker = :worker)")
_FIRST = f"""(
        SELECT id FROM squidmesh_runs
        WHERE #which# queue = :queue AND priority = :priority AND due_at IS NOT NULL AND worker IS NULL
            AND due_at <= {{now}} AND {CODE} {{in:codes}}
        ORDER BY #order# LIMIT 1 {{lock}}
    )"""
_FIRST_DUE = _FIRST.replace("#which# ", "").replace("#order#", "due_at")
# In the order of an index of its own, which that of all that is due does not have: what waits is not passed over.
_FIRST_FRESH = _FIRST.replace("#which#", "status = 'pending' AND").replace("#order#", "due_at, id")
_TAKE_ONE = _TAKE.replace("#free#", "worker IS NULL AND due_at <= {now}")
_CLAIM_NEXT = _TAKE_ONE.replace(":run_id", _FIRST_DUE)
_CLAIM_FRESH = _TAKE_ONE.replace(":run_id", f"COALESCE({_FIRST_FRESH}, {_FIRST_DUE})")
_EVERYTHING = """
SELECT 0, seq, {text:events}, 0 FROM squidmesh_history WHERE run_id = :run_id AND seq > :known
UNION ALL
SELECT 1, id, {text:events}, at FROM squidmesh_inbox WHERE run_id = :run_id
ORDER BY 1, 2
"""
_FORGET_PING = """
UPDATE squidmesh_runs SET due_at = NULL WHERE id = :run_id AND worker = :worker AND epoch = :epoch
"""
_LET_GO = f"""
UPDATE squidmesh_runs SET worker = NULL, due_at = COALESCE(due_at, :due_at), length = {LENGTH}
WHERE id = :run_id AND worker = :worker AND epoch = :epoch
"""
# Not `worker IS NULL`: that would call in the index of all tasks that are due, instead of this run's.
# Passing over tasks that are locked: who has locked one claims or reports it, and may wait for the run's row.
_WITHDRAW = f"""
DELETE FROM squidmesh_tasks
WHERE run_id = :run_id AND position IN (
    SELECT position FROM squidmesh_tasks
    WHERE run_id = :run_id AND position {{in:positions}} AND COALESCE(worker, '') = ''
    {{lock}}
) AND EXISTS (SELECT 1 FROM squidmesh_runs WHERE id = :run_id AND worker = :worker AND epoch = :epoch) AND {ALIVE}
RETURNING position, join_position
"""
