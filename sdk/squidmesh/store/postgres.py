"""The statements that PostgreSQL takes in one round trip, and how it says what both databases say.

The rule of this file: a fence is decided in the statement that writes, under the run's row lock wherever the row
changes. Locks are taken in one order everywhere: tasks, joins, run, inbox; several of one table by id.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, RootTransaction

from squidmesh.ports import Append, Appended, KeyTaken, NewRun, Outcome, ReceiverGone, Reported
from squidmesh.store.database import Database, Statements
from squidmesh.store.dialect import spoken
from squidmesh.store.ending import has_beside, may_have_more
from squidmesh.store.postgres_append import (
    CHANGE,
    CHANGE_TOLD,
    LOCK_JOINS,
    LOCK_OLDER,
    LOCK_RUN,
    LOCK_TASKS,
    NEW_RUNS,
    NEW_VALUES,
    PLAIN,
    PLAIN_ONE,
    letter_parameters,
    run_parameters,
    whole,
    whole_parameters,
)
from squidmesh.store.postgres_report import REPORTS

_DATABASE_NOW = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"

# Our statements find their rows by index, however small the tables were when they were planned: a plan is kept as
# long as its connection. Without JIT, which the cost of a plan that is not "enabled" would call in.
_SETTINGS = (
    "SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false), "
    "set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false)"
)
# For the rest of a transaction that was the host's so far. Read by index, two that are serializable do not take each
# other for readers of all that they write. And who is stopped between its fence and its commit gives up after a while.
_SETTINGS_AT_LAST = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('idle_in_transaction_session_timeout', :idle, true)"
)
_COLLISIONS = ("40001", "40P01")  # serialization failure, deadlock
_CANCEL_WITHIN = 1.0  # seconds
_MOMENT = 0.005
_MAY_TALK = (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.ACTIVE)


class Postgres:
    """PostgreSQL through psycopg 3.

    Args:
        clocked: the time is given with each statement (a virtual clock rules), not taken from the database.
    """

    name = "postgresql"
    begin = "BEGIN"
    direct = 2

    def __init__(self, *, clocked: bool) -> None:
        self.clocked = clocked
        self._now = "%(now)s::bigint" if clocked else _DATABASE_NOW
        self._spoken: dict[str, str] = {}

    def sql(self, text: str) -> str:
        known = self._spoken.get(text)
        if known is None:
            known = self._spoken[text] = spoken(
                text,
                now=self._now,
                lock="FOR UPDATE SKIP LOCKED",
                wait="FOR UPDATE",
                parameter="%(@)s",
                cast="@::text",
                among="= ANY(@::#[])",
            )
        return known

    def listed(self, values: Iterable[Any]) -> Any:
        return list(values)

    def sent(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Lists go as array literals: the driver's own way with them costs several times the statement."""
        return {
            name: "{" + ",".join(map(_member, value)) + "}" if isinstance(value, list) else value
            for name, value in parameters.items()
        }

    def prepare(self, driver: Any) -> None:
        driver.autocommit = True
        driver.execute(_SETTINGS)

    def usable(self, driver: Any) -> bool:
        return not _is_gone(driver) and driver.pgconn.transaction_status == TransactionStatus.IDLE

    def transient(self, error: BaseException) -> bool:
        return isinstance(error, psycopg.OperationalError) or (
            isinstance(error, psycopg.InterfaceError) and "clos" in str(error)
        )

    def undone(self, error: BaseException) -> bool:
        return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("40")  # deadlock, serialization

    def collided(self, error: BaseException) -> bool:
        return isinstance(error, psycopg.Error) and error.sqlstate in _COLLISIONS

    # ------------------------------------------------------------------------------------------------- starting

    def start(self, statements: Statements, runs: Sequence[NewRun]) -> list[str]:
        rows = statements.rows(_START, **run_parameters(runs))
        inserted = {row[0] for row in rows}
        return [r.run_id for r in runs if r.run_id in inserted]

    # ------------------------------------------------------------------------------------------------ appending

    def write(self, database: Database, appends: Sequence[Append]) -> list[Appended | None]:
        if len(appends) == 1:
            return [self._alone(database, appends[0])]
        found: dict[int, Appended | None] = {}
        plain = [n for n, a in enumerate(appends) if a.change is None and not may_have_more(a)]
        changing = [n for n, a in enumerate(appends) if a.change is not None and not may_have_more(a)]
        with database.autocommit() as statements:
            if plain:
                found.update(_plain(statements, plain, appends))
            if changing:
                found.update(_changing(statements, changing, appends))
        for n, append in enumerate(appends):
            if may_have_more(append) or (n not in found and _ends(append)):
                found[n] = self._alone(database, append)
        return [found.get(n) for n in range(len(appends))]

    def _alone(self, database: Database, append: Append) -> Appended | None:
        try:
            if not (_ends(append) and has_beside(append)):
                must = any(letter.must for letter in append.letters)
                with database.transaction() if must else database.autocommit() as statements:
                    written = _one(statements, append)
                if written or not _ends(append):
                    return written
            with database.transaction() as statements:  # there may be tasks, joins, messages
                ended = self.append(statements, append) if self.lock(statements, append) else None
                if ended is None:
                    raise _Refused
            return ended
        except UniqueViolation as taken:
            if taken.diag.constraint_name == _BY_KEY:
                raise KeyTaken from taken
            return None  # somebody has written at that place: nothing of this holds
        except _Refused:
            return None

    # ------------------------------------------------------------------------------------------------ reporting

    def report(
        self, statements: Statements, worker: str, outcomes: Sequence[Outcome], *, leased: bool = False
    ) -> Reported:
        # Locked in the order of the primary key, as everybody locks tasks; told to the run in the order given.
        told = sorted(range(len(outcomes)), key=lambda n: (outcomes[n].run_id, outcomes[n].position))
        given = [outcomes[n] for n in told]
        rows = statements.rows(
            REPORTS[leased, len({o.retry_at is None for o in outcomes}) > 1],
            worker=worker,
            n=told,
            runs=[o.run_id for o in given],
            positions=[o.position for o in given],
            numbers=[o.number for o in given],
            retries=[o.retry_at for o in given],
            joins=[o.join_position for o in given],
            pings=[o.ping for o in given],
            kinds=[o.kind for o in given],
            events=[o.events for o in given],
        )
        return Reported(
            accepted=frozenset((outcomes[n].run_id, outcomes[n].position) for n, _ in rows if n is not None),
            pinged=frozenset(run_id for _, run_id in rows if run_id is not None),
        )

    # ------------------------------------------------------------------- in a transaction that is shared with others

    @contextmanager
    def hosting(self, connection: Connection) -> Iterator[RootTransaction]:
        while _is_gone(connection.connection.driver_connection):
            connection.invalidate()  # the server has ended it while it was in the pool
        driver: Any = connection.connection.driver_connection
        if driver.autocommit:
            connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin() as begun:
            try:
                yield begun
            except BaseException:
                if not begun.is_active and not driver.closed:
                    driver.rollback()  # a commit that was refused has left it open
                raise

    def silence(self, connection: Connection, talking: Callable[[], bool]) -> None:
        driver: Any = connection.connection.driver_connection
        until = time.monotonic() + _CANCEL_WITHIN
        while talking() and driver.pgconn.transaction_status in _MAY_TALK and time.monotonic() < until:
            if driver.pgconn.transaction_status == TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    driver.cancel_safe(timeout=_CANCEL_WITHIN)
            time.sleep(_MOMENT)  # the statement ends, or is on its way to the server

    def fence(self, statements: Statements, patience: float) -> None:
        statements.rows(_SETTINGS_AT_LAST, idle=str(max(1, round(patience * 1000))))

    def lock(self, statements: Statements, append: Append) -> bool:
        if _ends(append):
            statements.rows(LOCK_TASKS, run_id=append.run_id)
            statements.change("DELETE FROM squidmesh_tasks WHERE run_id = :run_id", run_id=append.run_id)
            statements.change("DELETE FROM squidmesh_joins WHERE run_id = :run_id", run_id=append.run_id)
        elif append.joins:
            statements.rows(LOCK_JOINS, run_id=append.run_id, positions=[join.position for join in append.joins])
        if append.letters:
            receivers = [letter.run_id for letter in append.letters]
            statements.rows(LOCK_OLDER, run_id=append.run_id, receivers=receivers)
        return bool(statements.rows(LOCK_RUN, run_id=append.run_id, worker=append.worker, epoch=append.epoch))

    def append(self, statements: Statements, append: Append, *, leased: bool = False) -> Appended | None:
        final = _ends(append)
        alone = replace(append, tasks=(), joins=()) if final else append
        rows = statements.rows(whole(alone, final=final, leased=leased), **whole_parameters(alone))
        return _appended(append, rows)


def _member(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "t" if value else "f"
        case int():
            return str(value)
        case _:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


_BY_KEY = "squidmesh_runs_key"


class _Refused(Exception):
    """Roll back: the run is another holder's."""


def _ends(append: Append) -> bool:
    return append.change is not None and append.change.ended_at is not None


def _is_gone(driver: Any) -> bool:
    if driver.closed:
        return True
    poll = select.poll()  # an idle connection has something to read only when the server has ended it
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _one(statements: Statements, append: Append) -> Appended | None:
    if append.change is None and not may_have_more(append):
        rows = statements.rows(
            PLAIN_ONE,
            run_id=append.run_id,
            worker=append.worker,
            epoch=append.epoch,
            seq=append.seq,
            events=append.events,
        )
    else:
        rows = statements.rows(whole(append), **whole_parameters(append))
    return _appended(append, rows)


def _appended(append: Append, rows: Sequence[Any]) -> Appended | None:
    if not rows:
        return None
    pinged, *told = rows[0]
    awake, heard = told or ((), ())
    there = {*heard, *(run.run_id for run in append.runs)}
    if any(letter.must and letter.run_id not in there for letter in append.letters):
        raise ReceiverGone
    return Appended(accepted=True, pinged=pinged, awake=frozenset(awake))


def _plain(statements: Statements, which: list[int], appends: Sequence[Append]) -> dict[int, Appended | None]:
    rows = statements.rows(
        PLAIN,
        runs=[appends[n].run_id for n in which],
        workers=[appends[n].worker for n in which],
        epochs=[appends[n].epoch for n in which],
        seqs=[appends[n].seq for n in which],
        events=[appends[n].events for n in which],
    )
    pinged = dict(rows)  # of each run one append is in a batch
    return {n: Appended(accepted=True, pinged=pinged[appends[n].run_id]) for n in which if appends[n].run_id in pinged}


def _changing(statements: Statements, which: list[int], appends: Sequence[Append]) -> dict[int, Appended | None]:
    which = sorted(which, key=lambda n: appends[n].run_id)  # the order in which everybody locks runs
    changes = [change for n in which if (change := appends[n].change) is not None]
    letters = [(n, letter) for n in which for letter in appends[n].letters]
    rows = statements.rows(
        CHANGE_TOLD if letters else CHANGE,
        n=which,
        runs=[appends[n].run_id for n in which],
        workers=[appends[n].worker for n in which],
        epochs=[appends[n].epoch for n in which],
        seqs=[appends[n].seq for n in which],
        counts=[appends[n].count for n in which],
        events=[appends[n].events for n in which],
        statuses=[c.status for c in changes],
        reasons=[c.reason for c in changes],
        codes=[c.code for c in changes],
        rollbacks=[c.rollback for c in changes],
        orphans=[c.orphans for c in changes],
        releases=[c.release or c.ended_at is not None for c in changes],
        dues=[c.due_at for c in changes],
        ends=[c.ended_at for c in changes],
        senders=[n for n, _ in letters],
        **letter_parameters([letter for _, letter in letters]),
    )
    pinged = {n: arrived for n, arrived, _ in rows if n is not None}
    awake = {run_id for _, _, run_id in rows}
    found: dict[int, Appended | None] = {}
    for n, arrived in pinged.items():
        told = {letter.run_id for letter in appends[n].letters}
        found[n] = Appended(accepted=True, pinged=arrived, awake=frozenset(told & awake))
        awake |= told  # the next need not call them again
    return found


_START = f"""
WITH a AS (
    SELECT * FROM {NEW_VALUES}
), r AS ({NEW_RUNS.replace("#source#", "a")}
    ON CONFLICT DO NOTHING
    RETURNING id
), h AS (
    INSERT INTO squidmesh_history (run_id, seq, epoch, events)
    SELECT id, 1, 0, events::json FROM a WHERE (id IN (SELECT id FROM r)) IS TRUE  -- as such it is looked up by hash
)
SELECT id::text FROM r
"""
