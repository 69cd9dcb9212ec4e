"""What the hot statements cost, in what noise cannot move: round trips, commits, bytes of WAL."""

from typing import Any

import pytest
from sqlalchemy import text

from squidmesh.ports import Join, RunChange
from squidmesh.store import SqlStore
from squidmesh.store.database import Database, Statements

from .conftest import Open
from .support import CAN, a_task, an_append, fanned_out, held, new_run, outcome, started, worker


class Counted:
    def __init__(self) -> None:
        self.statements = self.transactions = 0

    def since(self) -> tuple[int, int]:
        """Statements and transactions of several statements since last asked."""
        found = self.statements, self.transactions
        self.statements = self.transactions = 0
        return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()

    def counting(method: Any, name: str) -> Any:
        def count(*given: Any, **more: Any) -> Any:
            setattr(counted, name, getattr(counted, name) + 1)
            return method(*given, **more)

        return count

    monkeypatch.setattr(Statements, "rows", counting(Statements.rows, "statements"))
    monkeypatch.setattr(Statements, "change", counting(Statements.change, "statements"))
    monkeypatch.setattr(Database, "transaction", counting(Database.transaction, "transactions"))
    return counted


@pytest.fixture
def postgres(opened: Open, postgres_url: str) -> SqlStore:
    return opened(postgres_url)


def test_on_postgres_what_is_hot_is_one_statement_without_a_transaction(postgres: SqlStore, counted: Counted) -> None:
    store = postgres
    first, second, third = held(store), held(store), new_run(store)
    run_id = fanned_out(store, 3)
    counted.since()
    store.append(an_append(first, 2))
    assert counted.since() == (1, 0)
    release = RunChange("waiting", release=True, due_at=1)
    more = {"tasks": (a_task(store, "2"),), "joins": (Join("2", 1),), "taken": (1,)}
    counted.since()
    store.append(an_append(first, 3, change=release, **more))
    assert counted.since() == (1, 0)
    store.append(an_append(second, 2, change=RunChange("completed", ended_at=1)))
    assert counted.since() == (1, 0)
    tasks = store.claim_tasks("w1", "default", CAN, 3, run_id=run_id)
    assert counted.since() == (1, 0)
    store.report("w1", [outcome(task) for task in tasks])
    assert counted.since() == (1, 0)
    store.start([third])
    assert counted.since() == (1, 0)
    store.claim("w1", third.run_id, CAN)
    assert counted.since() == (2, 0)


def test_on_sqlite_appends_that_wait_together_are_one_transaction(
    opened: Open, sqlite_url: str, counted: Counted
) -> None:
    store = opened(sqlite_url)
    worker(store)
    claims = [store.claim("w1", started(store), CAN) for _ in range(5)]
    counted.since()
    store.database.dialect.write(store.database, [an_append(claimed) for claimed in claims if claimed])
    assert counted.since() == (10, 1)


def test_a_step_writes_one_commit_and_at_most_700_bytes_of_wal(postgres: SqlStore) -> None:
    store, steps = postgres, 400
    claimed = held(store)
    store.append(an_append(claimed, 2))

    def written() -> tuple[int, int]:
        with store.engine.connect() as connection:
            lsn, rows = connection.execute(
                text(
                    "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, "
                    "pg_current_xact_id()::text::bigint"
                )
            ).one()
        return int(lsn), int(rows)

    before = written()
    for n in range(steps):
        append = an_append(claimed, 3 + 3 * n, events=["StepCompleted " + "x" * 76] * 3)
        assert 300 < len(append.events) < 400
        assert store.append(append).accepted
    after = written()
    assert (after[0] - before[0]) / steps <= 700
    assert (after[1] - before[1]) / steps <= 1.1
