"""The contract of the store: starting runs, finding them, listing them."""

import threading
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from squidmesh.ports import RunFilter
from squidmesh.store import SqlStore

from .conftest import Open
from .support import CAN, SECOND, HandClock, an_append, at_once, events_of, held, let_go, new_run, started, worker


def test_a_started_run_is_pending_and_due_with_its_first_history_row(store: SqlStore) -> None:
    now = store.now()
    run = new_run(store, key="k-1", attributes={"customer": "c-1"}, priority=3, deadline=now + SECOND)
    assert store.start([run]) == [run.run_id]
    row = store.run(run.run_id)
    assert row is not None
    assert (row.run_id, row.workflow, row.version, row.key) == (run.run_id, "shop", 1, "k-1")
    assert (row.status, row.reason, row.queue, row.priority) == ("pending", None, "default", 3)
    assert (row.attributes, row.parent, row.deadline) == ({"customer": "c-1"}, None, now + SECOND)
    assert (row.created_at, row.due_at, row.ended_at) == (run.created_at, run.due_at, None)
    assert (row.worker, row.epoch, row.length, row.code) == (None, 0, 1, None)
    (history,) = store.history(run.run_id)
    assert (history.run_id, history.seq, history.events) == (run.run_id, 1, run.events)


def test_a_run_whose_key_exists_is_left_out_with_its_history(store: SqlStore) -> None:
    first = started(store, key="k-1")
    again, other = new_run(store, key="k-1"), new_run(store, key="k-2")
    assert store.start([again, other]) == [other.run_id]
    assert store.run(again.run_id) is None
    assert store.history(again.run_id) == []
    found = store.run_by_key("k-1")
    assert found is not None
    assert found.run_id == first


def test_of_two_runs_with_one_key_in_one_start_the_first_is_taken(store: SqlStore) -> None:
    one, two = new_run(store, key="same"), new_run(store, key="same")
    assert len(store.start([one, two])) == 1


def test_many_runs_without_keys_are_started_at_once(store: SqlStore) -> None:
    runs = [new_run(store) for _ in range(2_500)]
    assert store.start(runs) == [run.run_id for run in runs]
    assert store.start([]) == []
    assert store.due(CAN, 5_000).runs == {"default": 2_500}


def test_many_threads_that_start_one_key_start_one_run(store: SqlStore) -> None:
    runs = [new_run(store, key="once") for _ in range(8)]
    assert sum(len(ids) for ids in at_once(8, lambda n: store.start([runs[n]]))) == 1


def test_a_run_is_found_by_key_and_workflow(store: SqlStore) -> None:
    started(store, key="k-1")
    assert store.run_by_key("k-1", "shop") is not None
    assert store.run_by_key("k-1", "other") is None
    assert store.run_by_key("k-2") is None


@pytest.mark.parametrize("run_id", ["", "nonsense", "5f0c1f3e-2b9a-4f7e-9d3c-0a1b2c3d4e5f"])
def test_nothing_is_found_by_an_id_that_no_run_has(store: SqlStore, run_id: str) -> None:
    worker(store)
    assert store.run(run_id) is None
    assert store.history(run_id) == []
    assert store.last(run_id) is None
    assert store.inbox(run_id) == []
    assert store.tasks(run_id) == []
    assert store.claim("w1", run_id, CAN) is None
    assert store.post(run_id, "Signal", "[{}]") is None
    assert store.claim_tasks("w1", "default", CAN, 1, run_id=run_id) == []


def test_an_id_is_found_in_any_spelling(store: SqlStore) -> None:
    run_id = started(store)
    assert store.run(run_id.upper().replace("-", "")) == store.run(run_id)


# ------------------------------------------------------------------------------------- the caller's transaction


def test_a_run_starts_with_the_callers_commit_or_never_was(sqlite_or_postgres: SqlStore) -> None:
    store = sqlite_or_postgres
    store.now()
    with store.engine.connect() as connection:
        lost = new_run(store)
        assert store.start([lost], connection) == [lost.run_id]
        assert store.run(lost.run_id, connection) is not None
        assert store.history(lost.run_id, 0, connection) != []
        connection.rollback()
        kept = new_run(store, key="k")
        store.start([kept], connection)
        assert store.run_by_key("k", connection=connection) is not None
        connection.commit()
    assert store.run(lost.run_id) is None
    assert store.run(kept.run_id) is not None


def test_a_session_is_joined_too(sqlite_or_postgres: SqlStore) -> None:
    store = sqlite_or_postgres
    with Session(store.engine) as session:
        lost = new_run(store)
        store.start([lost], session)
        session.rollback()
        kept = new_run(store)
        store.start([kept], session)
        assert store.post(kept.run_id, "Signal", "[{}]", connection=session) == (True, "pending")
        session.commit()
    assert store.run(lost.run_id) is None
    assert store.run(kept.run_id) is not None


def test_a_run_joins_a_transaction_of_the_hosts_own_engine(sqlite_or_postgres: SqlStore) -> None:
    store = sqlite_or_postgres
    engine = create_engine(store.engine.url)
    run = new_run(store)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id TEXT)"))
        connection.execute(text("INSERT INTO orders VALUES ('o-1')"))
        store.start([run], connection)
    engine.dispose()
    assert store.run(run.run_id) is not None


def test_an_action_waits_for_the_commit_of_a_session(sqlite_or_postgres: SqlStore) -> None:
    store = sqlite_or_postgres
    done: list[bool] = []
    with Session(store.engine) as session:
        run = new_run(store)
        store.start([run], session)
        store.after_commit(session, lambda: done.append(store.run(run.run_id) is not None))
        assert done == []
        session.commit()
        assert done == [True]
        store.start([new_run(store)], session)
        session.commit()
        assert done == [True]


def test_an_action_follows_the_commit_of_a_connection(sqlite_or_postgres: SqlStore) -> None:
    store = sqlite_or_postgres
    done = threading.Event()
    with store.engine.connect() as connection:
        store.start([new_run(store)], connection)
        store.after_commit(connection, done.set)
        assert not done.wait(0.1)
        connection.commit()
        assert done.wait(30)


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def sqlite_or_postgres(request: pytest.FixtureRequest, opened: Open) -> SqlStore:
    return opened(request.getfixturevalue(request.param))


def test_in_memory_a_callers_transaction_and_ours_take_turns(opened: Open) -> None:
    store = opened("sqlite://")
    kept, lost, other = new_run(store), new_run(store), new_run(store)
    begun, done = threading.Event(), threading.Event()

    def start_another() -> None:
        begun.wait(30)
        store.start([other])
        done.set()

    thread = threading.Thread(target=start_another)
    thread.start()
    with store.engine.connect() as connection:
        store.start([lost], connection)
        begun.set()
        assert not done.wait(0.05)
        connection.rollback()
        assert done.wait(30)
        store.start([kept], connection)
        connection.commit()
    thread.join()
    assert [store.run(run.run_id) is not None for run in (lost, other, kept)] == [False, True, True]


# ------------------------------------------------------------------------------------------------------- lists


def test_a_list_is_newest_first_and_goes_on_where_it_stopped(store: SqlStore) -> None:
    ids = sorted((started(store) for _ in range(5)), reverse=True)
    first = store.runs(RunFilter(), 3, None)
    assert [row.run_id for row in first] == ids[:3]
    assert [row.run_id for row in store.runs(RunFilter(), 3, first[-1].run_id)] == ids[3:]
    assert store.runs(RunFilter(), 3, "nonsense") == []


def test_a_list_is_narrowed_by_each_column(clocked: SqlStore, clock: HandClock) -> None:
    parent = str(uuid4())
    one = started(clocked, key="k-1", parent=parent)
    clock.go_on(1)
    two = started(clocked, workflow="other", version=2)
    clock.go_on(1)
    three = let_go_one(clocked)
    now = clock.now()

    def listed(**wanted: object) -> set[str]:
        return {row.run_id for row in clocked.runs(RunFilter(**wanted), 10, None)}  # type: ignore[arg-type]

    assert listed() == {one, two, three}
    assert listed(status=["waiting", "failed"]) == {three}
    assert listed(status=[]) == set()
    assert listed(reason=["sleeping"]) == set()
    assert listed(workflow=["other"]) == {two}
    assert listed(workflow=["other"], version=1) == set()
    assert listed(key="k-1") == {one}
    assert listed(parent=parent) == {one}
    assert listed(parent="nonsense") == set()
    assert listed(created_after=now) == {three}
    assert listed(created_before=now) == {one, two}
    assert listed(ended_after=0) == set()
    assert listed(ended_before=now) == set()


def let_go_one(store: SqlStore) -> str:
    claimed = held(store)
    assert let_go(store, claimed).accepted
    return claimed.run.run_id


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ({"a": 1}, True),
        ({"a": 1, "b": "x"}, True),
        ({"a": 1.0}, True),
        ({"a": True}, False),
        ({"a": "1"}, False),
        ({"b": "y"}, False),
        ({"missing": None}, False),
        ({"none": None}, True),
        ({'odd " key': [1, 2]}, True),
        ({"flag": True}, True),
        ({"flag": 1}, False),
    ],
)
def test_a_list_is_narrowed_by_attributes(store: SqlStore, wanted: dict[str, object], there: bool) -> None:
    started(store, attributes={"a": 1, "b": "x", 'odd " key': [1, 2], "none": None, "flag": True})
    started(store)
    assert len(store.runs(RunFilter(attributes=wanted), 10, None)) == there


def test_the_last_history_row_is_the_newest_append(store: SqlStore) -> None:
    claimed = held(store)
    store.append(an_append(claimed, 2, events=["A", "B"]))
    store.append(an_append(claimed, 4, events=["C"]))
    last = store.last(claimed.run.run_id)
    assert last is not None
    assert last.seq == 4
    assert events_of([last]) == [{"kind": "C"}]
    assert [row.seq for row in store.history(claimed.run.run_id)] == [1, 2, 4]
    assert [row.seq for row in store.history(claimed.run.run_id, after=3)] == [4]
