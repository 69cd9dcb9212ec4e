"""Driver connections that are kept between statements.

The rule of this file: a connection is in autocommit mode, used by one thread at a time, and left with nothing open.
Taking one costs a microsecond; a pool's checkout with its reset, and BEGIN and COMMIT around one statement, cost more
than the statement. Kept connections do not count in the host's pool.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sqlalchemy import Engine

from squidmesh.errors import StoreUnavailable
from squidmesh.store.dialect import Dialect

_TRUSTED = 1.0  # seconds that an idle connection is taken to be alive without a look
_PATIENCE = 5.0  # seconds to wait for a transaction of the host's on the one connection of a database in memory


class Unreached(Exception):
    """No connection could be made: nothing was sent. The driver's error is the cause."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        super().__init__(str(cause))


class Lanes(Protocol):
    """Gives connections to whoever has something to say."""

    def use(self) -> Any:
        """A context manager that gives a driver connection."""
        ...

    def close(self) -> None: ...


class Kept:
    """As many connections as are used at the same time; up to ``limit`` of them are kept.

    Args:
        engine: where connections come from.
        dialect: sets them up.
        limit: how many are kept.
        alone: one connection only, that threads take turns on (SQLite has one writer).
    """

    def __init__(self, engine: Engine, dialect: Dialect, limit: int = 8, *, alone: bool = False) -> None:
        self._engine = engine
        self._pool = engine.pool.recreate()  # made as the host's are, and not counted among them
        self._dialect = dialect
        self._limit = limit
        self._free: deque[tuple[Any, float]] = deque()
        self._turn = threading.RLock() if alone else None
        self._pid = os.getpid()

    @contextmanager
    def use(self) -> Iterator[Any]:
        if self._turn is None:
            yield from self._lend()
        else:
            with self._turn:
                yield from self._lend()

    def _lend(self) -> Iterator[Any]:
        driver = self._take()
        try:
            yield driver
        except BaseException:
            if self._dialect.usable(driver):
                self._keep(driver)
            else:
                _drop(driver)
            raise
        self._keep(driver)

    def _take(self) -> Any:
        if os.getpid() != self._pid:  # forked: these sockets are the parent's; closing them here would end its talk
            self._free, self._pid = deque(), os.getpid()
            self._turn = threading.RLock() if self._turn else None
        while self._free:
            try:
                driver, since = self._free.pop()
            except IndexError:
                break
            if time.monotonic() - since < _TRUSTED or self._dialect.usable(driver):
                return driver
            _drop(driver)
        return self._open()

    def _open(self) -> Any:
        try:
            pooled = self._pool.connect()
        except self._engine.dialect.loaded_dbapi.Error as error:
            raise Unreached(error) from error
        driver = pooled.driver_connection
        pooled.detach()
        self._dialect.prepare(driver)
        return driver

    def _keep(self, driver: Any) -> None:
        if len(self._free) < self._limit:
            self._free.append((driver, time.monotonic()))
        else:
            _drop(driver)

    def close(self) -> None:
        while self._free and os.getpid() == self._pid:
            _drop(self._free.pop()[0])


class Shared:
    """The one connection of a SQLite database in memory, which readers and writers and the host take turns on.

    Args:
        engine: has the connection.
        dialect: sets it up.
        writing: wait until nobody has a transaction open. (Who reads, reads what is there.)
        beside: the other lane on the same connection.
    """

    def __init__(self, engine: Engine, dialect: Dialect, *, writing: bool, beside: Shared | None = None) -> None:
        self._pooled: Any = beside._pooled if beside else engine.raw_connection()
        self._driver: Any = self._pooled.driver_connection
        self._turn: Any = beside._turn if beside else threading.RLock()
        self._writing = writing
        dialect.prepare(self._driver)

    @contextmanager
    def use(self) -> Iterator[Any]:
        until = time.monotonic() + _PATIENCE
        while True:
            with self._turn:
                if not self._writing or not self._driver.in_transaction:
                    yield self._driver
                    return
            if time.monotonic() > until:
                raise StoreUnavailable(
                    "the database in memory has one connection, and another transaction is open on it: "
                    "end that one first, or pass it as connection="
                )
            time.sleep(0.001)

    def close(self) -> None:
        _drop(self._pooled)


def _drop(connection: Any) -> None:
    try:
        connection.close()
    except Exception:  # noqa: BLE001  # it is broken already, or the server is gone
        return
