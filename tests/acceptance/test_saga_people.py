"""What operators do about a rollback, and read of it; by the contract alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import (
    Flow,
    IllegalState,
    NoSuchEntry,
    NothingToUndo,
    RollbackReport,
    RunUndone,
    UnsafeRerun,
    WorkflowError,
    add_undo,
    context,
    step,
    workflow,
)
from squidmesh.testing import VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
BAD: set[int] = set()
UNDONE: list[int] = []


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    BAD.clear()
    UNDONE.clear()
    with VirtualMesh() as mesh:
        yield mesh


@step(undo_retry=None)
def acc_book(number: int) -> int:
    return number


@acc_book.undo
def acc_unbook(result: int, number: int) -> None:
    acc_release(number)


@step(irreversible=True)
def acc_mail(number: int) -> int:
    return number


def acc_release(number: int) -> None:
    UNDONE.append(number)
    if number in BAD:
        raise ValueError(f"{number} is held")


@workflow
def acc_travel(fails: bool, mail: bool = False) -> Flow[int]:
    yield from acc_book(1)
    if mail:
        yield from acc_mail(2)
    yield from acc_book(3)
    if fails:
        raise WorkflowError("no seat")
    return 3


@workflow(on_undo_failure="continue")
def acc_travel_on() -> Flow[None]:
    for number in (1, 2, 3):
        yield from acc_book(number)
    raise WorkflowError("no seat")


def read(run: Any) -> RollbackReport:
    report = run.inspect().rollback
    assert isinstance(report, RollbackReport)
    return report


def test_entries_stand_in_the_order_they_were_settled_also_when_a_person_settles_one_anew(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_travel(True, mail=True))
    mesh.advance(10)
    assert [entry.position for entry in read(run).undone] == ["3", "1"]
    mesh.advance(10)
    run.undo_mark_done("acc_mail", **BY)
    mesh.advance(1)
    report = read(run)
    assert [entry.position for entry in report.undone] == ["3", "1", "2"]
    times = [entry.at for entry in report.undone if entry.at is not None]
    assert times == sorted(times)
    assert (report.outcome, report.revision, report.undone[-1].by, run.status()) == ("clean", 2, "ann", "failed")
    mesh.check(run)


def test_where_the_walk_goes_on_a_person_settles_each_failure_at_the_end(mesh: VirtualMesh) -> None:
    BAD.update({3, 2})
    run = mesh.start(acc_travel_on())
    mesh.advance(10_000)
    report = read(run)
    assert (run.explain().reason, [entry.position for entry in report.failed]) == ("undo_failed", ["3", "2"])
    assert ([entry.position for entry in report.undone], report.pending, report.outcome) == (["1"], [], None)
    BAD.clear()
    run.undo_retry("3", **BY)
    mesh.advance(1)
    assert run.status() == "blocked"
    run.undo_skip("acc_book", **BY)  # the only one left
    mesh.advance(1)
    report = read(run)
    assert (run.status(), report.outcome, [entry.position for entry in report.undone]) == (
        "failed",
        "partial",
        ["1", "3"],
    )
    mesh.check(run)


@pytest.mark.parametrize("who", [{"actor": "", "note": "n"}, {"actor": "a", "note": ""}, {"actor": " ", "note": " "}])
def test_an_operator_without_name_or_note_changes_nothing(mesh: VirtualMesh, who: dict[str, Any]) -> None:
    BAD.add(3)
    run = mesh.start(acc_travel(True))
    mesh.advance(10_000)
    events = len(run.history())
    for command in (run.undo_retry, run.undo_skip, run.undo_mark_done):
        with pytest.raises(ValueError, match=r"actor|note"):
            command("3", **who)
    for command in (run.undo_abandon, run.rollback, run.terminate):
        with pytest.raises(ValueError, match=r"actor|note"):
            command(**who)
    assert (len(run.history()), run.status()) == (events, "blocked")


def test_an_entry_that_is_not_one_or_not_there_is_told_with_those_that_are(mesh: VirtualMesh) -> None:
    BAD.add(3)
    run = mesh.start(acc_travel(True))
    mesh.advance(10_000)
    events = len(run.history())
    with pytest.raises(NoSuchEntry, match="acc_book at 2, acc_book at 1"):
        run.undo_mark_done("acc_book", **BY)
    with pytest.raises(NoSuchEntry, match="acc_book at 2"):
        run.undo_skip("1", **BY)
    assert len(run.history()) == events


def test_a_completed_run_is_undone_once_by_whoever_asks_first(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_travel(False))
    assert run.result() == 3
    plan = run.rollback(dry_run=True)
    assert ([entry.position for entry in plan.pending], list(run.inspect().rollbacks)) == (["2", "1"], [])
    first, again, other = run.rollback(**BY, key="k"), run.rollback(**BY, key="k"), run.rollback(actor="bob", note="me")
    assert first.id == again.id == other.id
    mesh.advance(1)
    assert (run.status(), UNDONE, read(run).actor) == ("undone", [3, 1], "ann")
    assert run.rollback(**BY, key="k").outcome == "clean"
    with pytest.raises(NothingToUndo, match="undone already"):
        run.rollback(actor="bob", note="me")
    with pytest.raises(RunUndone):
        run.result()
    mesh.check(run)


def test_a_rerun_would_mail_again_and_is_refused_by_what_history_holds(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_travel(True, mail=True))
    mesh.advance(1)
    with pytest.raises(UnsafeRerun, match="acc_mail"):
        run.rerun()
    with pytest.raises(ValueError, match=r"actor|note"):
        run.rerun(allow_irreversible=True)
    again = run.rerun(allow_irreversible=True, **BY, key="again")
    assert run.rerun(allow_irreversible=True, **BY, key="again").run_id == again.run_id


# ------------------------------------------------------------------------------------ several undos of one step


@step
def acc_ship(number: int) -> int:
    context().add_undo(acc_release, 21)
    context().add_undo(acc_release, 22)
    return number


@acc_ship.undo
def acc_unship(result: int, number: int) -> None:
    UNDONE.append(number)


@workflow
def acc_shipping() -> Flow[None]:
    yield from add_undo(acc_release, 1)
    yield from acc_ship(2)
    raise WorkflowError("end")


def test_what_a_step_has_registered_is_undone_after_its_own_undo_newest_first(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_shipping())
    mesh.advance(1)
    assert UNDONE == [2, 22, 21, 1]
    assert [entry.kind for entry in read(run).undone] == ["step", "registered", "registered", "registered"]
    mesh.check(run)


def test_an_undo_of_several_at_one_position_is_named_as_the_report_says(mesh: VirtualMesh) -> None:
    BAD.add(21)
    run = mesh.start(acc_shipping())
    mesh.advance(100_000)
    (action, *_) = read(run).next_actions
    assert "undo_retry('2:undo:1'" in (action.python or "")
    run.undo_mark_done("2:undo:1", **BY)
    mesh.advance(1)
    assert (read(run).outcome, UNDONE[-1]) == ("clean", 1)
    mesh.check(run)


@workflow
def acc_long() -> Flow[None]:
    yield from acc_book(1)
    print({}["broken"])  # pyright: ignore[reportUnusedExpression]


def test_broken_code_undoes_nothing_until_a_person_ends_the_run(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_long())
    mesh.advance(1)
    assert (run.explain().reason, UNDONE) == ("code_error", [])
    with pytest.raises(IllegalState) as refused:
        run.rollback(**BY)
    assert "cancel" in refused.value.allowed
    run.fail(undo=True, **BY)
    mesh.advance(1)
    assert (run.status(), UNDONE, read(run).outcome) == ("failed", [1], "clean")
    mesh.check(run)
