"""The contract of the store: claiming a run, writing its history, letting it go."""

import dataclasses
from typing import Any
from uuid import uuid4

import pytest

from squidmesh.ports import Appended, Capability, Join, RunChange, RunFilter
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
    let_go,
    started,
    worker,
)

ACCEPTED = Appended(accepted=True, pinged=False)
PINGED = Appended(accepted=True, pinged=True)
REFUSED = Appended(accepted=False, pinged=False)


def test_a_claimed_run_is_running_in_a_new_epoch_with_nothing_due(store: SqlStore) -> None:
    run_id = started(store)
    worker(store)
    claimed = store.claim("w1", run_id, CAN)
    assert claimed is not None
    assert (claimed.run.worker, claimed.run.epoch, claimed.run.status) == ("w1", 1, "running")
    assert (claimed.run.due_at, claimed.run.reason) == (None, None)
    assert [row.seq for row in claimed.history] == [1]
    assert claimed.inbox == []
    assert store.run(run_id) == claimed.run


def test_a_claim_brings_only_the_history_that_is_not_known(store: SqlStore) -> None:
    claimed = held(store)
    store.append(an_append(claimed, 2, events=["A", "B"]))
    let_go(store, claimed, 4, due_at=store.now())
    again = store.claim("w1", claimed.run.run_id, CAN, known=lambda _: 3)
    assert again is not None
    assert [row.seq for row in again.history] == [4]
    assert (again.run.length, again.run.epoch) == (4, 2)


def test_a_claim_brings_the_inbox_in_order(store: SqlStore) -> None:
    run_id = started(store)
    for n in range(3):
        assert store.post(run_id, "Signal", f'[{{"n":{n}}}]') == (True, "pending")
    worker(store)
    claimed = store.claim("w1", run_id, CAN)
    assert claimed is not None
    assert events_of(claimed.inbox) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert claimed.inbox == store.inbox(run_id)


def next_one(store: SqlStore, *, fresh: bool) -> str | None:
    claimed = store.claim_next("w1", "default", 0, CAN, lambda _: 0, fresh)
    return None if claimed is None else claimed.run.run_id


def waiting(store: SqlStore, due_at: int) -> str:
    """A run that has begun, and is due again."""
    claimed = held(store)
    let_go(store, claimed, due_at=due_at)
    return claimed.run.run_id


def test_a_claim_may_prefer_what_has_not_begun_to_what_is_due_longer(store: SqlStore) -> None:
    worker(store)
    now = store.now()
    late = waiting(store, now - 3 * SECOND)
    first, second = started(store, due_at=now - 2 * SECOND), started(store, due_at=now - SECOND)
    for _ in range(70):  # which became due after them
        waiting(store, now)
    started(store, due_at=now + 3600 * SECOND)
    assert [next_one(store, fresh=fresh) for fresh in (True, False, True)] == [first, late, second]
    assert next_one(store, fresh=True) not in (None, first, late, second)


def test_what_has_not_begun_is_not_preferred_by_a_claim_that_does_not_ask_for_it(store: SqlStore) -> None:
    worker(store)
    now = store.now()
    fresh, late = started(store, due_at=now), waiting(store, now - SECOND)
    assert [next_one(store, fresh=False) for _ in range(3)] == [late, fresh, None]


def test_a_run_that_somebody_holds_is_not_claimed(store: SqlStore) -> None:
    claimed = held(store)
    store.post(claimed.run.run_id, "Signal", "[{}]")
    worker(store, "w2")
    assert store.claim("w2", claimed.run.run_id, CAN) is None
    assert store.claim("w1", claimed.run.run_id, CAN) is None


def test_a_run_is_claimed_when_it_is_due_and_not_before(clocked: SqlStore, clock: HandClock) -> None:
    run_id = started(clocked, due_at=clock.now() + 5 * SECOND)
    worker(clocked)
    assert clocked.claim("w1", run_id, CAN) is None
    clock.go_on(5)
    assert clocked.claim("w1", run_id, CAN) is not None


def test_a_run_is_not_claimed_without_its_code(store: SqlStore) -> None:
    run_id = started(store, version=3)
    worker(store)
    assert store.claim("w1", run_id, CAN) is None
    newer = Capability(queues=CAN.queues, workflows=(("shop", 3),), steps=())
    assert store.due_runs("default", CAN, 10) == []
    assert store.due_runs("default", newer, 10) == [run_id]
    assert store.claim("w1", run_id, Capability((), (), ())) is None
    assert store.claim("w1", run_id, newer) is not None


def test_a_worker_without_a_lease_claims_nothing(clocked: SqlStore, clock: HandClock) -> None:
    run_id = started(clocked)
    assert clocked.claim("unknown", run_id, CAN) is None
    worker(clocked)
    clock.go_on(LEASE)
    assert clocked.claim("w1", run_id, CAN) is None


def test_of_many_threads_that_claim_a_run_one_gets_it(store: SqlStore) -> None:
    run_id = started(store)
    for n in range(8):
        worker(store, f"w{n}")
    claims = at_once(8, lambda n: store.claim(f"w{n}", run_id, CAN))
    assert sum(claim is not None for claim in claims) == 1


@pytest.mark.parametrize(
    ("status", "becomes"),
    [("waiting", "running"), ("paused", "running"), ("blocked", "blocked"), ("undoing", "undoing")],
)
def test_a_claim_changes_the_status_only_of_a_run_that_waits(store: SqlStore, status: str, becomes: str) -> None:
    claimed = held(store)
    change = RunChange(status=status, reason="because", release=True, due_at=store.now())
    assert store.append(an_append(claimed, change=change)).accepted
    again = store.claim("w1", claimed.run.run_id, CAN)
    assert again is not None
    assert again.run.status == becomes
    assert again.run.reason == (None if becomes == "running" else "because")


# --------------------------------------------------------------------------------------------------- the fence


def test_an_append_writes_its_events_and_leaves_the_row_alone(store: SqlStore) -> None:
    claimed = held(store)
    before = store.run(claimed.run.run_id)
    assert store.append(an_append(claimed, 2, events=["A", "B"])) == ACCEPTED
    assert store.append(an_append(claimed, 4, events=["C"])) == ACCEPTED
    assert [row.seq for row in store.history(claimed.run.run_id)] == [1, 2, 4]
    assert [event["kind"] for event in events_of(store.history(claimed.run.run_id))[1:]] == ["A", "B", "C"]
    assert store.run(claimed.run.run_id) == before


CHANGES = [None, RunChange(status="running"), RunChange(status="waiting", release=True)]
CHANGE_NAMES = ["plain", "changing", "releasing"]


@pytest.mark.parametrize("change", [*CHANGES, RunChange("completed", ended_at=1)], ids=[*CHANGE_NAMES, "ending"])
@pytest.mark.parametrize("extra", [False, True], ids=["bare", "with tasks"])
@pytest.mark.parametrize("wrong", [{"worker": "w2"}, {"epoch": 2}, {"epoch": 0}, {"run_id": str(uuid4())}])
def test_an_append_of_another_holder_writes_nothing(
    store: SqlStore, change: RunChange | None, extra: bool, wrong: dict[str, Any]
) -> None:
    claimed = held(store)
    worker(store, "w2")
    before = store.run(claimed.run.run_id)
    more: dict[str, Any] = {"change": change} | wrong
    if extra:
        more |= {"tasks": (a_task(store, "2"),), "joins": (Join("2", 1),)}
    assert store.append(an_append(claimed, **more)) == REFUSED
    assert store.run(claimed.run.run_id) == before
    assert len(store.history(claimed.run.run_id)) == 1
    assert store.tasks(claimed.run.run_id) == []


@pytest.mark.parametrize("change", CHANGES, ids=CHANGE_NAMES)
@pytest.mark.parametrize("extra", [False, True], ids=["bare", "with tasks"])
def test_an_append_at_a_place_that_is_taken_writes_nothing(
    store: SqlStore, change: RunChange | None, extra: bool
) -> None:
    claimed = held(store)
    assert store.append(an_append(claimed, 2)) == ACCEPTED
    before = store.run(claimed.run.run_id)
    more: dict[str, Any] = {"tasks": (a_task(store, "2"),), "joins": (Join("2", 1),)} if extra else {}
    assert store.append(an_append(claimed, 2, events=["Other"], change=change, **more)) == REFUSED
    assert store.run(claimed.run.run_id) == before
    assert [event["kind"] for event in events_of(store.history(claimed.run.run_id))] == [
        "RunStarted",
        "Something",
    ]
    assert store.tasks(claimed.run.run_id) == []


@pytest.mark.parametrize("many", [False, True])
def test_an_append_of_no_events_takes_no_place(store: SqlStore, many: bool) -> None:
    holders = [held(store) for _ in range(4 if many else 1)]
    change = RunChange(status="waiting", release=True, due_at=store.now())
    at_once(len(holders), lambda n: store.append(an_append(holders[n], 2, events=[], change=change)))
    for claimed in holders:
        again = store.claim("w1", claimed.run.run_id, CAN)
        assert again is not None
        assert (again.run.length, [row.seq for row in again.history]) == (1, [1])
        assert store.append(an_append(again, 2)) == ACCEPTED


@pytest.mark.parametrize("more", [{"tasks": True}, {"joins": True}, {"taken": True}])
def test_an_append_of_no_events_may_change_everything_else(store: SqlStore, more: dict[str, bool]) -> None:
    claimed = held(store)
    store.post(claimed.run.run_id, "Signal", "[{}]")
    (message,) = store.inbox(claimed.run.run_id)
    given: dict[str, Any] = {
        "tasks": (a_task(store, "1.1"),) if "tasks" in more else (),
        "joins": (Join("1", 1, 0),) if "joins" in more else (),
        "taken": (message.id,) if "taken" in more else (),
    }
    assert store.append(an_append(claimed, 2, events=[], **given)).accepted
    assert [row.seq for row in store.history(claimed.run.run_id)] == [1]
    assert store.append(an_append(claimed, 2)).accepted


def test_an_end_at_a_place_that_is_taken_writes_nothing(store: SqlStore) -> None:
    claimed = held(store)
    store.append(an_append(claimed, 2))
    assert store.append(an_append(claimed, 2, change=RunChange("completed", ended_at=1))) == REFUSED
    row = store.run(claimed.run.run_id)
    assert row is not None
    assert (row.status, row.worker) == ("running", "w1")


def test_a_worker_whose_lease_is_over_appends_nothing(clocked: SqlStore, clock: HandClock) -> None:
    claimed = held(clocked)
    clock.go_on(LEASE)
    for change in (*CHANGES, RunChange("completed", ended_at=1)):
        assert clocked.append(an_append(claimed, change=change)) == REFUSED
    assert clocked.append(an_append(claimed, tasks=(a_task(clocked, "2"),))) == REFUSED
    assert len(clocked.history(claimed.run.run_id)) == 1


def test_the_holder_before_is_refused_by_its_epoch(store: SqlStore) -> None:
    old = held(store)
    let_go(store, old, 2, due_at=store.now())
    new = store.claim("w1", old.run.run_id, CAN)
    assert new is not None
    assert store.append(an_append(old, 3)) == REFUSED
    assert store.append(an_append(new, 3)) == ACCEPTED


def test_of_many_threads_that_append_at_one_place_one_writes(store: SqlStore) -> None:
    claimed = held(store)
    answers = at_once(8, lambda n: store.append(an_append(claimed, 2, events=[f"E{n}"])))
    assert sum(answer.accepted for answer in answers) == 1
    assert len(store.history(claimed.run.run_id)) == 2


# ------------------------------------------------------------------------------------------------- letting go


def test_a_run_that_is_let_go_has_its_status_length_and_due_time(store: SqlStore) -> None:
    claimed = held(store)
    due_at = store.now() + 60 * SECOND
    change = RunChange(status="waiting", reason="sleeping", release=True, due_at=due_at, code="abc")
    assert store.append(an_append(claimed, 2, events=["A", "B"], change=change)) == ACCEPTED
    row = store.run(claimed.run.run_id)
    assert row is not None
    assert (row.status, row.reason, row.code) == ("waiting", "sleeping", "abc")
    assert (row.worker, row.due_at, row.length, row.epoch) == (None, due_at, 3, 1)


def test_a_ping_that_came_meanwhile_is_kept_when_a_run_is_let_go(store: SqlStore) -> None:
    claimed = held(store)
    store.post(claimed.run.run_id, "Signal", "[{}]")
    assert let_go(store, claimed, due_at=store.now() + 60 * SECOND) == PINGED
    row = store.run(claimed.run.run_id)
    assert row is not None
    assert row.due_at is not None
    assert row.due_at <= store.now() + SECOND
    assert store.claim("w1", claimed.run.run_id, CAN) is not None


def test_a_change_without_release_keeps_the_holder_and_the_ping(store: SqlStore) -> None:
    claimed = held(store)
    assert store.append(an_append(claimed, 2, change=RunChange(status="undoing"))) == ACCEPTED
    store.post(claimed.run.run_id, "Signal", "[{}]")
    change = RunChange(status="running", due_at=store.now() + 60 * SECOND)
    assert store.append(an_append(claimed, 3, change=change)) == PINGED
    row = store.run(claimed.run.run_id)
    assert row is not None
    assert (row.status, row.worker) == ("running", "w1")
    assert row.due_at is not None
    assert row.due_at <= store.now() + SECOND


def test_a_plain_append_tells_of_a_ping(store: SqlStore) -> None:
    claimed = held(store)
    assert store.append(an_append(claimed, 2)) == ACCEPTED
    store.post(claimed.run.run_id, "Signal", "[{}]")
    assert store.append(an_append(claimed, 3)) == PINGED
    assert store.append(an_append(claimed, 4)) == PINGED
    inbox = store.refresh(claimed.run.run_id, "w1", 1)
    assert inbox is not None
    assert store.append(an_append(claimed, 5, taken=(inbox[0].id,))) == ACCEPTED
    assert store.inbox(claimed.run.run_id) == []


def test_only_the_holder_refreshes(store: SqlStore) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    assert store.refresh(run_id, "w1", 1) == []
    assert store.refresh(run_id, "w1", 2) is None
    assert store.refresh(run_id, "w2", 1) is None
    let_go(store, claimed)
    assert store.refresh(run_id, "w1", 1) is None


def test_a_run_is_let_go_without_an_append(store: SqlStore) -> None:
    claimed = held(store)
    run_id, later = claimed.run.run_id, store.now() + 60 * SECOND
    store.append(an_append(claimed, 2, events=["A", "B"]))
    assert not store.let_go(run_id, "w2", 1, later)
    assert not store.let_go(run_id, "w1", 2, later)
    assert store.let_go(run_id, "w1", 1, later)
    row = store.run(run_id)
    assert row is not None
    assert (row.worker, row.due_at, row.status, row.length) == (None, later, "running", 3)
    assert not store.let_go(run_id, "w1", 1, None)


def test_a_run_let_go_without_an_append_keeps_its_ping(store: SqlStore) -> None:
    claimed = held(store)
    store.post(claimed.run.run_id, "Signal", "[{}]")
    assert store.let_go(claimed.run.run_id, "w1", 1, store.now() + 60 * SECOND)
    assert store.claim("w1", claimed.run.run_id, CAN) is not None


# ------------------------------------------------------------------------------------------------------ ending


def test_an_ended_run_has_nothing_due_and_nobody_holds_it(store: SqlStore) -> None:
    claimed = held(store)
    change = RunChange(status="completed", ended_at=77, due_at=5)
    assert store.append(an_append(claimed, 2, change=change)) == ACCEPTED
    row = store.run(claimed.run.run_id)
    assert row is not None
    assert (row.status, row.ended_at, row.due_at, row.worker, row.length) == ("completed", 77, None, None, 2)
    assert store.post(claimed.run.run_id, "Signal", "[{}]") == (False, "completed")
    assert store.append(an_append(claimed, 3)) == REFUSED


@pytest.mark.parametrize("arrived", [False, True])
def test_tasks_and_joins_of_an_ended_run_go_with_its_end(store: SqlStore, arrived: bool) -> None:
    run_id = fanned_out(store, 3)
    other = fanned_out(store, 1)
    (task, *_) = store.claim_tasks("w1", "default", CAN, 1, run_id=run_id)
    assert store.post(run_id, "CancelRequested", "[{}]") == (True, "waiting")
    claimed = store.claim("w1", run_id, CAN)
    assert claimed is not None
    if arrived:
        store.post(run_id, "Signal", "[{}]")
    change = RunChange(status="cancelled", ended_at=77)
    taken = tuple(row.id for row in claimed.inbox)
    assert store.append(an_append(claimed, 3, change=change, taken=taken)) == (PINGED if arrived else ACCEPTED)
    assert len(store.inbox(run_id)) == arrived
    assert store.tasks(run_id) == []
    assert [left.run_id for left in store.tasks(other)] == [other]
    assert store.database.read("SELECT {text:run_id} FROM squidmesh_joins") == [(other,)]
    assert store.checkpoint(run_id, task.position, "w1", 1, "1") is False


def test_a_message_that_the_end_has_not_taken_opens_the_run_again(clocked: SqlStore, clock: HandClock) -> None:
    claimed = held(clocked)
    run_id = claimed.run.run_id
    clocked.post(run_id, "Signal", "[1]")
    inbox = clocked.refresh(run_id, "w1", 1)
    assert inbox is not None
    taken = (inbox[0].id,)
    clocked.post(run_id, "RollbackStarted", "[2]")
    clock.go_on(1)
    change = RunChange("completed", ended_at=7, rollback="clean")
    assert clocked.append(an_append(claimed, 2, change=change, taken=taken)) == PINGED
    row = clocked.run(run_id)
    assert row is not None
    assert (row.status, row.ended_at, row.due_at, row.worker) == ("completed", None, clock.now(), None)
    assert (row.length, row.rollback) == (2, "clean")
    again = clocked.claim("w1", run_id, CAN)
    assert again is not None
    assert (again.run.status, events_of(again.inbox)) == ("completed", [2])
    taken = (again.inbox[0].id,)
    assert clocked.append(an_append(again, 3, events=[], change=change, taken=taken)) == ACCEPTED
    row = clocked.run(run_id)
    assert row is not None
    assert (row.ended_at, row.due_at, row.length) == (7, None, 2)
    assert clocked.inbox(run_id) == []


def test_a_ping_without_a_message_does_not_keep_a_run_from_its_end(store: SqlStore) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    store.post(run_id, "Signal", "[{}]")
    taken = tuple(message.id for message in store.inbox(run_id))
    change = RunChange("completed", ended_at=7)
    assert store.append(an_append(claimed, 2, change=change, taken=taken)) == ACCEPTED
    row = store.run(run_id)
    assert row is not None
    assert (row.ended_at, row.due_at) == (7, None)


@pytest.mark.parametrize("change", [RunChange("undoing", release=True), RunChange("failed", ended_at=1)])
def test_the_outcome_of_a_rollback_is_kept_until_there_is_another(store: SqlStore, change: RunChange) -> None:
    claimed = held(store)
    run_id = claimed.run.run_id
    assert claimed.run.rollback is None
    assert store.append(an_append(claimed, 2, change=RunChange("undoing", rollback="walking"))) == ACCEPTED
    assert store.append(an_append(claimed, 3, change=RunChange("undoing"))) == ACCEPTED
    row = store.run(run_id)
    assert row is not None
    assert (row.rollback, row.worker) == ("walking", "w1")
    last = dataclasses.replace(change, rollback="partial")
    assert store.append(an_append(claimed, 4, change=last)) == ACCEPTED
    other = held(store)
    (told,) = store.runs(RunFilter(rollback=["partial", "refused"]), 10, None)
    assert (told.run_id, told.status, told.rollback) == (run_id, change.status, "partial")
    assert store.runs(RunFilter(rollback=["clean"]), 10, None) == []
    assert other.run.run_id != run_id


def test_many_changes_written_together_have_their_own_outcome_of_a_rollback(store: SqlStore) -> None:
    holders = [held(store) for _ in range(3)]
    changes = [RunChange("undoing", release=True, rollback=outcome) for outcome in ("walking", None, "clean")]
    appends = [an_append(claimed, change=change) for claimed, change in zip(holders, changes, strict=True)]
    assert store.database.dialect.write(store.database, appends) == [ACCEPTED] * 3
    rows = [store.run(claimed.run.run_id) for claimed in holders]
    assert [row and row.rollback for row in rows] == ["walking", None, "clean"]
