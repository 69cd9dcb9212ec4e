"""Transactions shared with user code on engines as applications make them, and when others stand in their way."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import StaticPool

from squidmesh.errors import StoreUnavailable
from squidmesh.ports import Appended, Claimed
from squidmesh.store import SqlStore, open_store

from .conftest import Open
from .support import CAN, LEASE, App, HandClock, an_app, an_append, fanned_out, held, outcome

ACCEPTED = Appended(accepted=True, pinged=False)


def ordered(store: SqlStore, claimed: Claimed, name: str, seq: int = 2) -> Appended:
    """A step that writes one row of the application's."""
    with store.transaction() as shared:
        shared.connection.execute(text("INSERT INTO app_orders VALUES (:name, 1)"), {"name": name})
        with shared.connection.begin_nested() as savepoint:
            shared.connection.execute(text("INSERT INTO app_orders VALUES ('undone', 1)"))
            savepoint.rollback()
        return shared.append(an_append(claimed, seq))


def both_or_neither(store: SqlStore) -> None:
    claimed = held(store)
    with an_app(store) as app:
        assert ordered(store, claimed, "a") == ACCEPTED
        assert not ordered(store, claimed, "b", seq=2).accepted
        assert app.orders == ["a"]
        with pytest.raises(DBAPIError):
            ordered(store, claimed, "a", seq=3)
        assert ordered(store, claimed, "c", seq=3) == ACCEPTED
        assert app.orders == ["a", "c"]


# ------------------------------------------------------------------------------------------------------- SQLite


def test_an_engine_of_the_hosts_on_a_file_is_left_as_it_was(sqlite_url: str, opened: Open) -> None:
    engine = create_engine(sqlite_url)
    both_or_neither(opened(engine))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.isolation_level == ""
        assert not driver.in_transaction


@pytest.mark.parametrize("begins", ["BEGIN", "BEGIN IMMEDIATE"])
def test_an_engine_that_begins_by_itself_writes_from_the_beginning(sqlite_url: str, opened: Open, begins: str) -> None:
    engine = create_engine(sqlite_url)

    @event.listens_for(engine, "connect")
    def _connect(driver: Any, _: Any) -> None:
        driver.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begins)

    store = opened(engine)
    both_or_neither(store)
    impatient = create_engine(sqlite_url, connect_args={"timeout": 0})
    with store.transaction(), impatient.connect() as other:
        assert is_locked(store, other)
    impatient.dispose()


def is_locked(store: SqlStore, other: Connection) -> bool:
    try:
        other.execute(text("UPDATE squidmesh_workers SET pid = 1"))
    except OperationalError as error:
        return store.collided(error)
    return False


def test_an_engine_of_the_hosts_in_memory_takes_turns(opened: Open) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    both_or_neither(opened(engine))


def test_a_file_that_others_write_to_for_too_long_is_told(sqlite_url: str, opened: Open) -> None:
    store = opened(create_engine(sqlite_url, connect_args={"timeout": 0.01}), lease=0.2)
    held(store)
    other = create_engine(sqlite_url)
    with other.connect() as connection:
        connection.execute(text("UPDATE squidmesh_workers SET pid = 1"))
        with pytest.raises(StoreUnavailable, match="who keeps a transaction open"):
            store.transaction().__enter__()
    other.dispose()
    with store.transaction():
        pass


# ---------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture
def engine_at(emptied_postgres_url: str) -> Iterator[Callable[[str], Engine]]:
    engines: list[Engine] = []

    def make(level: str) -> Engine:
        engines.append(create_engine(emptied_postgres_url, isolation_level=level))  # type: ignore[call-overload]
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


LEVELS = ["AUTOCOMMIT", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@pytest.mark.parametrize("level", LEVELS)
def test_at_each_isolation_level_it_is_one_transaction(
    engine_at: Callable[[str], Engine], opened: Open, level: str
) -> None:
    engine = engine_at(level)
    both_or_neither(opened(engine))
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.autocommit == (level == "AUTOCOMMIT"), "it is given back as it was"


@pytest.mark.parametrize("level", LEVELS)
def test_user_code_that_takes_longer_than_a_lease_which_is_renewed_is_accepted(
    engine_at: Callable[[str], Engine], opened: Open, level: str
) -> None:
    clock = HandClock()
    store = opened(engine_at(level), clock)
    run_id = fanned_out(store, 1)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    claimed = held(store)
    for fence in (
        lambda shared: shared.append(an_append(claimed, 2)).accepted,
        lambda shared: shared.report("w1", [outcome(task)]).pinged == {run_id},
    ):
        with store.transaction() as shared:
            shared.connection.execute(text("SELECT count(*) FROM squidmesh_workers"))
            for _ in range(3):
                clock.go_on(LEASE - 5)
                assert store.renew("w1", LEASE)
            assert fence(shared)


@pytest.mark.parametrize("level", LEVELS[2:])
def test_what_arrives_under_a_snapshot_is_a_collision_and_seen_the_next_time(
    engine_at: Callable[[str], Engine], opened: Open, level: str
) -> None:
    store = opened(engine_at(level))
    claimed = held(store)

    def body(disturbed: bool) -> Appended:
        with store.transaction() as shared:
            shared.connection.execute(text("SELECT 1"))
            if disturbed:
                store.post(claimed.run.run_id, "Signal", "[{}]")
            return shared.append(an_append(claimed, 2))

    with pytest.raises(OperationalError) as caught:
        body(disturbed=True)
    assert store.collided(caught.value)
    assert body(disturbed=False) == Appended(accepted=True, pinged=True)


def test_two_that_are_serializable_and_of_different_runs_do_not_collide(
    engine_at: Callable[[str], Engine], opened: Open
) -> None:
    store = opened(engine_at("SERIALIZABLE"))
    one, two = held(store), held(store)
    with store.transaction() as first, store.transaction() as second:
        assert first.append(an_append(one, 2)).accepted
        assert second.append(an_append(two, 2)).accepted
    assert len(store.history(one.run.run_id)) == len(store.history(two.run.run_id)) == 2


def test_a_commit_that_is_not_serializable_is_a_collision(engine_at: Callable[[str], Engine], opened: Open) -> None:
    store = opened(engine_at("SERIALIZABLE"))
    one, two = held(store), held(store)

    def count_and_order(connection: Connection, name: str) -> None:
        connection.execute(text("SELECT count(*) FROM app_orders")).all()
        connection.execute(text("INSERT INTO app_orders VALUES (:name, 1)"), {"name": name})

    def bodies() -> None:
        with store.transaction() as first:
            with store.transaction() as second:
                count_and_order(first.connection, "a")
                count_and_order(second.connection, "b")
                assert second.append(an_append(two, 2)).accepted
            first.append(an_append(one, 2))

    with an_app(store) as app:
        with pytest.raises(OperationalError) as caught:
            bodies()
        assert store.collided(caught.value)
        assert app.orders == ["b"]
    assert len(store.history(one.run.run_id)) == 1


@pytest.fixture
def store(opened: Open, emptied_postgres_url: str) -> SqlStore:
    return opened(emptied_postgres_url)


@pytest.fixture
def app(store: SqlStore) -> Iterator[App]:
    with an_app(store) as app:
        with store.engine.begin() as connection:
            for name in ("a", "b"):
                app.order(connection, name)
        yield app


def test_of_two_that_wait_for_each_other_one_is_told_of_a_collision(store: SqlStore, app: App) -> None:
    both_have_one = threading.Barrier(2)
    claims = {"ab": held(store), "ba": held(store)}
    wrong: list[BaseException] = []

    def pay(order: str) -> None:
        update = text("UPDATE app_orders SET amount = amount + 1 WHERE name = :name")
        with store.transaction() as shared:
            shared.connection.execute(update, {"name": order[0]})
            both_have_one.wait(30)
            try:
                shared.connection.execute(update, {"name": order[1]})
            except OperationalError as error:
                raise LookupError("the application's own words for it") from error
            assert shared.append(an_append(claims[order], 2)).accepted

    def try_to(order: str) -> None:
        try:
            pay(order)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=try_to, args=(order,)) for order in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (error,) = wrong
    assert isinstance(error, LookupError)
    assert store.collided(error)
    assert sorted(len(store.history(claimed.run.run_id)) for claimed in claims.values()) == [1, 2]


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(600)", "UPDATE app_orders SET amount = amount + 1"])
def test_a_body_that_is_still_talking_is_ended_with_its_transaction(store: SqlStore, app: App, statement: str) -> None:
    talking = threading.Event()
    told: list[BaseException] = []

    def body(connection: Connection) -> None:
        try:
            while True:
                connection.execute(text(statement))
                talking.set()
        except BaseException as error:
            told.append(error)
        try:
            app.order(connection, "too late")
        except BaseException as error:
            told.append(error)

    def limited() -> None:
        with store.transaction() as shared:
            shared.connection.execute(text("UPDATE app_orders SET amount = 9"))
            thread = threading.Thread(target=body, args=(shared.connection,))
            threads.append(thread)
            thread.start()
            assert "pg_sleep" in statement or talking.wait(30)
            raise TimeoutError

    threads: list[threading.Thread] = []
    with pytest.raises(TimeoutError):
        limited()
    threads[0].join(30)
    assert len(told) == 2
    assert app.orders == ["a", "b"]
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT sum(amount) FROM app_orders")).scalar() == 2


def test_who_is_stopped_between_its_fence_and_its_commit_stands_in_nobodys_way(
    emptied_postgres_url: str, opened: Open, app: App
) -> None:
    stopped, others = opened(emptied_postgres_url, lease=0.2), opened(emptied_postgres_url)
    claimed = held(stopped)

    def body() -> None:
        with stopped.transaction() as shared:
            app.order(shared.connection, "c")
            assert shared.append(an_append(claimed, 2)).accepted
            with others.engine.begin() as connection:
                connection.execute(text("UPDATE squidmesh_workers SET expires_at = 1"))
            assert others.take_over("w1", {}) == 1, "it waits until the server has given up the other one"

    with pytest.raises(StoreUnavailable):
        body()
    assert app.orders == ["a", "b"]
    assert len(others.history(claimed.run.run_id)) == 1


def test_connections_that_the_server_has_ended_meanwhile_are_not_noticed(opened: Open, postgres_url: str) -> None:
    store = opened(postgres_url)
    claimed = held(store)
    app = App(store)
    other = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with other.connect() as connection:
        connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
        while connection.execute(text(f"SELECT count(*) {others}")).scalar():
            pass
    other.dispose()
    with store.transaction() as shared:
        app.order(shared.connection, "c")
        assert shared.append(an_append(claimed, 2)) == ACCEPTED
    assert app.orders == ["c"]


def test_a_pool_without_a_free_connection_is_told(emptied_postgres_url: str) -> None:
    engine = create_engine(emptied_postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    store = open_store(engine, lease=0.2)
    with store.transaction(), pytest.raises(StoreUnavailable, match="QueuePool limit"):
        store.transaction().__enter__()
    store.close()
    engine.dispose()
