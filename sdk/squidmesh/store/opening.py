"""From a URL or an engine to a store.

The rule of this file: what is wrong with a URL is said in one line, with what to write instead and without its
password. No connection is made before the first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from squidmesh.errors import ConfigurationError
from squidmesh.ports import Clock
from squidmesh.store.clock import SyncedClock, SystemClock
from squidmesh.store.database import Database
from squidmesh.store.kept import Kept, Lanes, Shared
from squidmesh.store.migrate import check, set_up_sqlite
from squidmesh.store.store import SqlStore

_FORMS = "write sqlite:///file.db or postgresql://user@host/name"


def open_store(database: str | Engine, *, clock: Clock | None = None, lease: float = 15.0) -> SqlStore:
    """The store on a database. It connects, and looks at the schema, when first used.

    Args:
        database: a URL, or a SQLAlchemy engine, which stays the caller's to dispose of.
        clock: rules over every time, on PostgreSQL too (a virtual clock); None: the database's own.
        lease: seconds for which a worker's statements are tried again while the database does not answer.

    Raises:
        ConfigurationError: the URL cannot work.
    """
    engine = database if isinstance(database, Engine) else engine_for(database)
    where = engine.url.render_as_string(hide_password=True)
    _supported(engine.url)
    own = None if engine is database else engine
    if engine.dialect.name == "sqlite":
        return SqlStore(_sqlite(engine, clock or SystemClock(), lease, where), own)
    return SqlStore(_postgres(engine, clock, lease, where), own)


def engine_for(url: str) -> Engine:
    """An engine on this database, set up as the store needs it.

    Raises:
        ConfigurationError: the URL cannot work.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    try:
        return create_engine(parsed)
    except ImportError as error:
        raise ConfigurationError(
            f"the driver for {parsed.render_as_string(hide_password=True)} is not installed ({error}): "
            "pip install 'psycopg[binary]'"
        ) from error


def _parsed(url: str) -> URL:
    if url.startswith("postgres://"):
        url = "postgresql" + url.removeprefix("postgres")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        shown = url if "@" not in url else f"…@{url.rpartition('@')[2]}"  # what stands before may be a password
        raise ConfigurationError(f"{shown!r} is no database URL: {_FORMS}") from error
    _supported(parsed)
    return parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed


def _supported(url: URL) -> None:
    if url.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"}:
        shown = url.render_as_string(hide_password=True)
        raise ConfigurationError(f"{shown} names the driver {url.drivername!r}, which is not supported: {_FORMS}")


# ---------------------------------------------------------------------------------------------------- PostgreSQL


def _postgres(engine: Engine, clock: Clock | None, lease: float, where: str) -> Database:
    from squidmesh.store.postgres import Postgres

    dialect = Postgres(clocked=clock is not None)
    lane = Kept(engine, dialect)

    def database_time() -> int:
        rows = database.read("SELECT {now}")
        now: int = rows[0][0]
        return now

    database = Database(
        engine, dialect, clock or SyncedClock(database_time), lease, lane, lane, where, lambda: check(engine)
    )
    return database


# -------------------------------------------------------------------------------------------------------- SQLite


def _sqlite(engine: Engine, clock: Clock, lease: float, where: str) -> Database:
    from squidmesh.store.sqlite import Sqlite

    dialect = Sqlite()
    reading: Lanes
    writing: Lanes
    if _in_memory(engine.url):
        if not isinstance(engine.pool, StaticPool):
            raise ConfigurationError(
                "an engine on SQLite in memory has a database for each thread: make it with "
                'create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})'
            )
        reading = Shared(engine, dialect, writing=False)
        writing = Shared(engine, dialect, writing=True, beside=reading)
        event.listen(engine, "begin", _taking_turns(writing))
    else:
        reading = Kept(engine, dialect)
        writing = Kept(engine, dialect, 1, alone=True)
    return Database(engine, dialect, clock, lease, reading, writing, where, lambda: set_up_sqlite(engine))


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def _sqlite_engine(url: URL) -> Engine:
    from squidmesh.store.sqlite import Sqlite

    if _in_memory(url):
        # Without a reset: giving the one connection back must not roll back what another thread has open on it.
        return create_engine(
            url, poolclass=StaticPool, pool_reset_on_return=None, connect_args={"check_same_thread": False}
        )
    engine = create_engine(url, connect_args={"check_same_thread": False})
    dialect = Sqlite()

    @event.listens_for(engine, "connect")
    def _set_up(driver: Any, _: Any) -> None:
        dialect.prepare(driver)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        _begin_immediate(connection.connection.driver_connection)

    return engine


def _taking_turns(shared: Shared) -> Callable[[Any], None]:
    """The host's transaction on the one connection begins when nobody else has one open."""

    def begin(_: Any) -> None:
        with shared.use() as driver:
            _begin_immediate(driver)

    return begin


def _begin_immediate(driver: Any) -> None:
    if not driver.in_transaction and driver.isolation_level is None:
        driver.execute("BEGIN IMMEDIATE")


__all__ = ["engine_for", "open_store"]
