"""The schema's revision: found, checked, brought up to date.

The rule of this file: Alembic is imported only where a migration really runs (it takes a third of a second). Looking
at the revision, and making the schema in an empty SQLite file, need none.
"""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from squidmesh.errors import NotMigrated
from squidmesh.store.database import away
from squidmesh.store.tables import metadata

REVISION: Final = "0004"  # the newest, which this code needs
OLDER: Final[tuple[str, ...]] = ("0001", "0002", "0003")  # those that can be brought up to it
VERSION_TABLE: Final = "squidmesh_version"

_LOCK: Final = 0x5_9D1D_4E54  # the advisory lock under which PostgreSQL migrates
_PATIENCE: Final = 10.0  # seconds to wait for another process that sets up the same file
_STAMP_TABLE: Final = (
    f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
    f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
)


def revision(connection: Connection) -> str | None:
    """The revision of the schema in this database; None when there is none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found


def migrate(database: str | Engine) -> None:
    """Bring the schema to the newest revision. Several processes may do so at the same time.

    Args:
        database: a URL, or an engine (which stays open).

    Raises:
        NotMigrated: the schema is newer than this code.
        ConfigurationError: the URL is none.
        StoreUnavailable: the database cannot be reached.
    """
    if isinstance(database, Engine):
        _migrate(database)
        return
    from squidmesh.store.opening import engine_for

    engine = engine_for(database)
    try:
        _migrate(engine)
    except OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise away(where, error.orig or error) from error
    finally:
        engine.dispose()


def check(engine: Engine) -> None:
    """See that the schema is the one this code needs.

    Raises:
        NotMigrated: it is not; the message names what is there, what is needed, and the command.
    """
    with engine.connect() as connection:
        _check(engine, revision(connection))


def set_up_sqlite(engine: Engine) -> None:
    """Make or bring up the schema of a SQLite database, and check it. Cheap when there is nothing to do."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            found = _sqlite_revision(engine)
            if found is not None and found not in OLDER:
                _check(engine, found)
                return
            _migrate(engine)
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > until:
                raise
            time.sleep(0.02)  # another process sets the file up


def _sqlite_revision(engine: Engine) -> str | None:
    """As ``revision``, without the write lock that a transaction of our engines takes."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,))
        if cursor.fetchone() is None:
            return None
        cursor.execute(f"SELECT version_num FROM {VERSION_TABLE}")
        row = cursor.fetchone()
        return None if row is None else str(row[0])
    finally:
        connection.close()


def _check(engine: Engine, found: str | None) -> None:
    if found == REVISION:
        return
    url = engine.url.render_as_string(hide_password=True)
    there = "no schema of Squid Mesh" if found is None else f"the schema of revision {found}"
    newer = found is not None and found not in OLDER
    how = (
        "this version of squidmesh does not know it: install the newer squidmesh that made it"
        if newer
        else f"run: squidmesh migrate --database {url}"
    )
    raise NotMigrated(f"the database {url} has {there}, and revision {REVISION} is needed; {how}")


def _migrate(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        _migrate_sqlite(engine)
    else:
        _migrate_postgres(engine)


def _migrate_sqlite(engine: Engine) -> None:
    with engine.connect() as connection, _Writing(connection):
        found = revision(connection)
        if found is None:
            metadata.create_all(connection, checkfirst=False)
            connection.execute(text(_STAMP_TABLE))
            connection.execute(text(f"INSERT INTO {VERSION_TABLE} VALUES (:found)"), {"found": REVISION})  # noqa: S608
        elif found in OLDER:
            _upgrade(connection)
        else:
            _check(connection.engine, found)


class _Writing:
    """A transaction that takes SQLite's write lock at once, whoever made the engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver: Any = None

    def __enter__(self) -> None:
        self._driver = self._connection.connection.driver_connection
        self._kept = self._driver.isolation_level
        if self._kept is not None:
            self._driver.isolation_level = None  # the driver opens no transaction of its own
        self._connection.begin()  # an engine of ours begins IMMEDIATE
        if not self._driver.in_transaction:
            self._driver.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._driver.execute("ROLLBACK" if error is not None else "COMMIT")
        if self._kept is not None:
            self._driver.isolation_level = self._kept


def _migrate_postgres(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        try:
            found = revision(connection)
            if found is None or found in OLDER:
                connection.commit()
                _upgrade(connection)
                connection.commit()
            else:
                _check(connection.engine, found)
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
            connection.commit()


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection | None = None) -> Any:
    """Alembic's settings for the migrations that travel with this package."""
    from pathlib import Path

    from alembic.config import Config

    import squidmesh_migrations

    config = Config()
    config.set_main_option("script_location", str(Path(squidmesh_migrations.__path__[0])))
    config.attributes["connection"] = connection
    return config


__all__ = ["REVISION", "alembic_config", "check", "migrate", "revision", "set_up_sqlite"]
