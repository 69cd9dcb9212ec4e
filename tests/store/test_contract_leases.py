"""The contract of the store: workers, their leases, and what becomes of what they hold."""

from squidmesh.ports import Reported
from squidmesh.store import SqlStore

from .support import (
    CAN,
    LEASE,
    SECOND,
    HandClock,
    a_task,
    an_append,
    at_once,
    events_of,
    fanned_out,
    held,
    outcome,
    started,
    worker,
)

LOST = '[{"kind":"AttemptStarted"},{"kind":"AttemptLost"}]'
FAILED = '[{"kind":"StepFailed"}]'


def test_a_worker_is_listed_with_what_it_serves(clocked: SqlStore, clock: HandClock) -> None:
    worker(clocked)
    (row,) = clocked.workers()
    assert (row.worker, row.host, row.pid, row.queues) == ("w1", "host", 1, ["default", "other"])
    assert row.code == {"workflows": [["shop", 1], ["shop", 2]], "steps": ["pay", "ship"]}
    assert (row.started_at, row.expires_at) == (clock.now(), clock.now() + 15 * SECOND)


def test_a_lease_is_prolonged_until_it_is_over(clocked: SqlStore, clock: HandClock) -> None:
    worker(clocked)
    clock.go_on(14)
    assert clocked.renew("w1", LEASE)
    clock.go_on(14)
    assert clocked.expired() == []
    assert clocked.renew("w1", LEASE)
    clock.go_on(15)
    assert clocked.expired() == ["w1"]
    assert not clocked.renew("w1", LEASE)
    assert not clocked.renew("unknown", LEASE)


def test_the_databases_own_clock_ends_a_lease(store: SqlStore) -> None:
    worker(store, "short", lease=0.0)
    worker(store, "long")
    assert store.expired() == ["short"]
    assert not store.renew("short", LEASE)
    assert store.renew("long", LEASE)


def test_who_leaves_hands_back_its_runs(clocked: SqlStore, clock: HandClock) -> None:
    claimed = held(clocked)
    clocked.append(an_append(claimed, 2, events=["A", "B"]))
    other = held(clocked, "w2")
    clocked.leave("w1", {})
    row = clocked.run(claimed.run.run_id)
    assert row is not None
    assert (row.worker, row.due_at, row.length) == (None, clock.now(), 3)
    assert [found.worker for found in clocked.workers()] == ["w2"]
    still = clocked.run(other.run.run_id)
    assert still is not None
    assert still.worker == "w2"
    assert not clocked.append(an_append(claimed, 4)).accepted
    clocked.leave("w1", {})
    assert len(clocked.workers()) == 1


def test_who_leaves_hands_back_tasks_not_begun_and_their_attempt_is_not_counted(
    clocked: SqlStore, clock: HandClock
) -> None:
    run_id = fanned_out(clocked, 2)
    (task,) = clocked.claim_tasks("w1", "default", CAN, 1)
    clock.go_on(1)
    clocked.leave("w1", {})
    row = next(row for row in clocked.tasks(run_id) if row.position == task.position)
    assert (row.worker, row.number, row.lost, row.due_at) == (None, 0, 0, clock.now())
    assert clocked.inbox(run_id) == []


def test_attempts_that_who_leaves_has_begun_are_lost(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 3)
    again, over, unbegun = clocked.claim_tasks("w1", "default", CAN, 3)
    clocked.leave("w1", {(run_id, again.position): (LOST, False), (run_id, over.position): (FAILED, True)})
    rows = {row.position: (row.number, row.lost, row.worker) for row in clocked.tasks(run_id)}
    assert rows == {again.position: (1, 1, None), unbegun.position: (0, 0, None)}
    assert [event["kind"] for event in events_of(clocked.inbox(run_id))] == [
        "AttemptStarted",
        "AttemptLost",
        "StepFailed",
    ]
    worker(clocked, "w2")
    assert clocked.claim("w2", run_id, CAN) is not None, "a failure pings the run"


def test_the_runs_of_an_expired_worker_are_due_and_the_old_holder_is_fenced_off(
    clocked: SqlStore, clock: HandClock
) -> None:
    claimed = held(clocked)
    clocked.append(an_append(claimed, 2, events=["A", "B"]))
    clock.go_on(15)
    worker(clocked, "w2")
    assert clocked.expired() == ["w1"]
    assert clocked.take_over("w1", {}) == 1
    assert clocked.workers()[0].worker == "w2"
    assert clocked.expired() == []
    row = clocked.run(claimed.run.run_id)
    assert row is not None
    assert (row.worker, row.due_at, row.length) == (None, clock.now(), 3)
    again = clocked.claim("w2", claimed.run.run_id, CAN)
    assert again is not None
    assert again.run.epoch == 2
    assert not clocked.append(an_append(claimed, 4)).accepted
    assert clocked.append(an_append(again, 4)).accepted


def test_a_lost_task_is_due_again_its_loss_put_down_and_its_run_pinged(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 1)
    (task,) = clocked.claim_tasks("w1", "default", CAN, 1)
    clock.go_on(15)
    assert clocked.take_over("w1", {(run_id, task.position): (LOST, False)}) == 1
    (row,) = clocked.tasks(run_id)
    assert (row.worker, row.number, row.lost, row.due_at) == (None, 1, 1, clock.now())
    assert [event["kind"] for event in events_of(clocked.inbox(run_id))] == ["AttemptStarted", "AttemptLost"]
    run = clocked.run(run_id)
    assert run is not None
    assert run.due_at == clock.now()
    worker(clocked, "w2")
    (again,) = clocked.claim_tasks("w2", "default", CAN, 1)
    assert again.number == 2
    assert clocked.report("w1", [outcome(task)]) == Reported(frozenset(), frozenset())
    assert clocked.report("w2", [outcome(again)]).pinged == {run_id}


def test_a_task_lost_too_often_is_gone_and_its_run_pinged(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 2)
    clocked.claim_tasks("w1", "default", CAN, 1)
    (task,) = clocked.tasks_of("w1")
    clock.go_on(15)
    assert clocked.take_over("w1", {(run_id, task.position): (FAILED, True)}) == 1
    (left,) = clocked.tasks(run_id)
    assert left.position != task.position
    assert events_of(clocked.inbox(run_id)) == [{"kind": "StepFailed"}]
    worker(clocked, "w2")
    claimed = clocked.claim("w2", run_id, CAN)
    assert claimed is not None
    taken = tuple(row.id for row in claimed.inbox)
    assert not clocked.append(an_append(claimed, 3, taken=taken)).pinged
    (last,) = clocked.claim_tasks("w2", "default", CAN, 1)
    assert clocked.report("w2", [outcome(last)]).pinged == {run_id}, "the join counts the lost one too"


def test_a_task_that_was_not_seen_stays_for_the_next_sweep(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 2)
    one, two = clocked.claim_tasks("w1", "default", CAN, 2)
    claimed = held(clocked)
    clock.go_on(15)
    assert clocked.take_over("w1", {(run_id, one.position): (LOST, False)}) == 2
    assert clocked.tasks_of("w1") == [two]
    assert clocked.expired() == ["w1"]
    row = clocked.run(claimed.run.run_id)
    assert row is not None
    assert row.worker is None
    assert clocked.take_over("w1", {(run_id, two.position): (LOST, False)}) == 1
    assert clocked.expired() == []
    assert clocked.workers() == []


def test_a_living_worker_is_not_taken_over(clocked: SqlStore, clock: HandClock) -> None:
    claimed = held(clocked)
    clock.go_on(14)
    assert clocked.take_over("w1", {}) == 0
    assert clocked.take_over("unknown", {}) == 0
    row = clocked.run(claimed.run.run_id)
    assert row is not None
    assert row.worker == "w1"


def test_of_many_sweepers_one_takes_over(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 5)
    tasks = clocked.claim_tasks("w1", "default", CAN, 5)
    held(clocked)
    clock.go_on(15)
    lost = {(run_id, task.position): (LOST, False) for task in tasks}
    assert sorted(at_once(6, lambda _: clocked.take_over("w1", lost))) == [0, 0, 0, 0, 0, 6]
    assert {task.lost for task in clocked.tasks(run_id)} == {1}
    assert len(clocked.inbox(run_id)) == 5


def test_what_has_ended_is_not_woken_by_a_take_over(clocked: SqlStore, clock: HandClock) -> None:
    run_id = started(clocked)
    worker(clocked)
    claimed = clocked.claim("w1", run_id, CAN)
    assert claimed is not None
    clocked.append(an_append(claimed, tasks=(a_task(clocked, "2"),)))
    clock.go_on(15)
    assert clocked.take_over("w1", {}) == 1
    assert [task.worker for task in clocked.tasks(run_id)] == [None]


def test_the_time_is_the_databases(store: SqlStore) -> None:
    worker(store)
    (row,) = store.workers()
    assert 0 <= store.now() - row.started_at < 10 * SECOND
    assert store.clock.now() >= row.started_at
