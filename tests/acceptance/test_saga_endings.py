"""What becomes of a rollback when its run is ended from outside in the middle of it."""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh import Flow, GiveUp, RunCancelled, WorkflowError, rollback, saga, step, workflow
from squidmesh.testing import VirtualMesh

BY: Any = {"actor": "ann", "note": "looked at it"}


@step
def acc_end_book(what: str) -> str:
    return what


@acc_end_book.undo
def acc_end_cancel(booked: str, what: str) -> None: ...


@step(irreversible=True)
def acc_end_print(what: str) -> str:
    return what


@step
def acc_end_fails() -> None:
    raise ValueError("no room")


@workflow
def acc_end_trip() -> Flow[None]:
    yield from acc_end_book("hotel")
    yield from acc_end_book("car")
    raise WorkflowError("rain")


@workflow
def acc_end_halts() -> Flow[None]:
    yield from acc_end_book("before")
    try:
        with saga("inner", on_irreversible="halt"):
            yield from acc_end_book("hotel")
            yield from acc_end_print("ticket")
            yield from acc_end_fails()
    except WorkflowError:
        pass


@workflow
def acc_end_goes_on() -> Flow[str]:
    scope = saga("ground")
    try:
        with scope:
            yield from acc_end_print("ticket")
            yield from acc_end_fails()
    except WorkflowError:
        yield from rollback(scope)
    yield from acc_end_book("another way")
    raise WorkflowError("late")


def test_a_rollback_that_is_terminated_is_abandoned_and_what_is_left_can_be_undone_later() -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(acc_end_trip())
        with mesh.stub(acc_end_book.undo, raises=GiveUp("closed")):
            mesh.drain()
        assert handle.status() == "blocked"
        handle.terminate(**BY)
        mesh.drain()
        assert handle.status() == "terminated"
        cut = handle.inspect().rollback
        assert cut is not None
        assert (cut.outcome, cut.pending) == ("abandoned", [])
        assert [entry.reason for entry in (*cut.failed, *cut.skipped)] == ["gave_up", "abandoned"]
        assert not any("undo_retry" in (action.python or "") for action in cut.next_actions)
        handle.rollback(**BY)
        mesh.drain()
        again = handle.inspect().rollback
        assert again is not None
        assert (again.outcome, len(again.undone)) == ("clean", 2)
        assert handle.status() == "terminated"
        mesh.check(handle)


def test_what_a_scope_could_not_undo_counts_when_the_run_is_cancelled_before_it_went_on() -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(acc_end_halts())
        mesh.drain()
        assert handle.explain().reason == "undo_halted"
        handle.cancel(**BY)
        handle.undo_skip(**BY)
        mesh.drain()
        with pytest.raises(RunCancelled):
            handle.result()
        report = handle.inspect().rollback
        assert report is not None
        assert [entry.step for entry in report.irreversible] == ["acc_end_print"]
        assert report.outcome == "partial"
        mesh.check(handle)


def test_what_a_scope_could_not_undo_is_its_own_matter_where_the_workflow_went_on() -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(acc_end_goes_on())
        mesh.drain()
        report = handle.inspect().rollback
        assert report is not None
        assert (report.outcome, [entry.step for entry in report.undone]) == ("clean", ["acc_end_book"])
        mesh.check(handle)
