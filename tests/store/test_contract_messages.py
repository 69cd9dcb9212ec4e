"""The contract of the store: messages for a run, and what the sweep finds due."""

from uuid import uuid4

import pytest

from squidmesh.ports import Capability, Due, RunChange
from squidmesh.store import SqlStore

from .support import CAN, SECOND, HandClock, a_task, an_append, at_once, events_of, held, let_go, started, worker


def test_a_message_is_put_down_and_the_run_is_due(clocked: SqlStore, clock: HandClock) -> None:
    run_id = started(clocked, due_at=clock.now() + 60 * SECOND)
    assert clocked.post(run_id, "SignalReceived", '[{"kind":"SignalReceived"}]') == (True, "pending")
    row = clocked.run(run_id)
    assert row is not None
    assert row.due_at == clock.now()
    (message,) = clocked.inbox(run_id)
    assert (message.run_id, message.at, events_of([message])) == (
        run_id,
        clock.now(),
        [{"kind": "SignalReceived"}],
    )


def test_a_message_does_not_put_off_a_run_that_is_due_already(clocked: SqlStore, clock: HandClock) -> None:
    run_id = started(clocked)
    due_at = clock.now()
    clock.go_on(5)
    clocked.post(run_id, "Signal", "[{}]")
    row = clocked.run(run_id)
    assert row is not None
    assert row.due_at == due_at


def test_a_key_is_used_once_for_each_run(store: SqlStore) -> None:
    one, two = started(store), started(store)
    assert store.post(one, "Signal", "[1]", key="k") == (True, "pending")
    assert store.post(one, "Signal", "[2]", key="k") == (False, "pending")
    assert store.post(one, "Signal", "[3]", key="l") == (True, "pending")
    assert store.post(two, "Signal", "[4]", key="k") == (True, "pending")
    assert store.post(one, "Signal", "[5]") == (True, "pending")
    assert events_of(store.inbox(one)) == [1, 3, 5]


def test_of_many_threads_that_post_with_one_key_one_does(store: SqlStore) -> None:
    run_id = started(store)
    answers = at_once(8, lambda n: store.post(run_id, "Signal", f"[{n}]", key="once"))
    assert answers.count((True, "pending")) == 1
    assert answers.count((False, "pending")) == 7
    assert len(store.inbox(run_id)) == 1


def test_a_message_waits_for_the_callers_commit(store: SqlStore) -> None:
    run_id = started(store)
    with store.engine.connect() as connection:
        assert store.post(run_id, "Signal", "[{}]", connection=connection) == (True, "pending")
        connection.rollback()
    assert store.inbox(run_id) == []


# ------------------------------------------------------------------------------------------- opening a run again


def ended(store: SqlStore) -> str:
    claimed = held(store)
    store.append(an_append(claimed, 2, change=RunChange("completed", "because", ended_at=7)))
    return claimed.run.run_id


def test_a_message_may_open_a_run_that_has_ended(clocked: SqlStore, clock: HandClock) -> None:
    run_id = ended(clocked)
    assert clocked.post(run_id, "Signal", "[1]") == (False, "completed")
    clock.go_on(5)
    assert clocked.post(run_id, "RollbackStarted", "[2]", key="k", reopen="undoing") == (True, "undoing")
    row = clocked.run(run_id)
    assert row is not None
    assert (row.status, row.reason, row.ended_at, row.due_at) == ("undoing", None, None, clock.now())
    claimed = clocked.claim("w1", run_id, CAN)
    assert claimed is not None
    assert (claimed.run.status, claimed.run.length, events_of(claimed.inbox)) == ("undoing", 2, [2])
    taken = tuple(message.id for message in claimed.inbox)
    append = an_append(claimed, 3, change=RunChange("undone", ended_at=9, rollback="clean"), taken=taken)
    assert clocked.append(append).accepted
    row = clocked.run(run_id)
    assert row is not None
    assert (row.status, row.ended_at, row.due_at, row.rollback) == ("undone", 9, None, "clean")


def test_a_message_that_would_open_a_run_leaves_an_open_one_as_it_is(store: SqlStore) -> None:
    claimed = held(store)
    change = RunChange("waiting", "signal", release=True)
    store.append(an_append(claimed, 2, change=change))
    run_id = claimed.run.run_id
    assert store.post(run_id, "RollbackStarted", "[1]", reopen="undoing") == (True, "waiting")
    row = store.run(run_id)
    assert row is not None
    assert (row.status, row.reason) == ("waiting", "signal")
    again = store.claim("w1", run_id, CAN)
    assert again is not None
    assert store.post(run_id, "RollbackStarted", "[2]", reopen="undoing") == (True, "running")
    assert store.append(an_append(again, 3)).pinged
    assert store.post("nonsense", "RollbackStarted", "[]", reopen="undoing") is None
    assert store.post(str(uuid4()), "RollbackStarted", "[]", reopen="undoing") is None


def test_messages_that_open_a_run_at_the_same_time_all_land(store: SqlStore) -> None:
    run_id = ended(store)
    answers = at_once(6, lambda n: store.post(run_id, "RollbackStarted", f"[{n}]", reopen="undoing"))
    assert answers == [(True, "undoing")] * 6
    assert sorted(events_of(store.inbox(run_id))) == [0, 1, 2, 3, 4, 5]
    row = store.run(run_id)
    assert row is not None
    assert (row.status, row.ended_at) == ("undoing", None)
    assert store.due(CAN, 10).runs == {"default": 1}


def test_of_messages_with_one_key_that_open_a_run_one_lands(store: SqlStore) -> None:
    run_id = ended(store)
    answers = at_once(6, lambda n: store.post(run_id, "RollbackStarted", f"[{n}]", "once", reopen="undoing"))
    assert answers.count((True, "undoing")) == 1
    assert answers.count((False, "undoing")) == 5
    assert len(store.inbox(run_id)) == 1


def test_a_run_is_opened_by_the_callers_commit(store: SqlStore) -> None:
    run_id = ended(store)
    with store.engine.connect() as connection:
        opened = store.post(run_id, "RollbackStarted", "[{}]", connection=connection, reopen="undoing")
        assert opened == (True, "undoing")
        connection.rollback()
    row = store.run(run_id)
    assert row is not None
    assert (row.status, row.ended_at) == ("completed", 7)
    assert store.inbox(run_id) == []


def test_whoever_posts_while_a_run_ends_is_told_or_heard(store: SqlStore) -> None:
    claims = [held(store) for _ in range(20)]

    def meet(n: int) -> list[bool]:
        found = []
        for claimed in claims:
            if n:
                put = store.post(claimed.run.run_id, "Signal", "[{}]")
                found.append(put is not None and put[0])
            else:
                ended = store.append(an_append(claimed, 2, change=RunChange("completed", ended_at=7)))
                assert ended.accepted
                found.append(ended.pinged)
        return found

    seen, posted = at_once(2, meet)
    for claimed, was_seen, was_posted in zip(claims, seen, posted, strict=True):
        row = store.run(claimed.run.run_id)
        assert row is not None
        assert was_seen == was_posted == (row.ended_at is None) == (row.due_at is not None)
        assert len(store.inbox(claimed.run.run_id)) == was_posted


# ----------------------------------------------------------------------------------------------------- the sweep


def test_due_runs_are_found_by_priority_and_due_time_up_to_the_limit(store: SqlStore) -> None:
    now = store.now()
    late = started(store, priority=5, due_at=now - 9 * SECOND)
    second = started(store, due_at=now - 1 * SECOND)
    first = started(store, due_at=now - 2 * SECOND)
    started(store, queue="other")
    started(store, due_at=now + 60 * SECOND)
    started(store, workflow="unknown", due_at=now - 20 * SECOND)
    held(store)
    assert store.due_runs("default", CAN, 10) == [first, second, late]
    assert store.due_runs("default", CAN, 2) == [first, second]
    assert store.due_runs("empty", CAN, 10) == []


def test_nothing_is_due_in_an_empty_database(store: SqlStore) -> None:
    assert store.due(CAN, 10) == Due()
    assert store.due(Capability((), (), ()), 10) == Due()


def test_what_is_due_is_counted_by_queue_up_to_the_limit(clocked: SqlStore, clock: HandClock) -> None:
    now = clock.now()
    claimed = held(clocked)
    for n in range(4):
        started(clocked, priority=n % 2)
    started(clocked, queue="other")
    started(clocked, queue="elsewhere")
    started(clocked, workflow="unknown")
    started(clocked, due_at=now + 9 * SECOND)
    tasks = (
        a_task(clocked, "1"),
        a_task(clocked, "2"),
        a_task(clocked, "3", queue="other"),
        a_task(clocked, "4", queue="elsewhere"),
        a_task(clocked, "5", step="unknown"),
        a_task(clocked, "6", due_at=now + 7 * SECOND, priority=3),
    )
    clocked.append(an_append(claimed, tasks=tasks))
    assert clocked.due(CAN, 100) == Due({"default": 4, "other": 1}, {"default": 2, "other": 1}, now + 7 * SECOND)
    assert clocked.due(CAN, 3).runs == {"default": 3, "other": 1}
    clocked.claim_tasks("w1", "default", CAN, 2)
    assert clocked.due(CAN, 100).tasks == {"other": 1}
    clock.go_on(7)
    assert clocked.due(CAN, 100).tasks == {"default": 1, "other": 1}
    assert clocked.due(CAN, 100).next_at == now + 9 * SECOND


def test_a_run_that_somebody_holds_is_not_due(store: SqlStore) -> None:
    claimed = held(store)
    store.post(claimed.run.run_id, "Signal", "[{}]")
    assert store.due(CAN, 10) == Due()
    let_go(store, claimed)
    assert store.due(CAN, 10).runs == {"default": 1}


@pytest.mark.parametrize(
    ("codes", "tried_again"),
    [
        ({("shop", 1): "new"}, True),
        ({("shop", 1): "old"}, False),
        ({("shop", 2): "new"}, False),
        ({("shop", 2): "old", ("shop", 1): "new"}, True),
        ({}, False),
    ],
)
def test_a_run_blocked_by_code_is_tried_with_other_code(
    store: SqlStore, codes: dict[tuple[str, int], str], tried_again: bool
) -> None:
    claimed = held(store)
    change = RunChange(status="blocked", reason="code_error", release=True, code="old")
    store.append(an_append(claimed, change=change))
    found = store.unblock(CAN, codes, 10)
    assert found == ([claimed.run.run_id] if tried_again else [])
    assert store.unblock(CAN, codes, 10) == []
    assert (store.claim("w1", claimed.run.run_id, CAN) is not None) == tried_again


def test_what_code_did_not_block_stays_as_it_is(store: SqlStore) -> None:
    started(store)
    held(store)
    claimed = held(store)
    store.append(an_append(claimed, change=RunChange(status="blocked", reason="step_in_doubt", release=True)))
    elsewhere = held(store, queue="elsewhere")
    store.append(an_append(elsewhere, change=RunChange(status="blocked", release=True, code="old")))
    assert store.unblock(CAN, {("shop", 1): "new"}, 10) == []


def test_runs_are_unblocked_up_to_the_limit(store: SqlStore) -> None:
    for _ in range(3):
        claimed = held(store)
        store.append(an_append(claimed, change=RunChange(status="blocked", release=True, code="old")))
    assert len(store.unblock(CAN, {("shop", 1): "new"}, 2)) == 2
    assert len(store.unblock(CAN, {("shop", 1): "new"}, 2)) == 1


def test_a_worker_that_is_registered_twice_is_one(store: SqlStore) -> None:
    worker(store)
    worker(store)
    assert len(store.workers()) == 1
