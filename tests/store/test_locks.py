"""On PostgreSQL: who waits for whom, each case brought about on purpose.

Somebody else's transaction (`other`) stands in the way; the store's call waits for it; then it commits. Locks are
taken in one order (tasks, joins, run, inbox), so what waits for one of them holds none of those after it.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from squidmesh.ports import Appended, Join, RunChange
from squidmesh.store import SqlStore

from .conftest import Open
from .support import CAN, LEASE, SECOND, HandClock, an_append, events_of, fanned_out, held, outcome


@pytest.fixture
def store(opened: Open, emptied_postgres_url: str) -> SqlStore:
    return opened(emptied_postgres_url)


@pytest.fixture
def engine(emptied_postgres_url: str) -> Iterator[Engine]:
    engine = create_engine(emptied_postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def other(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


class Waiting:
    """A call in a thread of its own that has come to wait for a lock."""

    def __init__(self, engine: Engine, action: Callable[[], Any]) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._do, args=(action,))
        self._thread.start()
        for _ in range(5_000):
            with engine.connect() as connection:
                waiting = connection.execute(
                    text(
                        "SELECT count(*) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                    )
                ).scalar()
            if waiting:
                return
        raise AssertionError("it waits for nothing")

    def _do(self, action: Callable[[], Any]) -> None:
        self.answer = action()

    def end(self) -> Any:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.answer


def locked(connection: Connection, table: str, where: str, **parameters: Any) -> int:
    """Lock rows, and tell how many."""
    return len(connection.execute(text(f"SELECT 1 FROM {table} WHERE {where} FOR UPDATE"), parameters).all())


def is_free(engine: Engine, table: str, where: str, **parameters: Any) -> bool:
    with engine.connect() as connection:
        try:
            found = connection.execute(text(f"SELECT 1 FROM {table} WHERE {where} FOR UPDATE NOWAIT"), parameters)
        except OperationalError:
            return False
        return bool(found.all())


@pytest.mark.parametrize("change", [None, RunChange("undoing"), RunChange("waiting", release=True)])
def test_an_append_that_waits_for_a_join_does_not_hold_the_run(
    store: SqlStore, engine: Engine, other: Connection, change: RunChange | None
) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    store.append(an_append(claimed, 2, joins=(Join("7", 5),)))
    assert locked(other, "squidmesh_joins", "run_id = :id", id=run_id) == 1
    append = an_append(claimed, 3, change=change, joins=(Join("7", 1, wake_at=2),))
    waiting = Waiting(engine, lambda: store.append(append))
    assert is_free(engine, "squidmesh_runs", "id = :id", id=run_id)
    other.execute(text("UPDATE squidmesh_joins SET remaining = 1"))
    other.commit()
    assert waiting.end() == Appended(accepted=True, pinged=True), "it reads what the report has left of the join"


def test_a_report_that_waits_for_a_task_holds_none_that_comes_after_it(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    run_id = fanned_out(store, 3)
    tasks = sorted(store.claim_tasks("w1", "default", CAN, 3), key=lambda task: task.position)
    assert locked(other, "squidmesh_tasks", "position = '7.1'") == 1
    outcomes = [outcome(task, f"Kind{task.position}") for task in reversed(tasks)]
    waiting = Waiting(engine, lambda: store.report("w1", outcomes))
    for position in ("7.2", "7.3"):
        assert is_free(engine, "squidmesh_tasks", "position = :position", position=position)
    other.commit()
    assert waiting.end().pinged == {run_id}
    kinds = [event["kind"] for event in events_of(store.inbox(run_id))]
    assert kinds == ["Kind7.3", "Kind7.2", "Kind7.1"], "they are told in the order given"


def test_an_end_that_waits_for_a_task_does_not_hold_the_run(store: SqlStore, engine: Engine, other: Connection) -> None:
    run_id = fanned_out(store, 2)
    store.post(run_id, "CancelRequested", "[{}]")
    claimed = store.claim("w1", run_id, CAN)
    assert claimed is not None
    assert locked(other, "squidmesh_tasks", "position = '7.2'") == 1
    taken = tuple(message.id for message in claimed.inbox)
    ending = an_append(claimed, 3, change=RunChange("cancelled", ended_at=1), taken=taken)
    waiting = Waiting(engine, lambda: store.append(ending))
    assert is_free(engine, "squidmesh_runs", "id = :id", id=run_id)
    other.commit()
    assert waiting.end().accepted
    assert store.tasks(run_id) == []


def test_a_message_that_commits_while_the_end_waits_for_the_run_is_seen(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    assert store.post(run_id, "Signal", "[{}]", connection=other) == (True, "running")
    ending = an_append(claimed, 2, change=RunChange("completed", ended_at=1))
    waiting = Waiting(engine, lambda: store.append(ending))
    other.commit()
    assert waiting.end() == Appended(accepted=True, pinged=True)
    again = store.claim("w1", run_id, CAN)
    assert again is not None
    assert (again.run.status, len(again.inbox)) == ("completed", 1)


def test_a_message_that_commits_while_the_run_is_let_go_leaves_it_due(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    store.post(run_id, "Signal", "[{}]", connection=other)
    change = RunChange("waiting", release=True, due_at=store.now() + 60 * SECOND)
    waiting = Waiting(engine, lambda: store.append(an_append(claimed, 2, change=change)))
    other.commit()
    assert waiting.end() == Appended(accepted=True, pinged=True)
    again = store.claim("w1", run_id, CAN)
    assert again is not None
    assert len(again.inbox) == 1


def test_a_message_that_commits_while_the_holder_refreshes_is_seen(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    claimed = held(store)
    store.post(claimed.run.run_id, "Signal", "[{}]", connection=other)
    waiting = Waiting(engine, lambda: store.refresh(claimed.run.run_id, "w1", 1))
    other.commit()
    assert len(waiting.end()) == 1


def test_a_message_that_commits_while_the_run_is_claimed_is_seen(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    store.append(an_append(claimed, 2, change=RunChange("waiting", release=True, due_at=store.now() - 1)))
    store.post(run_id, "Signal", "[{}]", connection=other)
    waiting = Waiting(engine, lambda: store.claim("w1", run_id, CAN))
    other.commit()
    assert len(waiting.end().inbox) == 1


def test_a_holder_taken_over_while_it_waits_for_the_run_is_refused(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    claimed = held(store)
    other.execute(text("UPDATE squidmesh_runs SET worker = NULL, due_at = 1"))
    change = RunChange("waiting", release=True)
    waiting = Waiting(engine, lambda: store.append(an_append(claimed, 2, change=change)))
    other.commit()
    assert waiting.end() == Appended(accepted=False, pinged=False)
    assert len(store.history(claimed.run.run_id)) == 1


# ------------------------------------------------------------------------- transactions shared with user code


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def clocked(opened: Open, emptied_postgres_url: str, clock: HandClock) -> SqlStore:
    return opened(emptied_postgres_url, clock)


def test_who_takes_over_waits_for_a_holder_between_its_fence_and_its_commit(
    clocked: SqlStore, clock: HandClock, engine: Engine
) -> None:
    claimed = held(clocked)
    with clocked.transaction() as shared:
        assert shared.append(an_append(claimed, 2)).accepted
        clock.go_on(LEASE)
        waiting = Waiting(engine, lambda: clocked.take_over("w1", {}))
    assert waiting.end() == 1
    row = clocked.run(claimed.run.run_id)
    assert row is not None
    assert (row.worker, row.length) == (None, 2)


def test_who_takes_over_waits_for_a_report_between_its_fence_and_its_commit(
    clocked: SqlStore, clock: HandClock, engine: Engine
) -> None:
    run_id = fanned_out(clocked, 1)
    (task,) = clocked.claim_tasks("w1", "default", CAN, 1)
    with clocked.transaction() as shared:
        assert shared.report("w1", [outcome(task)]).accepted
        clock.go_on(LEASE)
        waiting = Waiting(engine, lambda: clocked.take_over("w1", {(run_id, task.position): ("[{}]", True)}))
    assert waiting.end() == 0
    assert [event["kind"] for event in events_of(clocked.inbox(run_id))] == ["StepCompleted"]


@pytest.mark.parametrize("reopen", [None, "undoing"])
def test_a_message_waits_for_a_holder_between_its_fence_and_its_commit(
    store: SqlStore, engine: Engine, reopen: str | None
) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    with store.transaction() as shared:
        change = RunChange("completed", ended_at=7)
        assert shared.append(an_append(claimed, 2, change=change)) == Appended(accepted=True, pinged=False)
        waiting = Waiting(engine, lambda: store.post(run_id, "RollbackStarted", "[{}]", reopen=reopen))
    assert waiting.end() == ((True, "undoing") if reopen else (False, "completed"))
    row = store.run(run_id)
    assert row is not None
    assert (row.ended_at is None) == (reopen is not None)


def test_a_holder_that_was_taken_over_while_its_user_code_ran_is_refused(store: SqlStore, other: Connection) -> None:
    claimed = held(store)
    with store.transaction() as shared:
        shared.connection.execute(text("SELECT 1"))
        other.execute(text("UPDATE squidmesh_runs SET worker = NULL, due_at = 1"))
        other.commit()
        assert shared.append(an_append(claimed, 2)) == Appended(accepted=False, pinged=False)


def test_a_lease_is_renewed_while_user_code_runs_and_between_fence_and_commit(store: SqlStore) -> None:
    claimed = held(store)
    with store.transaction() as shared:
        shared.connection.execute(text("SELECT 1"))
        assert store.renew("w1", LEASE)
        assert shared.append(an_append(claimed, 2)).accepted
        assert store.renew("w1", LEASE)


def test_a_shared_append_that_waits_for_a_join_does_not_hold_the_run(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    store.append(an_append(claimed, 2, joins=(Join("7", 5),)))
    assert locked(other, "squidmesh_joins", "run_id = :id", id=run_id) == 1

    def append() -> Appended:
        with store.transaction() as shared:
            return shared.append(an_append(claimed, 3, joins=(Join("7", 1, wake_at=2),)))

    waiting = Waiting(engine, append)
    assert is_free(engine, "squidmesh_runs", "id = :id", id=run_id)
    other.execute(text("UPDATE squidmesh_joins SET remaining = 1"))
    other.commit()
    assert waiting.end() == Appended(accepted=True, pinged=True), "it reads what the report has left of the join"


def test_a_note_waits_for_who_takes_its_task_and_is_refused_then(
    store: SqlStore, engine: Engine, other: Connection
) -> None:
    run_id = fanned_out(store, 1)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    other.execute(text("UPDATE squidmesh_tasks SET worker = NULL"))
    waiting = Waiting(engine, lambda: store.note(run_id, task.position, "w1", 1, "[{}]"))
    other.commit()
    assert waiting.end() is False
    assert store.inbox(run_id) == []


def test_a_worker_that_somebody_else_takes_over_is_passed_by(store: SqlStore, other: Connection) -> None:
    store.register("dead", "host", 1, CAN, 0.0)
    assert locked(other, "squidmesh_workers", "id = 'dead'") == 1
    assert store.take_over("dead", {}) == 0
    other.rollback()
    store.take_over("dead", {})
    assert store.workers() == []


def test_tasks_that_somebody_else_claims_are_passed_by(store: SqlStore, other: Connection) -> None:
    run_id = fanned_out(store, 3)
    assert locked(other, "squidmesh_tasks", "position = '7.1'") == 1
    assert [task.position for task in store.claim_tasks("w1", "default", CAN, 3)] == ["7.2", "7.3"]
    other.rollback()
    assert [task.position for task in store.claim_tasks("w1", "default", CAN, 3, run_id)] == ["7.1"]


def test_a_plain_append_waits_for_nobody(store: SqlStore, other: Connection) -> None:
    claimed = held(store)
    assert locked(other, "squidmesh_runs", "id = :id", id=claimed.run.run_id) == 1
    assert store.append(an_append(claimed, 2)).accepted
