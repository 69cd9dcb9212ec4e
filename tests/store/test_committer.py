"""Appends that are written together are written as if each were alone."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from squidmesh.ports import Append, Appended, Claimed, Letter, RunChange
from squidmesh.store import SqlStore
from squidmesh.store.committer import Committer

from .conftest import Open
from .support import CAN, a_task, an_append, events_of, fanned_out, held, started, worker

ACCEPTED = Appended(accepted=True, pinged=False)


class Disk:
    """Takes batches one at a time, and holds each until it is told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.broken = False

    def write(self, appends: Sequence[Append]) -> list[Appended | None]:
        self.batches.append([append.seq for append in appends])
        self.arrived.release()
        assert self.go_on.acquire(timeout=30)
        if self.broken:
            raise OSError("the disk is full")
        return [None if append.seq % 2 else ACCEPTED for append in appends]


def plain(seq: int, run_id: str | None = None) -> Append:
    return Append(run_id or f"run-{seq}", "w1", 1, seq, "[]", 0)


class Writers:
    """Threads that append, and what they were told."""

    def __init__(self, committer: Committer) -> None:
        self.committer = committer
        self.told: dict[int, Any] = {}
        self.threads: list[threading.Thread] = []

    def begin(self, append: Append) -> None:
        thread = threading.Thread(target=self._write, args=(append,))
        self.threads.append(thread)
        thread.start()

    def _write(self, append: Append) -> None:
        self.told[append.seq] = self.committer.write(append)

    def end(self) -> None:
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_a_few_threads_write_for_themselves(disk: Disk) -> None:
    writers = Writers(Committer(disk.write, direct=2))
    for seq in (2, 4):
        writers.begin(plain(seq))
    for _ in range(2):
        assert disk.arrived.acquire(timeout=30)
    disk.go_on.release(2)
    writers.end()
    assert sorted(disk.batches) == [[2], [4]]
    assert writers.told == {2: (ACCEPTED, True), 4: (ACCEPTED, True)}
    assert not any(thread.name == "squidmesh-committer" for thread in threading.enumerate())


def test_what_comes_while_the_disk_is_busy_is_written_together(disk: Disk) -> None:
    committer = Committer(disk.write, direct=0)
    writers = Writers(committer)
    writers.begin(plain(2))
    assert disk.arrived.acquire(timeout=30)
    for seq in (3, 4, 6):
        writers.begin(plain(seq))
    wait_until(lambda: len(committer._waiting) == 3)
    disk.go_on.release(2)
    writers.end()
    assert disk.batches[0] == [2]
    assert sorted(disk.batches[1]) == [3, 4, 6]
    assert writers.told == {2: (ACCEPTED, True), 3: (None, True), 4: (ACCEPTED, True), 6: (ACCEPTED, True)}
    committer.close()


def test_two_appends_of_one_run_are_never_in_one_batch(disk: Disk) -> None:
    committer = Committer(disk.write, direct=0)
    writers = Writers(committer)
    writers.begin(plain(2))
    assert disk.arrived.acquire(timeout=30)
    for seq in (4, 6):
        writers.begin(plain(seq, "same"))
    writers.begin(plain(8))
    wait_until(lambda: len(committer._waiting) == 3)
    disk.go_on.release(3)
    writers.end()
    assert [len(batch) for batch in disk.batches] == [1, 2, 1]
    committer.close()


def telling(seq: int, receiver: int) -> Append:
    letter = Letter(f"run-{receiver}", "ChildEnded", "[]", "default")
    return Append(f"run-{seq}", "w1", 1, seq, "[]", 0, change=RunChange("completed", ended_at=1), letters=(letter,))


def test_ends_that_tell_one_run_are_written_together_and_what_it_appends_itself_is_not(disk: Disk) -> None:
    committer = Committer(disk.write, direct=0)
    writers = Writers(committer)
    writers.begin(plain(2))
    assert disk.arrived.acquire(timeout=30)
    for append in (telling(4, 8), telling(6, 8), plain(8), telling(10, 12), plain(12)):
        writers.begin(append)
        wait_until(lambda append=append: committer._waiting and committer._waiting[-1].append is append)
    disk.go_on.release(3)
    writers.end()
    assert disk.batches == [[2], [4, 6, 10], [8, 12]]
    committer.close()


def test_members_of_a_failed_batch_are_told_to_try_by_themselves(disk: Disk) -> None:
    committer = Committer(disk.write, direct=0)
    disk.broken = True
    disk.go_on.release()
    assert committer.write(plain(2)) == (None, False)
    disk.broken = False
    disk.go_on.release()
    assert committer.write(plain(2)) == (ACCEPTED, True)
    committer.close()


def test_closing_writes_what_waits_and_ends_the_thread(disk: Disk) -> None:
    committer = Committer(disk.write, direct=0)
    writers = Writers(committer)
    writers.begin(plain(2))
    assert disk.arrived.acquire(timeout=30)
    writers.begin(plain(4))
    wait_until(lambda: len(committer._waiting) == 1)
    disk.go_on.release(2)
    committer.close()
    writers.end()
    assert writers.told[4] == (ACCEPTED, True)
    assert committer._thread is not None
    assert not committer._thread.is_alive()
    disk.go_on.release()
    assert committer.write(plain(6)) == (ACCEPTED, True)
    committer.close()


def wait_until(condition: Any) -> None:
    for _ in range(10_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came")


# ------------------------------------------------------------------------------- batches on the real databases


def holders(store: SqlStore, count: int) -> list[Claimed]:
    worker(store)
    claims = [store.claim("w1", started(store), CAN) for _ in range(count)]
    return [claimed for claimed in claims if claimed is not None]


def write(store: SqlStore, appends: Sequence[Append]) -> list[Appended | None]:
    return store.database.dialect.write(store.database, appends)


def test_a_batch_writes_what_each_alone_would_have_written(store: SqlStore) -> None:
    one, two, three, four, five, six = holders(store, 6)
    store.post(two.run.run_id, "Signal", "[{}]")
    store.post(six.run.run_id, "Signal", "[{}]")
    answers = write(
        store,
        [
            an_append(one),
            an_append(two),
            an_append(three, change=RunChange("waiting", "sleeping", release=True, due_at=store.now() + 9)),
            an_append(four, change=RunChange("completed", ended_at=5)),
            an_append(five, tasks=(a_task(store, "2"),)),
            an_append(six, change=RunChange("failed", ended_at=6)),
        ],
    )
    assert [answer and answer.accepted for answer in answers] == [True] * 6
    assert [answer and answer.pinged for answer in answers] == [False, True, False, False, False, True]
    rows = [store.run(claimed.run.run_id) for claimed in (one, two, three, four, five, six)]
    assert [row and row.status for row in rows] == ["running", "running", "waiting", "completed", "running", "failed"]
    assert [row and row.worker for row in rows] == ["w1", "w1", None, None, "w1", None]
    assert [len(store.history(claimed.run.run_id)) for claimed in (one, two, three, four, five, six)] == [2] * 6
    assert [row and row.ended_at for row in rows] == [None, None, None, 5, None, None]
    assert len(store.inbox(six.run.run_id)) == 1
    assert len(store.tasks(five.run.run_id)) == 1


@pytest.mark.parametrize("change", [None, RunChange("waiting", release=True)], ids=["plain", "changing"])
def test_a_refused_append_disturbs_nobody_in_its_batch(store: SqlStore, change: RunChange | None) -> None:
    one, two, three, four = holders(store, 4)
    store.append(an_append(two, 2, events=["Taken"]))
    wanted = [
        an_append(one, change=change),
        an_append(two, change=change),
        an_append(three, change=change, epoch=9),
        an_append(four, change=change),
    ]
    told = []
    try:
        told = [answer is not None for answer in write(store, wanted)]
    except Exception:  # PostgreSQL refuses a batch as a whole: then each is tried by itself, as the committer does
        told = [write(store, [append])[0] is not None for append in wanted]
    assert told == [True, False, False, True]
    kinds = [event["kind"] for event in events_of(store.history(two.run.run_id))]
    assert kinds == ["RunStarted", "Taken"]


def test_many_threads_appending_leave_every_history_whole(store: SqlStore) -> None:
    store._committer._most_direct = 1  # so that batches are made with few threads too
    claims = holders(store, 8)
    poison = holders(store, 1)[0]
    wrong: list[Exception] = []

    def drive(claimed: Claimed) -> None:
        for seq in range(2, 42):
            assert store.append(an_append(claimed, seq, events=[f"E{seq}"])).accepted
        assert store.append(an_append(claimed, 42, change=RunChange("completed", ended_at=1))).accepted

    def disturb() -> None:
        for _ in range(20):
            try:
                store.append(an_append(poison, 2**40))
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=drive, args=(claimed,)) for claimed in claims]
    threads.append(threading.Thread(target=disturb))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for claimed in claims:
        rows = store.history(claimed.run.run_id)
        assert [row.seq for row in rows] == list(range(1, 43))
        row = store.run(claimed.run.run_id)
        assert row is not None
        assert row.status == "completed"
    if store.database.dialect.name == "postgresql":
        assert len(wrong) == 20, "a number that does not fit its column is its own caller's error"


def test_what_more_than_a_row_and_history_changes_is_written_alone(opened: Open, sqlite_url: str) -> None:
    store = opened(sqlite_url)
    store._committer._most_direct = 0
    fanned_out(store, 3)
    held(store)
    assert store._committer._thread is None
