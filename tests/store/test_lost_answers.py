"""The connection goes while an answer is on its way: was it written, or not?

Between the store and PostgreSQL stands a gate that carries every byte. It can be told to pass on the next statement
and then to cut the line before the answer comes back: the commit happened, and nobody has heard of it.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from squidmesh.errors import StoreUnavailable
from squidmesh.ports import Appended, Reported, RunChange
from squidmesh.store import SqlStore

from .conftest import Open
from .support import CAN, a_task, an_append, fanned_out, held, new_run, outcome, started, worker


class Gate:
    """Carries connections to a server; can cut them."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open = True
        self._lines: list[socket.socket] = []
        self.swallow_answers = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            if not self._open:
                here.close()
                continue
            there = socket.create_connection(self._there)
            self._lines += [here, there]
            threading.Thread(target=self._carry, args=(here, there, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(there, here, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65_536):
                if answers and self.swallow_answers:
                    self.swallow_answers = False
                    self.cuts += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        """Cut every line, and take no new one."""
        self._open = False
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self.shut()
        self._listening.close()
        for line in self._lines:
            line.close()


@pytest.fixture
def gate(postgres_url: str) -> Iterator[Gate]:
    url = make_url(postgres_url)
    gate = Gate(url.host or "127.0.0.1", url.port or 5432)
    yield gate
    gate.close()


@pytest.fixture
def store(postgres_url: str, gate: Gate, opened: Open) -> SqlStore:
    """A store behind the gate."""
    url = make_url(postgres_url).set(host="127.0.0.1", port=gate.port)
    store = opened(url.render_as_string(hide_password=False))
    worker(store)
    return store


@pytest.mark.parametrize("change", [None, RunChange("waiting", release=True), RunChange("completed", ended_at=1)])
def test_an_append_whose_answer_was_lost_is_found_to_be_ours(
    store: SqlStore, gate: Gate, change: RunChange | None
) -> None:
    claimed = held(store)
    gate.swallow_answers = True
    assert store.append(an_append(claimed, change=change)) == Appended(accepted=True, pinged=True)
    assert gate.cuts == 1
    assert len(store.history(claimed.run.run_id)) == 2


def test_an_append_of_tasks_whose_answer_was_lost_is_written_once(store: SqlStore, gate: Gate) -> None:
    claimed = held(store)
    gate.swallow_answers = True
    assert store.append(an_append(claimed, tasks=(a_task(store, "2"),))).accepted
    assert len(store.tasks(claimed.run.run_id)) == 1


def test_an_append_that_was_never_heard_is_sent_again(store: SqlStore, gate: Gate) -> None:
    claimed = held(store)
    gate.shut()
    threading.Timer(0.3, gate.open).start()
    assert store.append(an_append(claimed)).accepted
    assert len(store.history(claimed.run.run_id)) == 2


def test_a_refused_append_is_not_taken_for_ours_after_a_cut(store: SqlStore, gate: Gate) -> None:
    claimed = held(store)
    store.append(an_append(claimed, 2))
    store.append(an_append(claimed, 3, change=RunChange("waiting", release=True, due_at=store.now())))
    again = store.claim("w1", claimed.run.run_id, CAN)
    assert again is not None
    gate.swallow_answers = True
    assert not store.append(an_append(again, 3)).accepted


def test_a_claim_whose_answer_was_lost_is_claimed_in_a_newer_epoch(store: SqlStore, gate: Gate) -> None:
    run_id = started(store)
    gate.swallow_answers = True
    claimed = store.claim("w1", run_id, CAN)
    assert claimed is not None
    assert (claimed.run.worker, claimed.run.epoch) == ("w1", 2)
    assert store.append(an_append(claimed)).accepted


def test_tasks_whose_claim_was_not_answered_are_found_again(store: SqlStore, gate: Gate) -> None:
    run_id = fanned_out(store, 5)
    gate.swallow_answers = True
    tasks = store.claim_tasks("w1", "default", CAN, 2)
    assert len(tasks) == 2
    assert {task.number for task in tasks} == {1}
    assert len([task for task in store.tasks(run_id) if task.worker]) == 2


def test_a_report_whose_answer_was_lost_counts_once(store: SqlStore, gate: Gate) -> None:
    run_id = fanned_out(store, 2)
    one, two = store.claim_tasks("w1", "default", CAN, 2)
    gate.swallow_answers = True
    accepted = frozenset({(run_id, one.position)})
    assert store.report("w1", [outcome(one)]) == Reported(accepted, frozenset({run_id}))
    assert len(store.inbox(run_id)) == 1
    run = store.run(run_id)
    assert run is not None
    assert run.due_at is None
    assert store.report("w1", [outcome(two)]).pinged == {run_id}


def test_a_start_whose_answer_was_lost_started_its_runs(store: SqlStore, gate: Gate) -> None:
    runs = [new_run(store, key="k-1"), new_run(store)]
    gate.swallow_answers = True
    assert store.start(runs) == [run.run_id for run in runs]
    assert gate.cuts == 1


def test_a_message_whose_answer_was_lost_is_not_sent_twice(store: SqlStore, gate: Gate) -> None:
    run_id = started(store)
    gate.swallow_answers = True
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.post(run_id, "Signal", "[{}]")
    assert len(store.inbox(run_id)) <= 1


def test_a_shared_commit_whose_answer_was_lost_is_told_so_that_the_caller_looks(store: SqlStore, gate: Gate) -> None:
    claimed = held(store)

    def body() -> None:
        with store.transaction() as shared:
            assert shared.append(an_append(claimed)).accepted
            gate.swallow_answers = True

    with pytest.raises(StoreUnavailable, match="does not answer"):
        body()
    assert gate.cuts == 1
    assert len(store.history(claimed.run.run_id)) == 2


@pytest.mark.parametrize("report", [False, True])
def test_a_connection_that_goes_before_the_commit_leaves_nothing(store: SqlStore, gate: Gate, report: bool) -> None:
    run_id = fanned_out(store, 1)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    claimed = held(store)

    def body() -> None:
        with store.transaction() as shared:
            shared.connection.execute(text("SELECT 1"))
            gate.swallow_answers = True
            if report:
                shared.report("w1", [outcome(task)])
            else:
                shared.append(an_append(claimed))

    with pytest.raises(StoreUnavailable, match="does not answer"):
        body()
    assert len(store.history(claimed.run.run_id)) == 1
    assert store.inbox(run_id) == []
    assert store.append(an_append(claimed)).accepted
    assert store.report("w1", [outcome(task)]).accepted


def test_a_note_whose_answer_was_lost_is_there_once(store: SqlStore, gate: Gate) -> None:
    run_id = fanned_out(store, 1)
    (task,) = store.claim_tasks("w1", "default", CAN, 1)
    gate.swallow_answers = True
    assert store.note(run_id, task.position, "w1", 1, "[{}]")
    assert gate.cuts == 1
    assert len(store.inbox(run_id)) == 1


def test_a_worker_gives_up_when_its_lease_must_be_over(postgres_url: str, gate: Gate, opened: Open) -> None:
    url = make_url(postgres_url).set(host="127.0.0.1", port=gate.port, username="postgres")
    store = opened(url.render_as_string(hide_password=False), lease=0.5)
    claimed = held(store)
    gate.shut()
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        store.append(an_append(claimed))
    assert time.monotonic() - begun < 20
    assert "\n" not in str(caught.value)
    gate.open()
    assert store.append(an_append(claimed)).accepted


def test_backends_that_the_server_ended_meanwhile_are_not_noticed(store: SqlStore, postgres_url: str) -> None:
    claimed = held(store)
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()
    assert store.append(an_append(claimed)).accepted
    assert store.run(claimed.run.run_id) is not None
    assert store.post(started(store), "Signal", "[{}]", key="k") is not None
