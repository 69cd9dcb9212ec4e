"""The room of what was deleted, made free for new rows, and given back to the file system where that can be.

PostgreSQL: a VACUUM of each table that retention takes rows from. It locks out nobody; rows that come later fill the
room it finds, and only what is free at the end of a file goes back to the file system. SQLite: pages from the end of
the file move into free ones, so the file gets shorter, a few hundred in a transaction (files that were made without
``auto_vacuum`` keep their length, and fill it again).

The rule of this file: one short step at a time where the database can do it in steps; whoever asks for the steps paces
them. None of them is in a transaction with anything else.
"""

from __future__ import annotations

from squidmesh.store.database import Database

PAGES = 256
_TABLES = ("history", "runs", "inbox", "tasks", "joins")
#: Milliseconds of rest after so many of the server's cost units. Without, a VACUUM takes all that the disk gives.
_COST_DELAY, _COST_LIMIT = 2, 2_000


def reclaim(database: Database, step: int) -> bool:
    """Do one step, numbered from 0; whether there is another one."""
    if database.dialect.name == "sqlite":
        return _free_pages(database)
    with database.autocommit() as statements:
        driver = statements.driver
        driver.execute(f"SET vacuum_cost_delay = {_COST_DELAY}")
        driver.execute(f"SET vacuum_cost_limit = {_COST_LIMIT}")
        try:
            driver.execute(f"VACUUM (PARALLEL 0) squidmesh_{_TABLES[step]}")
        finally:
            driver.execute("RESET vacuum_cost_delay")
            driver.execute("RESET vacuum_cost_limit")
    return step + 1 < len(_TABLES)


def _free_pages(database: Database) -> bool:
    with database.autocommit() as statements:
        driver = statements.driver
        free = _free(driver)
        driver.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
        left = _free(driver)
        if left == free or not left:
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return False
    return True


def _free(driver: object) -> int:
    (count,) = driver.execute("PRAGMA freelist_count").fetchone()  # type: ignore[attr-defined]
    return int(count)
