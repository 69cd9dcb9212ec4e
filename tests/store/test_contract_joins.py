"""The contract of the store: what an append changes beside its run: tasks, joins, the inbox."""

import dataclasses

from squidmesh.ports import Appended, Join, RunChange
from squidmesh.store import SqlStore

from .support import CAN, SECOND, a_task, an_append, events_of, fanned_out, held, outcome, started

ACCEPTED = Appended(accepted=True, pinged=False)
PINGED = Appended(accepted=True, pinged=True)


def test_an_append_places_tasks_and_takes_inbox_rows(store: SqlStore) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    for n in range(3):
        store.post(run_id, "Signal", f'[{{"n":{n}}}]')
    inbox = store.refresh(run_id, "w1", 1)
    assert inbox is not None
    task = a_task(store, "3", step="ship", queue="other", priority=4, due_at=9, max_lost=2, scheduled_seq=3)
    taken = (inbox[0].id, inbox[2].id)
    assert store.append(an_append(claimed, 2, tasks=(task,), taken=taken)) == ACCEPTED
    assert events_of(store.inbox(run_id)) == [{"n": 1}]
    (row,) = store.tasks(run_id)
    for field in dataclasses.fields(task):
        assert getattr(row, field.name) == getattr(task, field.name)
    assert (row.run_id, row.worker, row.number, row.lost) == (run_id, None, 0, 0)
    assert (row.progress, row.claimed_at) == (None, None)


def test_inbox_rows_of_another_run_are_not_taken(store: SqlStore) -> None:
    claimed = held(store)
    other = started(store)
    store.post(other, "Signal", "[{}]")
    taken = tuple(row.id for row in store.inbox(other))
    assert store.append(an_append(claimed, 2, taken=taken)).accepted
    assert len(store.inbox(other)) == 1


def test_a_join_adds_to_what_remains_so_that_no_report_is_forgotten(store: SqlStore) -> None:
    claimed = held(store)
    assert store.append(an_append(claimed, 2, joins=(Join("7", 2, wake_at=0),))) == ACCEPTED
    assert store.append(an_append(claimed, 3, joins=(Join("7", 3, wake_at=4),))) == ACCEPTED
    assert store.append(an_append(claimed, 4, joins=(Join("7", -1, wake_at=4),))) == PINGED
    assert store.append(an_append(claimed, 5, joins=(Join("7", 0, wake_at=1), Join("8", 1)))) == ACCEPTED


def test_a_join_that_is_down_already_keeps_the_run_due(store: SqlStore) -> None:
    claimed = held(store)
    change = RunChange(status="waiting", release=True, due_at=store.now() + 60 * SECOND)
    assert store.append(an_append(claimed, joins=(Join("7", 1, wake_at=1),), change=change)) == PINGED
    assert store.claim("w1", claimed.run.run_id, CAN) is not None


def test_withdrawn_tasks_are_those_that_nobody_has_claimed(store: SqlStore) -> None:
    run_id = fanned_out(store, 4)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    store.post(run_id, "CancelRequested", "[{}]")
    claimed = store.claim("w1", run_id, CAN)
    assert claimed is not None
    every = [f"7.{n}" for n in range(1, 5)]
    assert store.withdraw(run_id, "w1", claimed.run.epoch - 1, every) == []
    assert store.withdraw(run_id, "w2", claimed.run.epoch, every) == []
    assert store.withdraw(run_id, "w1", claimed.run.epoch, []) == []
    gone = store.withdraw(run_id, "w1", claimed.run.epoch, [*every, "99"])
    assert gone == [position for position in every if position != task.position]
    assert [row.position for row in store.tasks(run_id)] == [task.position]
    assert store.append(an_append(claimed, 3)) == ACCEPTED
    assert store.append(an_append(claimed, 4, joins=(Join("7", 0, wake_at=0),))) == ACCEPTED
    assert store.append(an_append(claimed, 5, joins=(Join("7", -1, wake_at=0),))) == PINGED


def test_withdrawing_the_last_ones_of_a_join_wakes_the_run_for_the_others(store: SqlStore) -> None:
    run_id = fanned_out(store, 3)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    assert store.report("w1", [outcome(task)]).pinged == frozenset()
    store.post(run_id, "Signal", "[{}]")
    claimed = store.claim("w1", run_id, CAN)
    assert claimed is not None
    assert len(store.withdraw(run_id, "w1", claimed.run.epoch, ["7.1", "7.2", "7.3"])) == 2
    assert store.append(an_append(claimed, 3)) == PINGED


def test_ten_thousand_tasks_are_placed_by_one_append(store: SqlStore) -> None:
    claimed = held(store)
    tasks = tuple(a_task(store, f"2.{n}", join_position="2") for n in range(10_000))
    assert store.append(an_append(claimed, tasks=tasks, joins=(Join("2", 10_000),))) == ACCEPTED
    assert store.due(CAN, 20_000).tasks == {"default": 10_000}
