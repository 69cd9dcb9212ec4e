"""What arrives for a run: starts, messages, and pings.

The rule of this file: whoever puts something into a run's inbox so that somebody must look, pings the run in the
same transaction. A ping is an update of the run's row: it waits for the row's lock, and so is either seen by who
holds the run, or kept for who comes next.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, scoped_session

from squidmesh.ports import Capability, NewRun
from squidmesh.store.database import CLIENT_PATIENCE, Database, Statements
from squidmesh.store.rows import CODE, known_id

LARGEST_START = 1_000  # runs in one statement
_AFTER_COMMIT = 0.05  # seconds from a Connection's commit event, which comes just before the commit, to the action

PING = """
UPDATE squidmesh_runs SET due_at = CASE WHEN due_at IS NULL OR due_at > {now} THEN {now} ELSE due_at END
WHERE id = :run_id AND ended_at IS NULL
"""
# Of a run that may have ended, whatever else happens to it meanwhile: who comes second finds it open.
_OPEN = """
UPDATE squidmesh_runs
SET due_at = CASE WHEN due_at IS NULL OR due_at > {now} THEN {now} ELSE due_at END,
    status = CASE WHEN ended_at IS NULL THEN status ELSE :reopen END,
    reason = CASE WHEN ended_at IS NULL THEN reason END,
    ended_at = NULL
WHERE id = :run_id
RETURNING status
"""
LAND = """
INSERT INTO squidmesh_inbox (run_id, kind, key, events, at) VALUES (:run_id, :kind, :key, :events, {now})
ON CONFLICT DO NOTHING
"""


def start(database: Database, runs: Sequence[NewRun], connection: Any) -> list[str]:
    chunks = [runs[n : n + LARGEST_START] for n in range(0, len(runs), LARGEST_START)]

    def insert(statements: Statements) -> list[str]:
        return [run_id for chunk in chunks for run_id in database.dialect.start(statements, chunk)]

    def attempt(again: bool) -> list[str]:
        if again and (inserted := there(database, runs)):  # the answer was lost, not the commit
            return inserted
        with database.transaction() if len(chunks) > 1 else database.autocommit_or_transaction() as statements:
            return insert(statements)

    if connection is not None:
        database.ensure_ready()
        return insert(database.joined(connection))
    return database.patiently(attempt, CLIENT_PATIENCE) if chunks else []


def there(database: Database, runs: Sequence[NewRun]) -> list[str]:
    """Those of the runs that were inserted, as is asked when the answer to that was lost."""
    rows = database.read(
        "SELECT {text:id} FROM squidmesh_runs WHERE id {in:ids:uuid}",
        ids=database.dialect.listed(run.run_id for run in runs),
    )
    ids = {row[0] for row in rows}
    return [run.run_id for run in runs if run.run_id in ids]


def after_commit(connection: Any, action: Callable[[], None]) -> None:
    """Do this once the caller's transaction is committed; never, if it is rolled back and the next one committed."""
    if isinstance(connection, Connection) and _is_autocommit(connection):
        action()
        return
    session = connection() if isinstance(connection, scoped_session) else connection
    rolled_back: list[bool] = []

    def committed(_: Any) -> None:
        if not rolled_back:
            action() if session is not own else _soon(action)

    own = session.connection() if isinstance(session, Session) else session
    event.listen(own, "rollback", lambda _: rolled_back.append(True), once=True)
    event.listen(session, "commit" if session is own else "after_commit", committed, once=True)


def _is_autocommit(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT")


def _soon(action: Callable[[], None]) -> None:
    timer = threading.Timer(_AFTER_COMMIT, action)
    timer.daemon = True
    timer.start()


def post(
    database: Database, run_id: str, kind: str, events: str, key: str | None, connection: Any, reopen: str | None
) -> tuple[bool, str] | None:
    plain = known_id(run_id)
    if plain is None:
        return None

    def put(statements: Statements) -> tuple[bool, str] | None:
        ping = PING + "RETURNING status" if reopen is None else _OPEN
        pinged = statements.rows(ping, run_id=plain, reopen=reopen)
        if pinged:
            landed = statements.change(LAND, run_id=plain, kind=kind, key=key, events=events)
            return bool(landed), pinged[0][0]
        found = statements.rows("SELECT status FROM squidmesh_runs WHERE id = :run_id", run_id=plain)
        return (False, found[0][0]) if found else None

    def attempt(_: bool) -> tuple[bool, str] | None:
        with database.transaction() as statements:
            return put(statements)

    if connection is not None:
        database.ensure_ready()
        return put(database.joined(connection))
    return database.patiently(attempt, CLIENT_PATIENCE, resend=key is not None)


def unblock(database: Database, can: Capability, codes: Mapping[tuple[str, int], str], limit: int) -> list[str]:
    known = [f"{version}@{workflow}" for workflow, version in codes]
    at_hand = {f"{version}@{workflow}": code for (workflow, version), code in codes.items()}

    def attempt(_: bool) -> list[str]:
        with database.autocommit() as statements:
            rows = statements.rows(
                _UNBLOCK.replace("#at_hand#", _AT_HAND[database.dialect.name]),
                queues=database.dialect.listed(can.queues),
                codes=database.dialect.listed(known),
                at_hand=json.dumps(at_hand),
                limit=limit,
            )
        return [row[0] for row in rows]

    return database.patiently(attempt, CLIENT_PATIENCE) if codes else []


_AT_HAND = {
    "postgresql": f"(:at_hand::json ->> {CODE})",
    "sqlite": f"""json_extract(:at_hand, '$."' || {CODE} || '"')""",
}
# `code` has the fingerprints of all that were tried, with spaces between them.
_UNBLOCK = f"""
WITH b(blocked) AS MATERIALIZED (
    SELECT id FROM squidmesh_runs
    WHERE status = 'blocked' AND code IS NOT NULL AND worker IS NULL AND due_at IS NULL
        AND queue {{in:queues}} AND {CODE} {{in:codes}}
        AND replace(' ' || code || ' ', ' ' || #at_hand# || ' ', '') = ' ' || code || ' '
    ORDER BY id LIMIT :limit {{lock}}
)
UPDATE squidmesh_runs SET due_at = {{now}} WHERE id IN (SELECT blocked FROM b)
RETURNING {{text:id}}
"""
