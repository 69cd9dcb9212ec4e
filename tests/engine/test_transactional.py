"""Transactional steps: the rows of the application, the result of the step and its event, or nothing of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from squidmesh import (
    Flow,
    RunFailed,
    context,
    gather,
    sleep,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.core.calls import NO_OPTIONS
from squidmesh.engine import transacting
from squidmesh.engine.calling import Trial
from squidmesh.errors import StoreUnavailable
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds
from tests.engine.ledger import (
    DATABASES,
    Booked,
    Rejected,
    book,
    collision,
    ledger,
    mesh_on,
    over,
    release,
    seen,
    tx_book,
    tx_elsewhere,
    tx_outside,
    tx_slow,
    with_table,
)


@pytest.fixture(params=DATABASES)
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    with mesh_on(request) as made:
        yield made


@step(transactional=True)
def tx_by_session(cents: int, fail: bool) -> None:
    with Session(bind=context().connection) as session:
        session.execute(text("UPDATE ledger SET cents = cents + :cents WHERE account = 'shop'"), {"cents": cents})
        session.commit()
    if fail:
        raise ValueError("no")


@workflow
def tx_single(account: str, cents: int, how: str = "", fail: bool = False) -> Flow[Booked]:
    booked = yield from tx_book(account, cents, how)
    if fail:
        raise Rejected("after all")
    return booked


@workflow
def tx_session(cents: int, fail: bool) -> Flow[None]:
    yield from tx_by_session(cents, fail)


@workflow
def tx_side_by_side(hows: list[str], fail: bool = False) -> Flow[int]:
    done = yield from gather([tx_book(f"a{n}", n + 1, how) for n, how in enumerate(hows)])
    if fail:
        raise Rejected("after all")
    return sum(booked.cents for booked in done)


# ------------------------------------------------------------------------------------------------- single steps


def test_what_a_step_writes_is_there_with_its_result_and_its_event(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_single("ann", 5))
    assert handle.result() == Booked(account="ann", cents=5)
    assert ledger(mesh) == {"ann": 5}
    assert kinds(handle) == ["RunStarted", "StepScheduled", "AttemptStarted", "StepCompleted", "RunCompleted"]


def test_a_step_that_fails_has_written_nothing_and_has_no_effect(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_single("ann", 5, "fail"))
    with pytest.raises(RunFailed, match="no"):
        handle.result()
    assert ledger(mesh) == {}
    assert [attempt for _, attempt in seen] == [1, 2]
    failed = [event for event in handle.history() if isinstance(event, ev.AttemptFailed)]
    assert [event.effect for event in failed] == ["none", "none"]


def test_a_later_attempt_writes_what_the_first_did_not(mesh: VirtualMesh) -> None:
    assert mesh.run(tx_single("ann", 5, "once")).cents == 5
    assert ledger(mesh) == {"ann": 5}
    assert seen == [("ann", 1), ("ann", 2)]


def test_a_result_that_cannot_be_stored_takes_its_rows_along(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_single("ann", 5, "huge"))
    with pytest.raises(RunFailed, match="result of step 'tx_book'"):
        handle.result()
    assert ledger(mesh) == {}
    (failed,) = [event for event in handle.history() if isinstance(event, ev.AttemptFailed)]
    assert (failed.effect, failed.retry_at) == ("none", None)


@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_a_step_cannot_end_the_transaction_that_it_runs_in(mesh: VirtualMesh, how: str) -> None:
    with pytest.raises(RunFailed, match="savepoint"):
        mesh.run(tx_single("ann", 5, how))
    assert ledger(mesh) == {}


@pytest.mark.parametrize("fail", [False, True])
def test_a_session_bound_to_the_connection_commits_with_the_step(mesh: VirtualMesh, fail: bool) -> None:
    with contextlib.suppress(RunFailed):
        mesh.run(tx_session(7, fail))
    assert ledger(mesh) == ({} if fail else {"shop": 7})


def test_what_a_step_says_meanwhile_is_recorded_with_it_or_not_at_all(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_single("ann", 5, "remembers"))
    handle.result()
    assert kinds(handle)[3:] == [
        "CheckpointSaved", "UndoRegistered", "StepMarkedIrreversible", "StepCompleted", "RunCompleted",
    ]  # fmt: skip
    handle = mesh.start(tx_single("bob", 5, "forgets"))
    with pytest.raises(RunFailed):
        handle.result()
    assert {"CheckpointSaved", "UndoRegistered"}.isdisjoint(kinds(handle))


def test_a_step_has_a_connection_only_if_it_is_transactional(mesh: VirtualMesh) -> None:
    with mesh.stub(tx_elsewhere, lambda: context().connection), pytest.raises(RunFailed, match="transactional=True"):
        mesh.run(tx_outside())


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
def test_a_step_whose_worker_dies_writes_exactly_once(mesh: VirtualMesh, lose: str) -> None:
    for call in (tx_single("ann", 5), tx_side_by_side(["", "", ""])):
        mesh.restart(lose=lose)
        mesh.run(call)
    assert ledger(mesh) == {"a0": 1, "a1": 2, "a2": 3, "ann": 5}


def test_an_undo_writes_with_its_own_record(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_single("ann", 5, "hard to undo", fail=True))
    with pytest.raises(RunFailed, match="after all"):
        handle.result()
    assert ledger(mesh) == {}
    assert seen[1:] == [("undo", "ann", 1), ("undo", "ann", 2)]
    (failed,) = [event for event in handle.history() if isinstance(event, ev.UndoFailed)]
    assert failed.reason == "error"


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
def test_an_undo_whose_worker_dies_writes_exactly_once(mesh: VirtualMesh, lose: str) -> None:
    handle = mesh.start(tx_fails_later())
    mesh.drain()
    assert ledger(mesh) == {"ann": 5}
    mesh.restart(lose=lose)
    with pytest.raises(RunFailed, match="after all"):
        handle.result()
    assert ledger(mesh) == {}
    assert [event.reason for event in handle.history() if isinstance(event, ev.UndoFailed)] == ["lost"]


@workflow
def tx_fails_later() -> Flow[None]:
    yield from tx_book("ann", 5)
    yield from sleep(1)
    raise Rejected("after all")


# ------------------------------------------------------------------------------------------------ taken as tasks


def test_members_of_a_group_write_one_by_one_and_fail_for_themselves(mesh: VirtualMesh) -> None:
    mesh.worker_now.pace.learn("default", 100, 0.001, beside=False)
    assert mesh.run(tx_side_by_side(["", "once", ""])) == 6
    assert ledger(mesh) == {"a0": 1, "a1": 2, "a2": 3}


def test_members_of_a_group_that_fails_are_undone(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed):
        mesh.run(tx_side_by_side(["", "fail", ""]))
    assert ledger(mesh) == {}
    with pytest.raises(RunFailed):
        mesh.run(tx_side_by_side(["", "", ""], fail=True))
    assert ledger(mesh) == {}


# ------------------------------------------------------------------------------------------- the transaction itself


def trial(mesh: VirtualMesh, called: Any, input: dict[str, Any]) -> Trial:
    return Trial(
        run_id=mesh.start(tx_outside()).run_id, position="1", step=called, number=1, input=input,
        overrides=NO_OPTIONS, progress=None, failed=0, first_at=0, scheduled_seq=0, save=lambda value: None,
    )  # fmt: skip


def accepting(_: Any, events: Sequence[ev.Event]) -> bool:
    seen.append([event.kind for event in events])
    return True


def test_what_is_refused_is_rolled_back_and_counts_for_nothing(mesh: VirtualMesh) -> None:
    one = trial(mesh, tx_book, {"account": "ann", "cents": 5})
    done = transacting.run(mesh.connect_engine(), one, lambda *_: False)
    assert (done.refused, done.recorded, list(done.events)) == (True, False, [])
    assert ledger(mesh) == {}


@pytest.mark.parametrize("where", ["body", "record"])
def test_a_collision_with_others_repeats_all_of_it_and_costs_no_attempt(mesh: VirtualMesh, where: str) -> None:
    one = trial(mesh, tx_book, {"account": "ann", "cents": 5})
    rounds: list[int] = []

    def body(account: str, cents: int, how: str = "") -> Booked:
        book(account, cents)
        rounds.append(context().attempt)
        if where == "body" and len(rounds) < 3:
            raise RuntimeError("as a library wraps it") from collision(mesh)
        return Booked(account=account, cents=cents)

    def record(*_: Any) -> bool:
        if where == "record" and len(rounds) < 3:
            raise collision(mesh)
        return True

    with mesh.stub(tx_book, body):
        done = transacting.run(mesh.connect_engine(), one, record)
    assert (done.recorded, [event.kind for event in done.events]) == (True, ["StepCompleted"])
    assert rounds == [1, 1, 1]
    assert ledger(mesh) == {"ann": 5}


def test_collisions_without_end_are_the_failure_of_the_attempt(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transacting, "MOST_COLLISIONS", 2)
    one = trial(mesh, tx_book, {"account": "ann", "cents": 5})
    with mesh.stub(tx_book, raises=[collision(mesh)] * 9) as stub:
        done = transacting.run(mesh.connect_engine(), one, accepting)
    assert len(stub.calls) == 3
    (failed,) = done.events
    assert isinstance(failed, ev.AttemptFailed)
    assert (failed.effect, done.recorded) == ("none", False)


def test_two_that_write_the_same_row_both_count_in_the_end(postgres_url: str) -> None:
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="SERIALIZABLE")
    with VirtualMesh(engine) as mesh:
        with_table(mesh)
        together = threading.Barrier(2, timeout=30)
        first: set[int] = set()

        def body(account: str, cents: int, how: str = "") -> Booked:
            before = context().connection.execute(text("SELECT cents FROM ledger WHERE account = 'shop'")).scalar_one()
            if threading.get_ident() not in first:
                first.add(threading.get_ident())
                together.wait()
            context().connection.execute(
                text("UPDATE ledger SET cents = :cents WHERE account = 'shop'"), {"cents": before + cents}
            )
            return Booked(account=account, cents=cents)

        trials = [trial(mesh, tx_book, {"account": "shop", "cents": cents}) for cents in (3, 4)]
        done: list[transacting.Done] = []
        with mesh.stub(tx_book, body):
            threads = [
                threading.Thread(
                    target=lambda one: done.append(transacting.run(mesh.connect_engine(), one, lambda *_: True)),
                    args=(one,),
                )
                for one in trials
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [one.recorded for one in done] == [True, True]
        assert ledger(mesh) == {"shop": 7}
    engine.dispose()


class Unsure:
    """A store whose commits get no answer: they came through, or they did not."""

    def __init__(self, store: Any, through: bool) -> None:
        self._store, self._through = store, through

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        lost = StoreUnavailable("the connection was lost while it committed")
        with self._store.transaction() as shared:
            yield shared
            if not self._through:
                raise lost
        raise lost


@pytest.mark.parametrize("through", [True, False])
def test_where_the_commit_got_no_answer_the_database_is_asked(mesh: VirtualMesh, through: bool) -> None:
    import dataclasses

    handle = mesh.start(tx_single("ann", 5))
    engine = mesh.connect_engine()
    mesh.worker_now.engine = dataclasses.replace(engine, store=Unsure(engine.store, through))  # type: ignore[arg-type]
    if through:
        mesh.drain()
    else:
        with pytest.raises(StoreUnavailable):
            mesh.drain()
        assert ledger(mesh) == {}
        mesh.worker_now.engine = engine
    assert handle.result().cents == 5
    assert ledger(mesh) == {"ann": 5}
    assert kinds(handle).count("StepCompleted") == 1


# ------------------------------------------------------------------------------------------------------- limits


@workflow
def tx_runs_slow() -> Flow[None]:
    yield from tx_slow()


def test_a_body_that_comes_back_too_late_has_written_nothing(mesh: VirtualMesh) -> None:
    release.clear()
    over.clear()
    with pytest.raises(RunFailed) as failed:
        mesh.run(tx_runs_slow())
    assert failed.value.failure.type == "builtins.TimeoutError"
    release.set()
    assert over.wait(30)
    assert len(seen) == 1  # its connection is closed to it
    assert ledger(mesh) == {}
    assert mesh.run(tx_single("ann", 5)).cents == 5


def test_a_sqlite_file_is_held_for_half_a_lease_at_most(sqlite_url: str) -> None:
    release.clear()
    with VirtualMesh(sqlite_url, lease=1) as mesh:
        with_table(mesh)
        with mesh.stub(tx_book, lambda *_, **__: release.wait(30)), pytest.raises(RunFailed, match=r"within 0\.5 s"):
            mesh.run(tx_single("ann", 5))
    release.set()
