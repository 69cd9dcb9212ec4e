"""What the store's tests are told with: a clock that is set by hand, and short forms of rows."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from squidmesh.ports import (
    Append,
    Appended,
    Capability,
    Claimed,
    Join,
    NewRun,
    NewTask,
    Outcome,
    RunChange,
    TaskRow,
)
from squidmesh.store import SqlStore

T = TypeVar("T")

SECOND = 1_000_000
LEASE = 15.0
CAN = Capability(queues=("default", "other"), workflows=(("shop", 1), ("shop", 2)), steps=("pay", "ship"))


class HandClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.time = 1_800_000_000 * SECOND

    def now(self) -> int:
        return self.time

    def go_on(self, seconds: float) -> None:
        self.time += round(seconds * SECOND)


def new_run(store: SqlStore, **given: Any) -> NewRun:
    now = store.now()
    row: dict[str, Any] = {
        "run_id": str(uuid4()),
        "workflow": "shop",
        "version": 1,
        "key": None,
        "queue": "default",
        "priority": 0,
        "attributes": None,
        "parent": None,
        "created_at": now,
        "due_at": now,
        "deadline": None,
        "events": '[{"kind":"RunStarted"}]',
        "count": 1,
    }
    return NewRun(**(row | given))


def started(store: SqlStore, **given: Any) -> str:
    run = new_run(store, **given)
    assert store.start([run]) == [run.run_id]
    return run.run_id


def worker(store: SqlStore, name: str = "w1", lease: float = LEASE, can: Capability = CAN) -> str:
    store.register(name, "host", 1, can, lease)
    return name


def held(store: SqlStore, name: str = "w1", **given: Any) -> Claimed:
    """A run that the worker, registered here, holds."""
    worker(store, name)
    claimed = store.claim(name, started(store, **given), CAN)
    assert claimed is not None
    return claimed


def an_append(claimed: Claimed, seq: int = 2, *, events: Iterable[str] = ("Something",), **more: Any) -> Append:
    kinds = list(events)
    text = json.dumps([{"kind": kind} for kind in kinds], separators=(",", ":"))
    run = claimed.run
    assert run.worker is not None
    row: dict[str, Any] = {
        "run_id": run.run_id,
        "worker": run.worker,
        "epoch": run.epoch,
        "seq": seq,
        "events": text,
        "count": len(kinds),
    }
    return Append(**(row | more))


def let_go(store: SqlStore, claimed: Claimed, seq: int = 2, due_at: int | None = None) -> Appended:
    return store.append(an_append(claimed, seq, change=RunChange(status="waiting", release=True, due_at=due_at)))


def a_task(store: SqlStore, position: str, **given: Any) -> NewTask:
    row: dict[str, Any] = {
        "position": position,
        "step": "pay",
        "queue": "default",
        "priority": 0,
        "due_at": store.now(),
        "max_lost": 5,
        "join_position": None,
        "spec": '{"input":[1]}',
        "scheduled_seq": 2,
    }
    return NewTask(**(row | given))


def fanned_out(store: SqlStore, count: int, *, wake_at: int = 0, name: str = "w1") -> str:
    """A run that nobody holds, with as many tasks, joined at position 7."""
    claimed = held(store, name)
    tasks = tuple(a_task(store, f"7.{n}", join_position="7") for n in range(1, count + 1))
    change = RunChange(status="waiting", release=True)
    answer = store.append(an_append(claimed, tasks=tasks, joins=(Join("7", count, wake_at),), change=change))
    assert answer == Appended(accepted=True, pinged=False)
    return claimed.run.run_id


def outcome(task: TaskRow, kind: str = "StepCompleted", **more: Any) -> Outcome:
    row: dict[str, Any] = {
        "run_id": task.run_id,
        "position": task.position,
        "number": task.number,
        "events": json.dumps([{"kind": kind, "position": task.position}], separators=(",", ":")),
        "kind": kind,
        "join_position": task.join_position,
    }
    return Outcome(**(row | more))


def events_of(rows: Iterable[Any]) -> list[Any]:
    return [event for row in rows for event in json.loads(row.events)]


def at_once(count: int, action: Callable[[int], T]) -> list[T]:
    """Do something in several threads that begin at the same moment."""
    barrier = Barrier(count)

    def begin(number: int) -> T:
        barrier.wait()
        return action(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


class App:
    """A table of the application's, in the database of the mesh."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        with store.engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS app_orders"))
            connection.execute(text("CREATE TABLE app_orders (name TEXT PRIMARY KEY, amount INTEGER NOT NULL)"))

    def order(self, connection: Connection | Session, name: str, amount: int = 1) -> None:
        connection.execute(text("INSERT INTO app_orders VALUES (:name, :amount)"), {"name": name, "amount": amount})

    @property
    def orders(self) -> list[str]:
        with self.store.engine.connect() as connection:
            return list(connection.execute(text("SELECT name FROM app_orders ORDER BY name")).scalars())


@contextmanager
def an_app(store: SqlStore) -> Iterator[App]:
    try:
        yield App(store)
    finally:
        with store.engine.begin() as connection:
            connection.execute(text("DROP TABLE app_orders"))
