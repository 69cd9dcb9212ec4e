"""The contract of the store: claiming tasks, reporting what became of them."""

from collections.abc import Sequence
from typing import Any

import pytest

from squidmesh.ports import Capability, Outcome, Reported, RunChange, TaskRow
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
    worker,
)

NOTHING = Reported(frozenset(), frozenset())


def claimed_tasks(store: SqlStore, limit: int = 100, **more: str) -> list[TaskRow]:
    return store.claim_tasks("w1", "default", CAN, limit, **more)


def accepted(outcomes: Sequence[Outcome]) -> frozenset[tuple[str, str]]:
    return frozenset((o.run_id, o.position) for o in outcomes)


def test_a_claimed_task_is_the_workers_with_its_next_attempt(store: SqlStore) -> None:
    run_id = fanned_out(store, 1)
    (task,) = claimed_tasks(store)
    assert (task.run_id, task.position, task.worker, task.number, task.lost) == (run_id, "7.1", "w1", 1, 0)
    assert task.spec == '{"input":[1]}'
    assert task.claimed_at is not None
    assert store.tasks(run_id) == [task]
    assert store.tasks_of("w1") == [task]
    assert claimed_tasks(store) == []


def test_tasks_are_claimed_by_priority_and_due_time_up_to_the_limit(store: SqlStore) -> None:
    now = store.now()
    tasks = tuple(
        a_task(store, position, priority=priority, due_at=now - ago * SECOND)
        for position, priority, ago in [("1", 5, 3), ("2", 0, 1), ("3", 0, 2), ("4", 9, 9)]
    )
    assert store.append(an_append(held(store), tasks=tasks)).accepted
    assert [task.position for task in claimed_tasks(store, 3)] == ["3", "2", "1"]
    assert claimed_tasks(store, 0) == []


def test_a_task_is_claimed_only_when_due_on_its_queue_by_who_knows_its_step(
    clocked: SqlStore, clock: HandClock
) -> None:
    later = clock.now() + 5 * SECOND
    claimed = held(clocked)
    clocked.append(an_append(claimed, tasks=(a_task(clocked, "1", queue="other", due_at=later),)))
    assert clocked.claim_tasks("w1", "other", CAN, 9) == []
    clock.go_on(5)
    assert claimed_tasks(clocked) == []
    assert clocked.claim_tasks("w1", "other", Capability(("other",), (), ("ship",)), 9) == []
    assert clocked.claim_tasks("unknown", "other", CAN, 9) == []
    assert len(clocked.claim_tasks("w1", "other", CAN, 9)) == 1


def test_a_worker_without_a_lease_claims_no_task(clocked: SqlStore, clock: HandClock) -> None:
    fanned_out(clocked, 1)
    clock.go_on(LEASE)
    assert claimed_tasks(clocked) == []


def test_tasks_of_one_run_are_claimed_alone(store: SqlStore) -> None:
    fanned_out(store, 3)
    wanted = fanned_out(store, 2)
    assert {task.run_id for task in claimed_tasks(store, run_id=wanted)} == {wanted}
    assert len(claimed_tasks(store)) == 3


def test_many_threads_claim_each_task_once(store: SqlStore) -> None:
    fanned_out(store, 100)

    def take(_: int) -> list[str]:
        mine: list[str] = []
        while some := claimed_tasks(store, 7):
            mine += [task.position for task in some]
        return mine

    positions = [position for mine in at_once(6, take) for position in mine]
    assert len(positions) == len(set(positions)) == 100


# -------------------------------------------------------------------------------------------------- reporting


def test_an_outcome_is_put_down_and_its_task_goes(store: SqlStore) -> None:
    run_id = fanned_out(store, 2)
    one, _ = claimed_tasks(store)
    assert store.report("w1", [outcome(one)]) == Reported(accepted([outcome(one)]), frozenset())
    assert [task.position for task in store.tasks(run_id)] == ["7.2"] or one.position == "7.2"
    (row,) = store.inbox(run_id)
    assert events_of([row]) == [{"kind": "StepCompleted", "position": one.position}]
    assert abs(row.at - store.now()) < 60 * SECOND
    run = store.run(run_id)
    assert run is not None
    assert run.due_at is None


def test_the_last_outcome_of_a_join_pings_the_run(store: SqlStore) -> None:
    run_id = fanned_out(store, 3)
    for left, task in zip((2, 1, 0), claimed_tasks(store), strict=True):
        pinged = frozenset() if left else frozenset({run_id})
        assert store.report("w1", [outcome(task)]).pinged == pinged
    assert store.claim("w1", run_id, CAN) is not None


def test_a_run_is_pinged_as_soon_as_few_enough_are_out(store: SqlStore) -> None:
    run_id = fanned_out(store, 3, wake_at=2)
    for task in claimed_tasks(store):
        assert store.report("w1", [outcome(task)]).pinged == {run_id}


def test_outcomes_reported_together_are_one_inbox_row_in_order(store: SqlStore) -> None:
    run_id = fanned_out(store, 3)
    tasks = claimed_tasks(store)
    outcomes = [outcome(task, f"Kind{n}") for n, task in enumerate(tasks)]
    assert store.report("w1", outcomes) == Reported(accepted(outcomes), frozenset({run_id}))
    (row,) = store.inbox(run_id)
    assert [event["kind"] for event in events_of([row])] == ["Kind0", "Kind1", "Kind2"]
    assert store.tasks(run_id) == []


def test_outcomes_of_several_runs_are_reported_together(store: SqlStore) -> None:
    runs = [fanned_out(store, count) for count in (1, 2, 1)]
    tasks = [task for run_id in runs for task in claimed_tasks(store, 1, run_id=run_id)]
    reported = store.report("w1", [outcome(task) for task in tasks])
    assert len(reported.accepted) == 3
    assert reported.pinged == {runs[0], runs[2]}
    assert [len(store.inbox(run_id)) for run_id in runs] == [1, 1, 1]


def test_a_failure_pings_the_run_at_once(store: SqlStore) -> None:
    run_id = fanned_out(store, 3)
    task = claimed_tasks(store)[0]
    assert store.report("w1", [outcome(task, "StepFailed", ping=True)]).pinged == {run_id}


def test_a_task_of_no_join_pings_the_run(store: SqlStore) -> None:
    claimed = held(store)
    change = RunChange(status="waiting", release=True)
    store.append(an_append(claimed, tasks=(a_task(store, "2"),), change=change))
    (task,) = claimed_tasks(store)
    assert store.report("w1", [outcome(task)]).pinged == {claimed.run.run_id}


def test_a_task_of_an_unknown_join_pings_the_run(store: SqlStore) -> None:
    claimed = held(store)
    change = RunChange(status="waiting", release=True)
    store.append(an_append(claimed, tasks=(a_task(store, "2", join_position="9"),), change=change))
    (task,) = claimed_tasks(store)
    assert store.report("w1", [outcome(task)]).pinged == {claimed.run.run_id}


def test_a_ping_reaches_a_run_that_somebody_holds(store: SqlStore) -> None:
    claimed = held(store)
    store.append(an_append(claimed, tasks=(a_task(store, "2"),)))
    (task,) = claimed_tasks(store)
    store.report("w1", [outcome(task)])
    answer = store.append(an_append(claimed, 3))
    assert answer.accepted
    assert answer.pinged


def test_a_retry_is_due_again_later_and_counts_no_join_down(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 1)
    (task,) = claimed_tasks(clocked)
    assert clocked.checkpoint(run_id, task.position, "w1", 1, '{"done":3}')
    retry = outcome(task, "AttemptFailed", retry_at=clock.now() + 5 * SECOND)
    assert clocked.report("w1", [retry]) == Reported(accepted([retry]), frozenset())
    assert claimed_tasks(clocked) == []
    clock.go_on(5)
    (again,) = claimed_tasks(clocked)
    assert (again.number, again.progress, again.lost) == (2, '{"done":3}', 0)
    assert clocked.report("w1", [outcome(again)]).pinged == {run_id}


@pytest.mark.parametrize("wrong", [{"number": 2}, {"number": 0}, {"position": "7.9"}])
def test_an_outcome_of_another_attempt_is_refused(store: SqlStore, wrong: dict[str, Any]) -> None:
    run_id = fanned_out(store, 1)
    (task,) = claimed_tasks(store)
    assert store.report("w1", [outcome(task, **wrong)]) == NOTHING
    assert store.report("w1", [outcome(task, retry_at=1, **wrong)]) == NOTHING
    assert store.inbox(run_id) == []
    assert store.tasks(run_id) == [task]


def test_an_outcome_of_another_worker_is_refused(store: SqlStore) -> None:
    fanned_out(store, 1)
    (task,) = claimed_tasks(store)
    worker(store, "w2")
    assert store.report("w2", [outcome(task)]) == NOTHING
    assert store.report("unknown", [outcome(task)]) == NOTHING
    assert store.report("w1", []) == NOTHING


def test_an_outcome_after_the_lease_is_refused(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 1)
    (task,) = claimed_tasks(clocked)
    clock.go_on(LEASE)
    assert clocked.report("w1", [outcome(task)]) == NOTHING
    assert clocked.tasks(run_id) == [task]
    assert not clocked.checkpoint(run_id, task.position, "w1", 1, "1")


def test_an_outcome_is_accepted_once_and_a_refused_one_leaves_the_others_alone(store: SqlStore) -> None:
    run_id = fanned_out(store, 3)
    one, two, three = claimed_tasks(store)
    assert store.report("w1", [outcome(one)]).accepted == accepted([outcome(one)])
    together = store.report("w1", [outcome(two), outcome(one), outcome(three)])
    assert together == Reported(accepted([outcome(two), outcome(three)]), frozenset({run_id}))
    kinds = [event["position"] for event in events_of(store.inbox(run_id))]
    assert kinds == [one.position, two.position, three.position]


def test_outcomes_with_quotes_commas_and_other_alphabets_are_kept_as_they_are(store: SqlStore) -> None:
    run_id = fanned_out(store, 2)
    one, two = claimed_tasks(store)
    text = '[{"kind":"A","value":"x\\"],[{,\\\\ нула € \\u0000"},{"kind":"B"}]'
    store.report("w1", [outcome(one, events=text), outcome(two)])
    (row,) = store.inbox(run_id)
    first, *_ = events_of([row])
    assert first["value"] == 'x"],[{,\\ нула € \0'
    assert len(events_of([row])) == 3


@pytest.mark.parametrize("together", [1, 3])
def test_of_a_join_counted_down_by_many_threads_exactly_the_last_pings(store: SqlStore, together: int) -> None:
    run_id = fanned_out(store, 60)
    tasks = claimed_tasks(store)
    chunks = [tasks[n : n + together] for n in range(0, 60, together)]
    shares = [chunks[n::6] for n in range(6)]

    def report(n: int) -> int:
        return sum(run_id in store.report("w1", [outcome(t) for t in chunk]).pinged for chunk in shares[n])

    assert sum(at_once(6, report)) == 1
    run = store.run(run_id)
    assert run is not None
    assert run.due_at is not None
    assert len(events_of(store.inbox(run_id))) == 60


# --------------------------------------------------------------------------------- checkpoints, handing back


def test_a_checkpoint_is_the_latest_of_the_attempt_that_holds_the_task(store: SqlStore) -> None:
    run_id = fanned_out(store, 1)
    (task,) = claimed_tasks(store)
    assert store.checkpoint(run_id, task.position, "w1", 1, "1.0")
    assert store.tasks(run_id)[0].progress == "1.0"
    assert not store.checkpoint(run_id, task.position, "w1", 2, "2")
    assert not store.checkpoint(run_id, task.position, "w2", 1, "2")
    assert not store.checkpoint(run_id, "9", "w1", 1, "2")
    assert store.tasks(run_id)[0].progress == "1.0"


def test_a_note_of_a_running_attempt_comes_before_its_outcome_and_wakes_nobody(store: SqlStore) -> None:
    run_id = fanned_out(store, 1)
    (task,) = claimed_tasks(store)
    assert store.note(run_id, task.position, "w1", 1, '[{"kind":"UndoRegistered"}]')
    assert store.note(run_id, task.position, "w1", 1, '[{"kind":"UndoRegistered"}]')
    run = store.run(run_id)
    assert run is not None
    assert run.due_at is None
    assert store.tasks(run_id) == [task]
    assert store.report("w1", [outcome(task)]).pinged == {run_id}
    kinds = [event["kind"] for event in events_of(store.inbox(run_id))]
    assert kinds == ["UndoRegistered", "UndoRegistered", "StepCompleted"]


def test_a_note_of_an_attempt_that_is_not_ours_is_refused(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 1)
    (task,) = claimed_tasks(clocked)
    worker(clocked, "w2")
    for position, name, number in [("7.9", "w1", 1), (task.position, "w2", 1), (task.position, "w1", 2)]:
        assert not clocked.note(run_id, position, name, number, "[{}]")
    clock.go_on(LEASE)
    assert not clocked.note(run_id, task.position, "w1", 1, "[{}]")
    assert clocked.inbox(run_id) == []


def test_a_note_that_the_outcome_does_not_follow_is_told_with_the_loss(clocked: SqlStore, clock: HandClock) -> None:
    run_id = fanned_out(clocked, 1)
    (task,) = claimed_tasks(clocked)
    assert clocked.note(run_id, task.position, "w1", 1, '[{"kind":"UndoRegistered"}]')
    clock.go_on(LEASE)
    clocked.take_over("w1", {(run_id, task.position): ('[{"kind":"AttemptLost"}]', False)})
    assert [event["kind"] for event in events_of(clocked.inbox(run_id))] == ["UndoRegistered", "AttemptLost"]


def test_a_task_handed_back_is_due_and_its_attempt_not_counted(store: SqlStore) -> None:
    run_id = fanned_out(store, 2)
    one, two = claimed_tasks(store)
    store.hand_back("w1", [(run_id, one.position, 1), (run_id, two.position, 9)])
    store.hand_back("w2", [(run_id, two.position, 1)])
    store.hand_back("w1", [])
    again = claimed_tasks(store)
    assert [(task.position, task.number) for task in again] == [(one.position, 1)]
    assert store.report("w1", [outcome(again[0])]).accepted
