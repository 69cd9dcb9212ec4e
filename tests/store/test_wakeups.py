"""No wake-up is lost: whatever is put down for a run is seen by who holds it, or leaves the run due.

The rules of a holder: claim, take what is in the inbox, let go; and claim again when told that something came. The
rules of everybody else: put down, ping. After any order of these, a run with something in its inbox is held or due.
"""

import threading
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from squidmesh.ports import Claimed, Join, RunChange
from squidmesh.store import SqlStore, open_store

from .support import CAN, LEASE, HandClock, a_task, an_append, at_once, events_of, fanned_out, outcome, started, worker


class Wakeups(RuleBasedStateMachine):
    """One run, several workers, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.store = open_store("sqlite://", clock=self.clock)
        self.holders: dict[str, Claimed] = {}  # as each worker believes
        self.seq = 2
        self.posted = self.folded = 0

    @initialize()
    def start(self) -> None:
        self.run_id = started(self.store)
        for name in ("w1", "w2"):
            worker(self.store, name)

    @rule()
    def post(self) -> None:
        self.posted += 1
        assert self.store.post(self.run_id, "Signal", f"[{self.posted}]") is not None

    @rule(name=st.sampled_from(["w1", "w2"]))
    def claim(self, name: str) -> None:
        claimed = self.store.claim(name, self.run_id, CAN)
        if claimed is not None:
            self.holders[name] = claimed
            self.seq = claimed.history[-1].seq + 1

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), release=st.booleans(), take=st.booleans())
    def append(self, data: Any, release: bool, take: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.holders)))
        claimed = self.holders[name]
        inbox = self.store.refresh(self.run_id, name, claimed.run.epoch) if take else []
        if inbox is None:
            del self.holders[name]
            return
        change = RunChange("waiting", release=True) if release else None
        taken = tuple(row.id for row in inbox)
        answer = self.store.append(an_append(claimed, self.seq, change=change, taken=taken))
        if not answer.accepted:
            del self.holders[name]
            return
        self.seq += 1
        self.folded += len(taken)
        if not take and self.store.inbox(self.run_id):
            assert answer.pinged or claimed.inbox
        if release:
            del self.holders[name]
            if not take and claimed.inbox and not answer.pinged:  # a holder never lets go without folding in
                self.store.post(self.run_id, "Again", "[]")
                self.posted += 1

    @rule(name=st.sampled_from(["w1", "w2"]))
    def die(self, name: str) -> None:
        other = "w2" if name == "w1" else "w1"
        self.clock.go_on(LEASE - 1)
        self.store.renew(other, LEASE)
        self.clock.go_on(1)
        self.store.take_over(name, {})
        worker(self.store, name)

    @invariant()
    def a_run_with_messages_is_held_or_due(self) -> None:
        if not hasattr(self, "run_id"):
            return
        row = self.store.run(self.run_id)
        assert row is not None
        inbox = self.store.inbox(self.run_id)
        assert len(inbox) == self.posted - self.folded
        if inbox and row.worker is None:
            assert row.due_at is not None
            assert row.due_at <= self.clock.now()

    def teardown(self) -> None:
        self.store.close()
        self.store.engine.dispose()


Wakeups.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWakeups = Wakeups.TestCase


def test_messages_posted_by_many_threads_are_all_folded_in_by_whoever_holds(store: SqlStore) -> None:
    run_id = started(store)
    for name in ("h1", "h2"):
        worker(store, name)
    posters, each = 3, 25
    done = threading.Event()
    folded: list[Any] = []

    def post(number: int) -> None:
        for n in range(each):
            assert store.post(run_id, "Signal", f'["{number}-{n}"]') == (True, "running") or True

    def hold(name: str) -> None:
        while not done.is_set():
            claimed = store.claim(name, run_id, CAN)
            if claimed is None:
                continue
            seq = claimed.history[-1].seq + 1
            inbox, pinged = claimed.inbox, True
            while pinged:
                taken = tuple(row.id for row in inbox)
                answer = store.append(an_append(claimed, seq, taken=taken))
                assert answer.accepted
                folded.extend(events_of(inbox))
                seq += 1
                inbox, pinged = [], answer.pinged
                if pinged:
                    inbox = store.refresh(run_id, name, claimed.run.epoch) or []
            answer = store.append(an_append(claimed, seq, change=RunChange("waiting", release=True)))
            assert answer.accepted
            if len(folded) == posters * each:
                done.set()

    threads = [threading.Thread(target=post, args=(n,)) for n in range(posters)]
    threads += [threading.Thread(target=hold, args=(name,)) for name in ("h1", "h2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done.is_set()
    assert len(folded) == len(set(folded)) == posters * each
    assert store.inbox(run_id) == []


def test_tasks_reported_by_many_threads_while_the_holder_places_more_all_arrive(store: SqlStore) -> None:
    """A window of a fan-out: each time few are out the holder is woken, folds in, and places more."""
    total, window = 60, 8
    deadlocks = count_deadlocks(store)
    run_id = started(store)
    worker(store)
    placed, folded = 0, 0
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            tasks = store.claim_tasks("w1", "default", CAN, 2)
            if tasks:
                store.report("w1", [outcome(task) for task in tasks])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100_000):
            claimed = store.claim("w1", run_id, CAN)
            if claimed is None:
                continue
            folded += len(events_of(claimed.inbox))
            seq = claimed.history[-1].seq + 1
            taken = tuple(row.id for row in claimed.inbox)
            if folded == total:
                change = RunChange("completed", ended_at=1)
                assert store.append(an_append(claimed, seq, taken=taken, change=change)).accepted
                break
            more = min(window - (placed - folded), total - placed)
            tasks = tuple(a_task(store, f"7.{placed + n}", join_position="7") for n in range(more))
            placed += more
            joins = (Join("7", more, wake_at=window // 2 if placed < total else 0),)
            change = RunChange("waiting", release=True)
            append = an_append(claimed, seq, taken=taken, tasks=tasks, joins=joins, change=change)
            assert store.append(append).accepted
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert folded == total
    row = store.run(run_id)
    assert row is not None
    assert row.status == "completed"
    assert left(store) == 0
    assert count_deadlocks(store) == deadlocks


def test_runs_end_while_their_tasks_are_reported_and_leave_nothing_behind(store: SqlStore) -> None:
    deadlocks = count_deadlocks(store)
    runs = [fanned_out(store, 30) for _ in range(12)]
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            tasks = store.claim_tasks("w1", "default", CAN, 7)
            outcomes = [
                outcome(task, ping=n % 3 == 0, retry_at=store.now() if n % 4 == 1 else None)
                for n, task in enumerate(tasks)
            ]
            store.report("w1", outcomes[::-1])

    def end(number: int) -> None:
        for run_id in runs[number::2]:
            store.post(run_id, "CancelRequested", "[{}]")
            while not end_of(run_id):
                pass

    def end_of(run_id: str) -> bool:
        """End it, and look again if something arrived meanwhile; whether it has ended for good."""
        claimed = store.claim("w1", run_id, CAN)
        if claimed is None:
            return False
        taken = tuple(row.id for row in claimed.inbox)
        change = RunChange("cancelled", ended_at=1)
        ended = store.append(an_append(claimed, claimed.history[-1].seq + 1, change=change, taken=taken))
        assert ended.accepted
        return not ended.pinged

    workers = [threading.Thread(target=work) for _ in range(3)]
    for thread in workers:
        thread.start()
    try:
        at_once(2, end)
    finally:
        stop.set()
        for thread in workers:
            thread.join(60)
    assert left(store) == 0
    assert store.due(CAN, 10).runs == {}
    assert count_deadlocks(store) == deadlocks


def left(store: SqlStore) -> int:
    """How many rows there are of what goes with a run's end."""
    return sum(
        store.database.read(f"SELECT count(*) FROM squidmesh_{table}")[0][0] for table in ("tasks", "joins", "inbox")
    )


def count_deadlocks(store: SqlStore) -> int:
    if store.engine.dialect.name == "sqlite":
        return 0
    rows = store.database.read("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(rows[0][0])
