"""How every statement reaches the database: connections, transactions, patience.

The rule of this file: no SQL but BEGIN, COMMIT and ROLLBACK. Driver errors are translated here, once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, scoped_session

from squidmesh.errors import StoreUnavailable
from squidmesh.ports import Clock
from squidmesh.store.dialect import Dialect
from squidmesh.store.kept import Lanes, Unreached

T = TypeVar("T")

_FIRST_PAUSE = 0.05  # seconds
_LONGEST_PAUSE = 1.0
CLIENT_PATIENCE = 3.0  # seconds that a caller waits for a database which comes back


class Statements:
    """Says statements on one connection, and reads the answers.

    Where the time is given with the statements, all of them on one connection at a time have the same.
    """

    __slots__ = ("_dialect", "_execute", "_now", "driver")

    def __init__(self, execute: Callable[[str, Any], Any], driver: Any, dialect: Dialect, clock: Clock) -> None:
        self._execute = execute
        self._dialect = dialect
        self._now = {"now": clock.now()} if dialect.clocked else {}
        self.driver = driver

    @property
    def now(self) -> int | None:
        """The time that these statements are given; None where the database's own clock rules."""
        return self._now.get("now")

    def rows(self, text: str, **parameters: Any) -> list[Any]:
        """Say a statement that answers with rows."""
        answer: list[Any] = self._execute(
            self._dialect.sql(text), self._dialect.sent(parameters | self._now)
        ).fetchall()
        return answer

    def change(self, text: str, **parameters: Any) -> int:
        """Say a statement that answers nothing; how many rows it touched."""
        count: int = self._execute(self._dialect.sql(text), self._dialect.sent(parameters | self._now)).rowcount
        return count


class Database:
    """One database as the store uses it.

    Args:
        engine: where connections come from.
        dialect: how this database speaks.
        clock: gives the time where the dialect is ``clocked``.
        lease: seconds for which a worker's statements are tried again before it must have lost all it holds.
        reading: connections for statements that change nothing.
        writing: connections for the others (may be the same).
        where: the URL, without its password, for messages.
        ready: looks at the schema once, before the first statement.
    """

    def __init__(
        self,
        engine: Engine,
        dialect: Dialect,
        clock: Clock,
        lease: float,
        reading: Lanes,
        writing: Lanes,
        where: str,
        ready: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.dialect = dialect
        self.clock = clock
        self.lease = lease
        self.where = where
        self._reading = reading
        self._writing = writing
        self._ready = ready
        self._looked = threading.Event()
        self._looking = threading.Lock()

    # ------------------------------------------------------------------------------------------- one statement

    def read(self, text: str, connection: Any = None, **parameters: Any) -> list[Any]:
        """Read with one statement, on the caller's connection or one of ours; patient for a moment."""
        if connection is not None:
            self.ensure_ready()
            return self.joined(connection).rows(text, **parameters)

        def attempt(_: bool) -> list[Any]:
            with self._reading.use() as driver:
                return self._speaking(driver).rows(text, **parameters)

        return self.patiently(attempt, CLIENT_PATIENCE)

    @contextmanager
    def autocommit(self) -> Iterator[Statements]:
        """Each statement is durable when it returns."""
        with self._writing.use() as driver:
            yield self._speaking(driver)

    def autocommit_or_transaction(self) -> AbstractContextManager[Statements]:
        """For what is one statement in PostgreSQL and several in SQLite: all of it is durable, or nothing."""
        return self.transaction() if self.dialect.name == "sqlite" else self.autocommit()

    # -------------------------------------------------------------------------------------------- transactions

    @contextmanager
    def transaction(self) -> Iterator[Statements]:
        """All statements or none are durable when the block ends."""
        with self._writing.use() as driver:
            driver.execute(self.dialect.begin)
            try:
                yield self._speaking(driver)
                driver.execute("COMMIT")
            except BaseException:
                _roll_back(driver)
                raise

    def joined(self, connection: Any) -> Statements:
        """Statements in the transaction of a SQLAlchemy Connection or Session of the caller's."""
        own = connection.connection() if isinstance(connection, (Session, scoped_session)) else connection
        if not isinstance(own, Connection):
            raise TypeError(
                f"connection= takes a SQLAlchemy Connection or Session, not {own!r} (of an asynchronous one: "
                "await session.run_sync(lambda s: mesh.start(…, connection=s)))"
            )
        if own.dialect.name != self.dialect.name:
            raise TypeError(f"connection= is on {own.dialect.name}; it must be on the mesh's database, {self.where}")
        return Statements(own.exec_driver_sql, None, self.dialect, self.clock)

    def _speaking(self, driver: Any) -> Statements:
        return Statements(driver.execute, driver, self.dialect, self.clock)

    # ------------------------------------------------------------------------------------------------ patience

    def ensure_ready(self) -> None:
        """Look at the schema, once.

        Raises:
            NotMigrated: there is none, or one of another revision.
            StoreUnavailable: the database cannot be reached.
        """
        if self._looked.is_set():
            return
        with self._looking:
            if self._looked.is_set():
                return
            try:
                self._ready()
            except DBAPIError as error:
                raise self._away(error.orig or error) from error
            except self.engine.dialect.loaded_dbapi.Error as error:  # from a connection without SQLAlchemy's wrapping
                raise self._away(error) from error
            self._looked.set()

    def patiently(self, attempt: Callable[[bool], T], limit: float, *, resend: bool = True) -> T:
        """Try until it succeeds, fails for good, or the time is over.

        Args:
            attempt: does it; told whether an earlier try may have got through without our hearing of it.
            limit: seconds.
            resend: False: try again only what certainly was not done.

        Raises:
            StoreUnavailable: the database did not answer within the limit.
        """
        self.ensure_ready()
        until = time.monotonic() + limit
        pause, again = _FIRST_PAUSE, False
        while True:
            try:
                return attempt(again)
            except Exception as error:
                if not isinstance(error, Unreached) and not self.dialect.transient(error):
                    raise
                nothing_done = isinstance(error, Unreached) or self.dialect.undone(error)
                if time.monotonic() + pause > until or not (nothing_done or resend):
                    raise self._away(error) from error
                again = again or not nothing_done
            time.sleep(pause * random.uniform(0.7, 1.0))  # noqa: S311
            pause = min(_LONGEST_PAUSE, pause * 2)

    def _away(self, error: BaseException) -> StoreUnavailable:
        return away(self.where, error.cause if isinstance(error, Unreached) else error)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._reading.close()
        if self._writing is not self._reading:
            self._writing.close()


def away(where: str, cause: BaseException) -> StoreUnavailable:
    """What is told of a database that cannot be reached; ``where`` is its URL, without the password."""
    said = " ".join(str(cause).split()) or type(cause).__name__
    return StoreUnavailable(
        f"the database {where} does not answer: {said}; check {_to_check(where, said)}, and the URL "
        "(database=, --database or SQUIDMESH_DATABASE_URL)"
    )


def _to_check(where: str, said: str) -> str:
    if not where.startswith("sqlite"):
        return "that it is running"
    if "locked" in said:
        return "who keeps a transaction open on it"
    return "that its folder is there and can be written to, and that it is a database"


def _roll_back(driver: Any) -> None:
    try:
        driver.execute("ROLLBACK")
    except Exception:  # noqa: BLE001  # the connection is broken: the database rolls back by itself
        return
