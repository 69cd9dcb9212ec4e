"""How SQLite says what both databases say, and what it does in several statements where PostgreSQL takes one.

The rule of this file: whatever writes begins IMMEDIATE, so that nobody else writes meanwhile; within one transaction
a look and a change after it are one thing, and no lock is needed but the file's.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RootTransaction

from squidmesh.ports import Append, Appended, KeyTaken, Letter, NewRun, Outcome, ReceiverGone, Reported, RunChange
from squidmesh.store.database import Database, Statements
from squidmesh.store.dialect import spoken
from squidmesh.store.ending import has_beside

BUSY_TIMEOUT = 5_000  # milliseconds to wait for another process's transaction
_TRANSIENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_PROTOCOL,
}
_COLLISIONS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Sqlite:
    """SQLite in a file (WAL) or in memory. The time is always given: it has no clock that several could share."""

    name = "sqlite"
    begin = "BEGIN IMMEDIATE"
    direct = 2  # one writes at a time
    clocked = True

    def __init__(self) -> None:
        self._spoken: dict[str, str] = {}

    def sql(self, text: str) -> str:
        known = self._spoken.get(text)
        if known is None:
            known = self._spoken[text] = spoken(
                text,
                now=":now",
                lock="",
                wait="",
                parameter=":@",
                cast="@",
                among="IN (SELECT value FROM json_each(@))",
            )
        return known

    def listed(self, values: Iterable[Any]) -> Any:
        return json.dumps(list(values))

    def sent(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return parameters

    def prepare(self, driver: Any) -> None:
        driver.isolation_level = None
        driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
        if driver.execute("PRAGMA page_count").fetchone() == (0,):  # a new file; later it would take the write lock
            driver.execute("PRAGMA auto_vacuum = INCREMENTAL")  # its free pages can be given back
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            driver.execute(f"PRAGMA {pragma}")

    def usable(self, driver: Any) -> bool:
        return not driver.in_transaction

    def transient(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and _code(error) in _TRANSIENT

    def undone(self, error: BaseException) -> bool:
        return True  # nobody stands between us and the file

    def collided(self, error: BaseException) -> bool:
        return isinstance(error, sqlite3.OperationalError) and _code(error) in _COLLISIONS

    # ------------------------------------------------------------------------------------------------- starting

    def start(self, statements: Statements, runs: Sequence[NewRun]) -> list[str]:
        return [run.run_id for run in runs if _start(statements, run)]

    # ------------------------------------------------------------------------------------------------ appending

    def write(self, database: Database, appends: Sequence[Append]) -> list[Appended | None]:
        with database.transaction() as statements:
            return [_append(statements, append) for append in appends]

    # ------------------------------------------------------------------------------------------------ reporting

    def report(
        self, statements: Statements, worker: str, outcomes: Sequence[Outcome], *, leased: bool = False
    ) -> Reported:
        if not leased and not statements.rows(_ALIVE, worker=worker):
            return Reported(frozenset(), frozenset())
        done = [o for o in outcomes if _settle(statements, worker, o)]
        by_run: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in done:
            by_run[outcome.run_id].append(outcome)
        for run_id, group in by_run.items():
            events = "[" + ",".join(o.events[1:-1] for o in group) + "]"
            statements.change(_LAND, run_id=run_id, kind=group[0].kind, events=events)
        wanted = {o.run_id for o in done if o.ping or o.join_position is None}
        gone = Counter((o.run_id, o.join_position) for o in done if o.join_position and o.retry_at is None)
        for (run_id, position), count in gone.items():
            left = statements.rows(_COUNT_DOWN, run_id=run_id, position=position, count=count)
            if not left or left[0][0]:
                wanted.add(run_id)
        pinged = {run_id for run_id in wanted if statements.change(_PING, run_id=run_id)}
        return Reported(frozenset((o.run_id, o.position) for o in done), frozenset(pinged))

    # ------------------------------------------------------------------- in a transaction that is shared with others

    @contextmanager
    def hosting(self, connection: Connection) -> Iterator[RootTransaction]:
        driver: Any = connection.connection.driver_connection
        kept = driver.isolation_level
        if kept is not None:
            driver.isolation_level = None  # the driver opens no transaction of its own
        try:
            with connection.begin() as begun:
                # What the host's engine has begun may be one that only reads so far.
                driver.execute(_WRITE_NOTHING if driver.in_transaction else self.begin)
                try:
                    yield begun
                except BaseException:
                    if not begun.is_active and connection.get_transaction() is begun and driver.in_transaction:
                        driver.execute("ROLLBACK")  # a commit that failed, or was refused, has left it open
                    raise
        finally:
            if kept is not None:
                driver.isolation_level = kept

    def silence(self, connection: Connection, talking: Callable[[], bool]) -> None:
        pass  # a statement in a file does not wait for anybody once its transaction has begun

    def fence(self, statements: Statements, patience: float) -> None:
        pass

    def lock(self, statements: Statements, append: Append) -> bool:
        return True  # nobody else writes

    def append(self, statements: Statements, append: Append, *, leased: bool = False) -> Appended | None:
        return _append(statements, append)


def _code(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _settle(statements: Statements, worker: str, outcome: Outcome) -> bool:
    fence = {
        "run_id": outcome.run_id,
        "position": outcome.position,
        "worker": worker,
        "number": outcome.number,
    }
    if outcome.retry_at is None:
        return bool(statements.change(_GONE, **fence))
    return bool(statements.change(_BACK, due_at=outcome.retry_at, **fence))


def _start(statements: Statements, run: NewRun) -> bool:
    row = {
        "id": run.run_id,
        "workflow": run.workflow,
        "version": run.version,
        "key": run.key,
        "queue": run.queue,
        "priority": run.priority,
        "attributes": None if run.attributes is None else json.dumps(dict(run.attributes)),
        "parent": run.parent,
        "created_at": run.created_at,
        "due_at": run.due_at,
        "deadline": run.deadline,
        "length": run.count,
        "chain": run.chain,
    }
    if not statements.change(_START, **row):
        return False
    statements.change(_HISTORY, run_id=run.run_id, seq=1, epoch=0, events=run.events)
    return True


def _append(statements: Statements, append: Append) -> Appended | None:
    wrote = _written(statements, append)
    if wrote is not None:
        for run in append.runs:
            if not _start(statements, run):
                raise KeyTaken
        if append.runs and append.change is not None and append.change.chain is not None:
            statements.change(_MET, run_id=append.run_id, successor=append.runs[0].run_id)
        if append.letters:
            awake = statements.rows(_AWAKE, receivers=json.dumps([letter.run_id for letter in append.letters]))
            wrote = replace(wrote, awake=frozenset(run_id for (run_id,) in awake))
        for letter in append.letters:
            _deliver(statements, letter)
    return wrote


def _deliver(statements: Statements, letter: Letter) -> None:
    pinged = _PING if letter.opens is None else _OPEN
    if statements.change(pinged, run_id=letter.run_id, opens=letter.opens):
        statements.change(_POST, run_id=letter.run_id, kind=letter.kind, key=letter.key, events=letter.events)
    elif letter.must:
        raise ReceiverGone


def _written(statements: Statements, append: Append) -> Appended | None:
    held = statements.rows(_FENCE, run_id=append.run_id, worker=append.worker, epoch=append.epoch)
    if not held:
        return None
    due_at = held[0][0]
    history = {"run_id": append.run_id, "seq": append.seq, "epoch": append.epoch, "events": append.events}
    if append.count and not statements.change(_HISTORY, **history):
        return None
    change = append.change
    if change is not None and change.ended_at is not None:
        return Appended(accepted=True, pinged=_end(statements, append, change))
    down = _change_rest(statements, append) if has_beside(append) else False
    if change is not None:
        _change(statements, append, change, due_at if due_at is not None or not down else statements.now)
    return Appended(accepted=True, pinged=due_at is not None or down)


def _change(statements: Statements, append: Append, change: RunChange, arrived: int | None) -> None:
    due_at = change.due_at if change.release and arrived is None else arrived
    statements.change(
        _CHANGE,
        run_id=append.run_id,
        status=change.status,
        reason=change.reason,
        code=change.code,
        rollback=change.rollback,
        orphans=change.orphans,
        length=append.seq + append.count - 1,
        worker=None if change.release else append.worker,
        due_at=due_at,
    )


def _end(statements: Statements, append: Append, change: RunChange) -> bool:
    """End the run; whether something has arrived that opens it again."""
    for table in ("tasks", "joins"):
        statements.change(f"DELETE FROM squidmesh_{table} WHERE run_id = :run_id", run_id=append.run_id)  # noqa: S608
    if append.taken:
        statements.change(_TAKE, run_id=append.run_id, taken=json.dumps(append.taken))
    rows = statements.rows(
        _END,
        run_id=append.run_id,
        status=change.status,
        reason=change.reason,
        code=change.code,
        rollback=change.rollback,
        orphans=change.orphans,
        length=append.seq + append.count - 1,
        ended_at=change.ended_at,
        chain=change.chain,
    )
    return rows[0][0] is None


def _change_rest(statements: Statements, append: Append) -> bool:
    """Write what changes beside the run; whether so few outcomes are still out that somebody must look."""
    run_id = append.run_id
    if append.taken:
        statements.change(_TAKE, run_id=run_id, taken=json.dumps(append.taken))
    for task in append.tasks:
        statements.change(
            _TASK,
            run_id=run_id,
            position=task.position,
            step=task.step,
            queue=task.queue,
            priority=task.priority,
            due_at=task.due_at,
            max_lost=task.max_lost,
            join_position=task.join_position,
            spec=task.spec,
            scheduled_seq=task.scheduled_seq,
        )
    down = False
    for join in append.joins:
        row = statements.rows(_JOIN, run_id=run_id, position=join.position, added=join.added, wake_at=join.wake_at)
        down = down or bool(row[0][0])
    return down


_AWAKE = """
SELECT id FROM squidmesh_runs
WHERE id IN (SELECT value FROM json_each(:receivers)) AND (worker IS NOT NULL OR due_at <= {now})
"""
_WRITE_NOTHING = "UPDATE squidmesh_runs SET id = id WHERE 0"
_START = """
INSERT INTO squidmesh_runs (
    id, workflow, version, key, status, queue, priority, attributes, parent, created_at, due_at, deadline, epoch,
    length, chain
) VALUES (
    :id, :workflow, :version, :key, 'pending', :queue, :priority, :attributes, :parent, :created_at, :due_at,
    :deadline, 0, :length, :chain
) ON CONFLICT DO NOTHING
"""
_HISTORY = """
INSERT INTO squidmesh_history (run_id, seq, epoch, events) VALUES (:run_id, :seq, :epoch, :events)
ON CONFLICT DO NOTHING
"""
_FENCE = """
SELECT r.due_at FROM squidmesh_runs AS r JOIN squidmesh_workers AS w ON w.id = r.worker
WHERE r.id = :run_id AND r.worker = :worker AND r.epoch = :epoch AND w.expires_at > {now}
"""
_CHANGE = """
UPDATE squidmesh_runs
SET status = :status, reason = :reason, code = :code, rollback = COALESCE(:rollback, rollback),
    orphans = COALESCE(:orphans, orphans), length = :length,
    worker = :worker, due_at = :due_at, ended_at = NULL
WHERE id = :run_id
"""
_ARRIVED = "EXISTS (SELECT 1 FROM squidmesh_inbox AS i WHERE i.run_id = :run_id)"
_END = f"""
UPDATE squidmesh_runs
SET status = :status, reason = :reason, code = :code, rollback = COALESCE(:rollback, rollback),
    orphans = COALESCE(:orphans, orphans), length = :length,
    worker = NULL, due_at = CASE WHEN {_ARRIVED} THEN {{now}} END,
    ended_at = CASE WHEN {_ARRIVED} THEN NULL ELSE :ended_at END,
    chain = COALESCE(:chain, chain), key = CASE WHEN :chain IS NULL THEN key END
WHERE id = :run_id
RETURNING ended_at
"""  # not `ended_at IS NULL`: beside a column that is NOT NULL, SQLite 3.40 takes that for false
_MET = "UPDATE squidmesh_schedule_runs SET run_id = :successor WHERE run_id = :run_id"
_TAKE = "DELETE FROM squidmesh_inbox WHERE run_id = :run_id AND id IN (SELECT value FROM json_each(:taken))"
_TASK = """
INSERT INTO squidmesh_tasks (
    run_id, position, step, queue, priority, due_at, number, lost, max_lost, join_position, spec, scheduled_seq
) VALUES (
    :run_id, :position, :step, :queue, :priority, :due_at, 0, 0, :max_lost, :join_position, :spec, :scheduled_seq
) ON CONFLICT (run_id, position) DO UPDATE
SET worker = NULL, claimed_at = NULL, due_at = excluded.due_at, spec = excluded.spec, lost = 0,
    scheduled_seq = excluded.scheduled_seq, join_position = excluded.join_position
"""
_JOIN = """
INSERT INTO squidmesh_joins (run_id, position, remaining, wake_at) VALUES (:run_id, :position, :added, :wake_at)
ON CONFLICT (run_id, position) DO UPDATE
SET remaining = remaining + excluded.remaining, wake_at = excluded.wake_at
RETURNING remaining <= wake_at
"""

_ALIVE = "SELECT 1 FROM squidmesh_workers WHERE id = :worker AND expires_at > {now}"
_GONE = """
DELETE FROM squidmesh_tasks
WHERE run_id = :run_id AND position = :position AND worker = :worker AND number = :number
"""
_BACK = """
UPDATE squidmesh_tasks SET worker = NULL, claimed_at = NULL, due_at = :due_at
WHERE run_id = :run_id AND position = :position AND worker = :worker AND number = :number
"""
_LAND = """
INSERT INTO squidmesh_inbox (run_id, kind, events, at) VALUES (:run_id, :kind, :events, {now})
"""
_POST = """
INSERT INTO squidmesh_inbox (run_id, kind, key, events, at) VALUES (:run_id, :kind, :key, :events, {now})
ON CONFLICT DO NOTHING
"""
_COUNT_DOWN = """
UPDATE squidmesh_joins SET remaining = remaining - :count WHERE run_id = :run_id AND position = :position
RETURNING remaining <= wake_at
"""
_PING = """
UPDATE squidmesh_runs SET due_at = CASE WHEN due_at IS NULL OR due_at > {now} THEN {now} ELSE due_at END
WHERE id = :run_id AND ended_at IS NULL
"""
_OPEN = """
UPDATE squidmesh_runs
SET due_at = CASE WHEN due_at IS NULL OR due_at > {now} THEN {now} ELSE due_at END,
    status = CASE WHEN ended_at IS NULL OR :opens = '' THEN status ELSE :opens END,
    reason = CASE WHEN ended_at IS NULL THEN reason END, ended_at = NULL
WHERE id = :run_id
"""
