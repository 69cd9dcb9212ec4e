"""A transaction that user code shares with the engine: its rows, and what the engine records of it, or neither.

The user code speaks first, the store last:

    begin ─▶ user code ─▶ lock the run's row (or the tasks') ─▶ does the lease live? ─▶ write ─▶ commit

The rule of this file: the fence comes after the last word of the user code, and what it has looked at stays so until
the commit. Whoever takes over needs the rows that are locked then: it was there before, and the fence has seen that,
or it waits. The lease is asked for on another connection, since the host's may see the time before its first statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

from sqlalchemy import Connection, RootTransaction, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoneFree

from squidmesh.ports import Append, Appended, Outcome, Reported
from squidmesh.store.database import Database, Statements, away
from squidmesh.store.kept import Unreached
from squidmesh.store.leases import ALIVE

REFUSED = Appended(accepted=False, pinged=False)
NOTHING = Reported()


@contextmanager
def transaction(database: Database) -> Iterator[SqlTransaction]:
    stack, shared = database.patiently(lambda _: _begun(database), database.lease)
    with stack:
        try:
            yield shared
            shared.commit()
        except BaseException:
            shared.hang_up()
            raise


def _begun(database: Database) -> tuple[ExitStack, SqlTransaction]:
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(database.engine.connect())
            begun = stack.enter_context(database.dialect.hosting(connection))
        except (DBAPIError, NoneFree) as error:
            raise Unreached(getattr(error, "orig", None) or error) from error
        return stack.pop_all(), SqlTransaction(database, connection, begun)


class SqlTransaction:
    """``squidmesh.ports.Transaction``; what each method promises is written there."""

    __slots__ = ("connection", "_begun", "_committing", "_database", "_over", "_refused", "_talker")

    def __init__(self, database: Database, connection: Connection, begun: RootTransaction) -> None:
        self.connection = connection
        self._database = database
        self._begun = begun
        self._refused = self._committing = self._over = False
        event.listen(connection, "commit", self._only_by_us)
        self._talker: int | None = None  # the thread that is saying a statement, or whose statement has failed
        event.listen(connection, "before_cursor_execute", self._talks)
        event.listen(connection, "after_cursor_execute", self._has_talked)

    def append(self, append: Append) -> Appended:
        dialect, written = self._database.dialect, None
        with self._speaking() as statements:
            if dialect.lock(statements, append) and self._leased(append.worker):
                try:
                    written = dialect.append(statements, append, leased=True)
                except IntegrityError:  # the place in the history is taken: no other rule is there to be broken
                    written = None
        self._refused = self._refused or written is None
        return written or REFUSED

    def report(self, worker: str, outcomes: Sequence[Outcome]) -> Reported:
        reported = NOTHING
        with self._speaking() as statements:
            if self._locked(statements, worker, outcomes) and self._leased(worker):
                reported = self._database.dialect.report(statements, worker, outcomes, leased=True)
        self._refused = self._refused or len(reported.accepted) < len(outcomes)
        return NOTHING if self._refused else reported

    def _locked(self, statements: Statements, worker: str, outcomes: Sequence[Outcome]) -> bool:
        return all(
            statements.rows(_LOCK_TASK, run_id=o.run_id, position=o.position, number=o.number, worker=worker)
            for o in sorted(outcomes, key=lambda o: (o.run_id, o.position))  # in this order everybody locks them
        )

    def _leased(self, worker: str) -> bool:
        return bool(self._database.read(f"SELECT 1 WHERE {ALIVE}", worker=worker))

    def commit(self) -> None:
        """Commit what the block did, unless something of it was refused."""
        if self._refused:
            self._begun.rollback()
            return
        with self._ours():
            self._committing = True
            self._begun.commit()

    def hang_up(self) -> None:
        """It will be rolled back. User code that goes on in another thread (it had its time) is not waited for."""
        self._over = True
        if self._talker not in (None, get_ident()) and not self.connection.invalidated:
            self._database.dialect.silence(self.connection, lambda: self._talker is not None)

    # ---------------------------------------------------------------------------------------------- ours to end

    @contextmanager
    def _speaking(self) -> Iterator[Statements]:
        with self._ours():
            statements = self._database.joined(self.connection)
            self._database.dialect.fence(statements, self._database.lease)
            yield statements

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """The transaction must still be the one that was begun; if the database goes away, that is told as ever."""
        if not self._begun.is_active:
            raise RuntimeError(_ENDED)
        try:
            yield
        except DBAPIError as error:
            cause, dialect = error.orig or error, self._database.dialect
            if error.connection_invalidated or (dialect.transient(cause) and not dialect.collided(cause)):
                raise away(self._database.where, cause) from error
            raise

    def _only_by_us(self, _: Any) -> None:
        if not self._committing:
            raise RuntimeError(_ENDED)

    def _talks(self, *_: Any) -> None:
        self._talker = get_ident()
        if self._over:
            self._talker = None
            raise RuntimeError("the attempt is over, and its transaction was rolled back: this is too late")

    def _has_talked(self, *_: Any) -> None:
        self._talker = None


_ENDED = (
    "this transaction is committed together with the result of the step: do not commit it or roll it back; for a part "
    "that may fail, use a savepoint (connection.begin_nested())"
)


def collided(database: Database, error: BaseException) -> bool:
    cause: BaseException | None = error
    met: set[int] = set()
    while cause is not None and id(cause) not in met:
        met.add(id(cause))
        if database.dialect.collided(cause):
            return True
        cause = getattr(cause, "orig", None) or cause.__cause__
    return False


_LOCK_TASK = """
SELECT 1 FROM squidmesh_tasks
WHERE run_id = :run_id AND position = :position AND worker = :worker AND number = :number {wait}
"""
