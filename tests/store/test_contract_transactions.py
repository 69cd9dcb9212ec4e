"""The contract of the store: a transaction that user code shares with the engine. All of it is written, or nothing."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session

from squidmesh.ports import Appended, Join, Reported, RunChange
from squidmesh.store import SqlStore

from .conftest import Open
from .support import (
    CAN,
    LEASE,
    SECOND,
    App,
    HandClock,
    a_task,
    an_app,
    an_append,
    events_of,
    fanned_out,
    held,
    let_go,
    outcome,
    worker,
)

ACCEPTED = Appended(accepted=True, pinged=False)
PINGED = Appended(accepted=True, pinged=True)
REFUSED = Appended(accepted=False, pinged=False)
NOTHING = Reported()
ENDING = RunChange("completed", ended_at=77)


@pytest.fixture
def app(clocked: SqlStore) -> Iterator[App]:
    with an_app(clocked) as app:
        yield app


@pytest.fixture
def store(clocked: SqlStore) -> SqlStore:
    return clocked


def kinds(store: SqlStore, run_id: str) -> list[str]:
    return [event["kind"] for event in events_of(store.history(run_id))]


# ------------------------------------------------------------------------------------------- all of it, or nothing


def test_rows_of_the_application_and_the_event_are_written_together(store: SqlStore, app: App) -> None:
    claimed = held(store)
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.append(an_append(claimed, 2, events=["StepCompleted"])) == ACCEPTED
    assert app.orders == ["a"]
    assert kinds(store, claimed.run.run_id) == ["RunStarted", "StepCompleted"]
    assert store.append(an_append(claimed, 3)) == ACCEPTED


def test_by_the_databases_own_clock_too(url: str, opened: Open) -> None:
    store = opened(url)
    claimed = held(store)
    with an_app(store) as app:
        with store.transaction() as shared:
            app.order(shared.connection, "a")
            assert shared.append(an_append(claimed, 2)) == ACCEPTED
        assert app.orders == ["a"]


@pytest.mark.parametrize("after", [False, True], ids=["before the append", "after it"])
def test_what_raises_leaves_nothing_of_either(store: SqlStore, app: App, after: bool) -> None:
    claimed = held(store)

    def body() -> None:
        with store.transaction() as shared:
            app.order(shared.connection, "a")
            assert not after or shared.append(an_append(claimed, 2)).accepted
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    assert app.orders == []
    assert kinds(store, claimed.run.run_id) == ["RunStarted"]
    assert store.append(an_append(claimed, 2)) == ACCEPTED


def test_an_append_may_change_all_that_it_may_change_alone(store: SqlStore, app: App) -> None:
    claimed = held(store)
    run_id, due_at = claimed.run.run_id, store.now() + 60 * SECOND
    store.post(run_id, "Signal", "[1]")
    inbox = store.refresh(run_id, "w1", 1)
    assert inbox is not None
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        change = RunChange("undoing", "draining", release=True, due_at=due_at, rollback="walking")
        append = an_append(
            claimed, 2, change=change, tasks=(a_task(store, "3"),), joins=(Join("3", 1),), taken=(inbox[0].id,)
        )
        assert shared.append(append) == ACCEPTED
    row = store.run(run_id)
    assert row is not None
    assert (row.status, row.reason, row.rollback, row.worker, row.due_at) == (
        "undoing",
        "draining",
        "walking",
        None,
        due_at,
    )
    assert [task.position for task in store.tasks(run_id)] == ["3"]
    assert store.inbox(run_id) == []


def test_an_append_tells_of_what_arrived(store: SqlStore, app: App) -> None:
    claimed = held(store)
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.append(an_append(claimed, 2)) == ACCEPTED
    store.post(claimed.run.run_id, "Signal", "[{}]")
    with store.transaction() as shared:
        assert shared.append(an_append(claimed, 3)) == PINGED
    with store.transaction() as shared:
        assert shared.append(an_append(claimed, 4, change=RunChange("running"))) == PINGED


@pytest.mark.parametrize("arrived", [False, True])
def test_a_run_may_end_with_the_rows_of_its_last_step(store: SqlStore, app: App, arrived: bool) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    store.append(an_append(claimed, 2, tasks=(a_task(store, "3"),), joins=(Join("3", 1),)))
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        if arrived:
            store.post(run_id, "Signal", "[{}]", connection=shared.connection)
        assert shared.append(an_append(claimed, 3, change=ENDING)) == (PINGED if arrived else ACCEPTED)
    row = store.run(run_id)
    assert row is not None
    assert (row.status, row.ended_at, row.worker) == ("completed", None if arrived else 77, None)
    assert (row.due_at is not None, len(store.inbox(run_id))) == (arrived, arrived)
    assert store.tasks(run_id) == []
    assert app.orders == ["a"]


# ------------------------------------------------------------------------------------------------------ the fence


CHANGES = [None, RunChange("running"), RunChange("waiting", release=True), ENDING]


@pytest.mark.parametrize("change", CHANGES, ids=["plain", "changing", "releasing", "ending"])
@pytest.mark.parametrize("wrong", [{"worker": "w2"}, {"epoch": 2}, {"seq": 1}])
def test_what_is_refused_takes_the_rows_of_the_application_with_it(
    store: SqlStore, app: App, change: RunChange | None, wrong: dict[str, Any]
) -> None:
    claimed = held(store)
    worker(store, "w2")
    before = store.run(claimed.run.run_id)
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.append(an_append(claimed, **({"seq": 2, "change": change} | wrong))) == REFUSED
    assert app.orders == []
    assert kinds(store, claimed.run.run_id) == ["RunStarted"]
    assert store.run(claimed.run.run_id) == before


def test_after_a_refusal_nothing_else_is_written_either(store: SqlStore, app: App) -> None:
    claimed, other = held(store), held(store)
    with store.transaction() as shared:
        assert shared.append(an_append(claimed, 2, epoch=9)) == REFUSED
        assert shared.append(an_append(other, 2)) == ACCEPTED
    assert kinds(store, other.run.run_id) == ["RunStarted"]


def test_a_lease_that_ends_while_the_transaction_is_open_refuses_it(
    store: SqlStore, app: App, clock: HandClock
) -> None:
    claimed = held(store)
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        clock.go_on(LEASE)
        assert shared.append(an_append(claimed, 2)) == REFUSED
    assert app.orders == []


def test_a_holder_of_an_older_epoch_is_refused(store: SqlStore, app: App) -> None:
    old = held(store)
    let_go(store, old, 2, due_at=store.now())
    new = store.claim("w1", old.run.run_id, CAN)
    assert new is not None
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.append(an_append(old, 3)) == REFUSED
    with store.transaction() as shared:
        app.order(shared.connection, "b")
        assert shared.append(an_append(new, 3)) == ACCEPTED
    assert app.orders == ["b"]


def test_who_takes_over_beside_an_open_transaction_comes_before_it_or_after_it(
    store: SqlStore, app: App, clock: HandClock
) -> None:
    """Whatever the database does with the second one: of both, the later sees the earlier."""
    claimed = held(store)
    run_id = claimed.run.run_id
    freed: list[int] = []
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.append(an_append(claimed, 2)) == ACCEPTED
        clock.go_on(LEASE)
        thread = threading.Thread(target=lambda: freed.append(store.take_over("w1", {})))
        thread.start()
    thread.join(30)
    assert freed == [1]
    row = store.run(run_id)
    assert row is not None
    assert (row.worker, row.length) == (None, 2), "the length is counted with what was committed before"
    assert app.orders == ["a"]


# -------------------------------------------------------------------------------------------------------- reports


def test_rows_of_the_application_and_an_outcome_are_written_together(store: SqlStore, app: App) -> None:
    run_id = fanned_out(store, 2)
    one, two = store.claim_tasks("w1", "default", CAN, 2)
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.report("w1", [outcome(one)]) == Reported(frozenset({(run_id, one.position)}))
    assert [task.position for task in store.tasks(run_id)] == [two.position]
    with store.transaction() as shared:
        app.order(shared.connection, "b")
        assert shared.report("w1", [outcome(two)]).pinged == {run_id}
    assert app.orders == ["a", "b"]
    assert [event["position"] for event in events_of(store.inbox(run_id))] == [one.position, two.position]


def test_an_outcome_that_is_rolled_back_was_not_reported(store: SqlStore, app: App) -> None:
    run_id = fanned_out(store, 1)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)

    def body() -> None:
        with store.transaction() as shared:
            app.order(shared.connection, "a")
            assert shared.report("w1", [outcome(task)]).accepted
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    assert app.orders == []
    assert store.tasks(run_id) == [task]
    assert store.report("w1", [outcome(task)]).pinged == {run_id}


@pytest.mark.parametrize("wrong", [{"number": 2}, {"position": "7.9"}])
def test_one_refused_outcome_refuses_all_of_the_transaction(store: SqlStore, app: App, wrong: dict[str, Any]) -> None:
    run_id = fanned_out(store, 2)
    one, two = store.claim_tasks("w1", "default", CAN, 2)
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.report("w1", [outcome(one), outcome(two, **wrong)]) == NOTHING
    assert app.orders == []
    assert store.inbox(run_id) == []
    assert len(store.tasks(run_id)) == 2


def test_an_outcome_after_the_lease_or_of_another_worker_is_refused(
    store: SqlStore, app: App, clock: HandClock
) -> None:
    run_id = fanned_out(store, 1)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    worker(store, "w2", lease=99.0)
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.report("w2", [outcome(task)]) == NOTHING
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        clock.go_on(LEASE)
        assert shared.report("w1", [outcome(task)]) == NOTHING
    assert store.take_over("w1", {(run_id, task.position): ('[{"kind":"AttemptLost"}]', False)}) == 1
    with store.transaction() as shared:
        app.order(shared.connection, "a")
        assert shared.report("w1", [outcome(task)]) == NOTHING
    assert app.orders == []
    (again,) = store.claim_tasks("w2", "default", CAN, 1)
    with store.transaction() as shared:
        app.order(shared.connection, "b")
        assert shared.report("w2", [outcome(again)]).pinged == {run_id}
    assert app.orders == ["b"]


# ------------------------------------------------------------------------------------------------- the connection


def test_savepoints_keep_what_stands_before_and_after_them(store: SqlStore, app: App) -> None:
    claimed = held(store)

    def order_all(connection: Connection, *names: str) -> None:
        with connection.begin_nested():
            for name in names:
                app.order(connection, name)

    with store.transaction() as shared:
        app.order(shared.connection, "a")
        with pytest.raises(IntegrityError):
            order_all(shared.connection, "b", "a")
        with shared.connection.begin_nested():
            app.order(shared.connection, "c")
            with pytest.raises(IntegrityError):
                order_all(shared.connection, "d", "c")
        assert shared.append(an_append(claimed, 2)) == ACCEPTED
    assert app.orders == ["a", "c"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_session_that_commits_commits_nothing_before_its_time(store: SqlStore, app: App, fails: bool) -> None:
    claimed = held(store)
    with store.transaction() as shared:
        with Session(bind=shared.connection) as session:
            app.order(session, "a")
            session.commit()
            with session.begin_nested():
                app.order(session, "b")
            session.commit()
        app.order(shared.connection, "c")
        assert shared.append(an_append(claimed, 2, epoch=9 if fails else 1)).accepted != fails
    assert app.orders == ([] if fails else ["a", "b", "c"])


@pytest.mark.parametrize("swallowed", [False, True])
def test_user_code_cannot_commit_what_the_engine_has_not_recorded(store: SqlStore, app: App, swallowed: bool) -> None:
    claimed = held(store)

    def body() -> None:
        with store.transaction() as shared:
            app.order(shared.connection, "a")
            try:
                shared.connection.commit()
            except RuntimeError:
                if not swallowed:
                    raise
            shared.append(an_append(claimed, 2))

    with pytest.raises(RuntimeError, match="savepoint"):
        body()
    assert app.orders == []
    assert kinds(store, claimed.run.run_id) == ["RunStarted"]
    assert store.append(an_append(claimed, 2)) == ACCEPTED, "nothing is left open"


@pytest.mark.parametrize("appends", [False, True])
def test_user_code_that_rolls_back_cannot_go_on_as_if_nothing_was(store: SqlStore, app: App, appends: bool) -> None:
    claimed = held(store)

    def body() -> None:
        with store.transaction() as shared:
            with Session(bind=shared.connection) as session:
                app.order(session, "a")
                session.rollback()
            with pytest.raises(InvalidRequestError):
                app.order(shared.connection, "b")
            if appends:
                shared.append(an_append(claimed, 2))

    with pytest.raises(RuntimeError, match="savepoint"):
        body()
    assert app.orders == []
    assert kinds(store, claimed.run.run_id) == ["RunStarted"]


def test_the_connection_is_of_no_use_after_the_transaction(store: SqlStore, app: App) -> None:
    with store.transaction() as shared:
        app.order(shared.connection, "a")
    with pytest.raises(InvalidRequestError):
        app.order(shared.connection, "b")
    assert app.orders == ["a"]


def test_a_start_and_a_message_may_join_it(store: SqlStore, app: App) -> None:
    claimed, other = held(store), held(store)
    with store.transaction() as shared:
        store.post(other.run.run_id, "Signal", "[{}]", connection=shared.connection)
        assert shared.append(an_append(claimed, 2, epoch=9)) == REFUSED
    assert store.inbox(other.run.run_id) == []
    with store.transaction() as shared:
        store.post(other.run.run_id, "Signal", "[{}]", connection=shared.connection)
        assert shared.append(an_append(claimed, 2)) == ACCEPTED
    assert len(store.inbox(other.run.run_id)) == 1


def test_an_error_of_the_application_is_its_own(store: SqlStore, app: App) -> None:
    def body() -> None:
        with store.transaction() as shared:
            app.order(shared.connection, "a")
            app.order(shared.connection, "a")

    with pytest.raises(IntegrityError) as caught:
        body()
    assert not store.collided(caught.value)
    assert not store.collided(ValueError())
    assert app.orders == []


def test_many_threads_share_what_they_add_up(store: SqlStore, app: App) -> None:
    count, times = 4, 5
    with store.engine.begin() as connection:
        app.order(connection, "sum", 0)
    claims = [held(store) for _ in range(count)]
    wrong: list[BaseException] = []

    def drive(n: int) -> None:
        try:
            for seq in range(2, 2 + times):
                with store.transaction() as shared:
                    shared.connection.execute(text("UPDATE app_orders SET amount = amount + 1"))
                    assert shared.append(an_append(claims[n], seq)).accepted
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=drive, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT amount FROM app_orders")).scalar() == count * times
    assert [len(store.history(claimed.run.run_id)) for claimed in claims] == [1 + times] * count
