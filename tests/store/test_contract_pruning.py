"""Trees of runs go as a whole, as they were seen, with every row of theirs; and nobody waits for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, text

from squidmesh.ports import Prunable, Reported, RunChange, Tree
from squidmesh.store import SqlStore
from squidmesh.store.database import Database

from .conftest import Open
from .support import CAN, SECOND, HandClock, a_task, an_append, at_once, held, new_run, outcome, started, worker

TABLES = ("runs", "history", "inbox", "tasks", "joins")
LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


def nth(n: int) -> str:
    return str(UUID(int=n))


def ended(store: SqlStore, n: int, status: str = "completed", **given: Any) -> str:
    """A run with this number for an id, which has ended now."""
    worker(store)
    claimed = store.claim("w1", started(store, run_id=nth(n), **given), CAN)
    assert claimed is not None
    store.append(an_append(claimed, change=RunChange(status, ended_at=store.now())))
    return nth(n)


def all_ended(store: SqlStore, count: int, size: int) -> None:
    """So many runs with so large a history, all at once."""
    store.start([new_run(store, events='["' + "x" * size + '"]') for _ in range(count)])
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE squidmesh_runs SET status = 'completed', ended_at = 1, due_at = NULL"))


def looked(store: SqlStore, status: str = "completed", after: str | None = None, limit: int = 100) -> list[Tree]:
    return store.trees(Prunable(status, store.now() + SECOND, LAST), after, limit)


def there(store: SqlStore) -> dict[str, int]:
    with store.engine.connect() as connection:
        counts = {name: connection.execute(text(f"SELECT count(*) FROM squidmesh_{name}")).scalar() for name in TABLES}
    return {name: count for name, count in counts.items() if count}


def test_trees_are_given_by_the_ids_of_their_roots_each_root_first(store: SqlStore) -> None:
    root, child = ended(store, 5), ended(store, 3, parent=nth(5))
    grandchild, alone = ended(store, 7, parent=nth(3)), ended(store, 9)
    trees = looked(store)
    assert [[member.run_id for member in tree.members] for tree in trees] == [[root, child, grandchild], [alone]]
    assert [tree.root for tree in looked(store, after=root)] == [alone]
    assert [tree.root for tree in looked(store, limit=1)] == [root]


def test_a_tree_is_shown_with_what_goes_on_in_it(store: SqlStore) -> None:
    root = ended(store, 1)
    child = started(store, run_id=nth(2), parent=root)
    (tree,) = looked(store)
    assert [(member.run_id, member.ended_at is None) for member in tree.members] == [(root, False), (child, True)]
    assert not tree.ended_before(store.now() + SECOND)


def test_a_run_whose_parent_is_gone_is_a_root(store: SqlStore) -> None:
    orphan = ended(store, 4, parent=nth(1))
    assert [tree.root for tree in looked(store)] == [orphan]


def test_runs_that_continue_one_another_are_one_tree_and_the_newest_is_its_root(store: SqlStore) -> None:
    first = ended(store, 1, "continued", chain=nth(1))
    second, child = ended(store, 2, "continued", chain=nth(1)), ended(store, 3, parent=nth(1))
    assert looked(store, "continued")[0].root == second  # as long as there is no newer one
    newest = ended(store, 4, chain=nth(1))
    assert looked(store, "continued") == []
    (tree,) = looked(store)
    assert [member.run_id for member in tree.members] == [newest, first, second, child]
    assert store.prune([tree]) == {newest}
    assert there(store) == {}


def test_only_roots_of_the_status_the_workflow_and_the_age_are_looked_at(clocked: SqlStore, clock: HandClock) -> None:
    old = ended(clocked, 1)
    ended(clocked, 2, "failed")
    ended(clocked, 3, workflow="shop", version=2)
    clock.go_on(10)
    worker(clocked)
    ended(clocked, 4)
    now = clock.now()

    def found(**given: Any) -> list[str]:
        told: dict[str, Any] = {"status": "completed", "ended_before": now - 5 * SECOND, "created_before": LAST}
        return [tree.root for tree in clocked.trees(Prunable(**(told | given)), None, 10)]

    assert found() == [old, nth(3)]
    assert found(status="failed") == [nth(2)]
    assert found(created_before=nth(3)) == [old]
    assert found(workflow=("other",)) == []
    assert found(workflow=("other", "shop")) == [old, nth(3)]


def test_a_tree_goes_with_every_row_of_its_runs_and_others_stay(store: SqlStore) -> None:
    root = ended(store, 1)
    ended(store, 2, parent=root)
    with store.engine.begin() as connection:  # what should not be there any more
        connection.execute(
            text("INSERT INTO squidmesh_inbox (run_id, kind, events, at) VALUES (:id, 'Late', '[]', 1)"), {"id": root}
        )
    stays = held(store)
    store.append(an_append(stays, tasks=(a_task(store, "1"),)))
    left = {"runs": 1, "history": 2, "tasks": 1}
    assert there(store) == {"runs": 3, "history": 6, "inbox": 1, "tasks": 1}
    assert store.prune(looked(store)) == {root}
    assert there(store) == left
    assert store.run(root) is None
    assert store.run(stays.run.run_id) is not None


def test_a_tree_that_was_opened_since_stays_all_of_it(store: SqlStore) -> None:
    root, child, alone = ended(store, 1), ended(store, 2, parent=nth(1)), ended(store, 3)
    trees = looked(store)
    store.post(child, "RollbackRequested", "[]", reopen="undoing")
    assert store.prune(trees) == {alone}
    assert store.run(root) is not None
    assert len(store.history(root)) == 2


def test_a_tree_that_was_opened_and_has_ended_again_is_another_one(store: SqlStore) -> None:
    root = ended(store, 1)
    trees = looked(store)
    store.post(root, "RollbackRequested", "[]", reopen="undoing")
    claimed = store.claim("w1", root, CAN)
    assert claimed is not None
    taken = tuple(row.id for row in claimed.inbox)
    at = trees[0].members[0].ended_at
    store.append(an_append(claimed, 3, change=RunChange("completed", ended_at=at), taken=taken))
    assert store.prune(trees) == frozenset()
    assert store.prune(looked(store)) == {root}


def test_what_comes_late_for_a_run_that_is_gone_changes_nothing(store: SqlStore) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    store.append(an_append(claimed, tasks=(a_task(store, "1"),)))
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    store.append(an_append(claimed, 3, change=RunChange("terminated", ended_at=store.now())))
    assert store.prune(looked(store, "terminated")) == {run_id}
    assert store.report("w1", [outcome(task)]) == Reported()
    assert not store.note(run_id, "1", "w1", task.number, "[]")
    assert not store.checkpoint(run_id, "1", "w1", task.number, "1")
    assert not store.append(an_append(claimed, 4)).accepted
    assert store.post(run_id, "SignalReceived", "[]") is None
    assert store.post(run_id, "RollbackRequested", "[]", reopen="undoing") is None
    assert not store.let_go(run_id, "w1", claimed.run.epoch, None)
    assert there(store) == {}


def test_records_are_whole_runs_in_the_order_of_their_ids(store: SqlStore) -> None:
    second, first = ended(store, 2), ended(store, 1)
    found = store.records([second, nth(9), first])
    assert [(record.run.run_id, [row.seq for row in record.history]) for record in found] == [
        (first, [1, 2]),
        (second, [1, 2]),
    ]


def test_of_several_who_prune_the_same_each_tree_goes_once(store: SqlStore) -> None:
    for n in range(1, 41):
        ended(store, n)
    trees = looked(store)
    gone = at_once(4, lambda _: store.prune(trees))
    assert sorted(root for one in gone for root in one) == [tree.root for tree in trees]
    assert there(store) == {}


def test_a_run_that_somebody_has_locked_is_passed_over(emptied_postgres_url: str, opened: Open) -> None:
    store = opened(emptied_postgres_url)
    locked, free = ended(store, 1), ended(store, 2)
    with store.engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM squidmesh_runs WHERE id = :id FOR UPDATE"), {"id": locked})
        assert store.prune(looked(store)) == {free}
    assert store.prune(looked(store)) == {locked}


def test_an_answer_that_was_lost_is_not_taken_for_nothing(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    root = ended(store, 1)

    def twice(self: Database, attempt: Callable[[bool], Any], limit: float, *, resend: bool = True) -> Any:
        attempt(False)  # committed, and nobody has heard of it
        return attempt(True)

    trees = looked(store)
    with monkeypatch.context() as patch:
        patch.setattr(Database, "patiently", twice)
        assert store.prune(trees) == {root}


def test_a_new_file_gets_shorter_step_by_step(empty_sqlite_url: str, opened: Open) -> None:
    store = opened(empty_sqlite_url)
    store.make_ready()
    all_ended(store, 300, 10_000)
    before = pages(store)
    assert len(store.prune(looked(store, limit=300))) == 300
    steps = 0
    while store.reclaim(steps):
        steps += 1
    assert steps > 1
    assert pages(store) < before / 10


def pages(store: SqlStore) -> int:
    with store.engine.connect() as connection:
        return int(connection.execute(text("PRAGMA page_count")).scalar() or 0)


def test_a_file_without_auto_vacuum_keeps_its_length(tmp_path: Any, opened: Open) -> None:
    plain = create_engine(f"sqlite:///{tmp_path / 'host.db'}")
    with plain.begin() as connection:
        connection.execute(text("CREATE TABLE of_the_host (id INTEGER PRIMARY KEY)"))
    plain.dispose()
    store = opened(f"sqlite:///{tmp_path / 'host.db'}")
    store.make_ready()
    all_ended(store, 50, 10_000)
    before = pages(store)
    store.prune(looked(store))
    assert not store.reclaim(0)
    assert pages(store) == before


def test_on_postgres_the_tables_are_vacuumed_one_by_one(postgres_url: str, opened: Open) -> None:
    store = opened(postgres_url)
    all_ended(store, 100, 1_500)
    before = size(store)
    store.prune(looked(store))
    steps = 0
    while store.reclaim(steps):
        steps += 1
    assert steps + 1 == len(TABLES)
    assert size(store) < before / 4


def size(store: SqlStore) -> int:
    with store.engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_relation_size('squidmesh_history')")).scalar() or 0)


def test_a_connection_to_a_file_waits_for_no_writer(empty_sqlite_url: str, opened: Open) -> None:
    first = opened(empty_sqlite_url)
    first.make_ready()
    root = ended(first, 1)
    with first.engine.begin():  # takes the write lock
        second = opened(empty_sqlite_url)
        assert second.run(root) is not None
