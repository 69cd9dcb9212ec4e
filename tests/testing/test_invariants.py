"""Histories that can be, and for each invariant one that cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from squidmesh import Flow, WorkflowError, step, workflow
from squidmesh import events as ev
from squidmesh.core.failure import Failure
from squidmesh.events import Event
from squidmesh.testing import InvariantBroken, VirtualMesh
from squidmesh.testing.invariants import check

NO = Failure(type="shop.No", message="no")


def numbered(*events: Event) -> list[Event]:
    return [replace(event, seq=seq) for seq, event in enumerate(events, 1)]


def done(at: str, *traits: str) -> list[Event]:
    return [
        ev.StepScheduled(position=at, step=f"step{at}", input={}, traits=list(traits)),
        ev.AttemptStarted(position=at, worker="w"),
        ev.StepCompleted(position=at),
    ]


def undone(entry: str) -> list[Event]:
    return [
        ev.UndoStarted(entry=entry, worker="w"),
        ev.UndoCompleted(entry=entry),
        ev.EntrySettled(entry=entry, state="undone"),
    ]


STARTED = ev.RunStarted(workflow="shop", version=1, input={}, interpreter_version=1)
BEGUN = ev.RollbackStarted(cause="failure", number=1, failure=NO)
PLANNED = ev.RollbackPlanned(number=1, entries=["2", "1"])
CLEAN = ev.RollbackEnded(number=1, outcome="clean")
FAILED = ev.RunFailed(failure=NO)
BEFORE = [STARTED, *done("1", "undo"), *done("2", "undo")]
GOOD = [*BEFORE, BEGUN, PLANNED, *undone("2"), *undone("1"), CLEAN, FAILED]
BY_HAND = ev.EntrySettled(entry="2", state="undone", actor="ada", note="by hand")
LEFT = [
    STARTED, *done("1", "undo"), *done("2", "irreversible"), BEGUN, PLANNED,
    ev.EntrySettled(entry="2", state="irreversible", reason="declared"), *undone("1"),
]  # fmt: skip
PARTIAL = ev.RollbackEnded(number=1, outcome="partial")


@pytest.mark.parametrize(
    "history",
    [
        GOOD,
        [*LEFT, PARTIAL, FAILED],
        [*LEFT, PARTIAL, FAILED, BY_HAND, replace(CLEAN, revision=2)],
        [STARTED, *done("1", "pure"), ev.RunCompleted()],
        [*BEFORE, ev.RunTerminated(actor="ada", note="enough")],
        [*BEFORE, ev.RunCompleted(), replace(BEGUN, cause="operator", actor="ada"), *GOOD[8:-1], ev.RunUndone()],
    ],
)
def test_a_history_that_can_be_is_let_through(history: Sequence[Event]) -> None:
    check(numbered(*history))


LATER = [BEGUN, PLANNED]
WRONG: dict[str, tuple[list[Event], str]] = {
    "a gap": ([replace(STARTED, seq=1), replace(FAILED, seq=7)], "event 7 (RunFailed) stands at place 2"),
    "no start": ([FAILED], "a run starts once"),
    "an attempt of nothing": ([STARTED, ev.AttemptStarted(position="1")], "was never scheduled"),
    "a result out of nowhere": ([STARTED, ev.StepCompleted(position="1")], "was never scheduled"),
    "a result without an attempt": (
        [STARTED, ev.StepScheduled(position="1", step="a", input={}), ev.StepCompleted(position="1")],
        "no attempt of the step had started",
    ),
    "a number left out": (
        [*BEFORE, *done("3")[:1], ev.AttemptStarted(position="3", number=2)],
        "attempt 2 follows attempt 0",
    ),
    "two attempts at once": ([*BEFORE, *done("3")[:2], ev.AttemptStarted(position="3", number=2)], "under way"),
    "two ends of a step": ([*BEFORE, ev.StepFailed(position="2", failure=NO)], "had ended already"),
    "two ends of a run": ([STARTED, FAILED, ev.RunCompleted()], "the run had ended already"),
    "work after the end": ([STARTED, FAILED, *done("1")], "the run had ended"),
    "a rollback that nobody wanted": ([*BEFORE, FAILED, BEGUN], "no person wanted this"),
    "an end before that of its rollback": ([*BEFORE, BEGUN, PLANNED, FAILED], "rollback 1 is not over"),
    "an older one first": ([*BEFORE, *LATER, *undone("1"), *undone("2")], "what is older, 1, was undone before it"),
    "a plan out of order": (
        [*BEFORE, BEGUN, replace(PLANNED, entries=["1", "2"])],
        "not stand in reverse order of their completion",
    ),
    "a plan of what is not there": ([*BEFORE, BEGUN, replace(PLANNED, entries=["9"])], "nothing is armed as 9"),
    "two undos at once": ([*BEFORE, *LATER, *undone("2")[:1], *undone("1")], "the undo of 2 is under way"),
    "an undo that was not planned": ([*BEFORE, *undone("2")], "no rollback that is under way has planned it"),
    "an undo of what is settled": ([*BEFORE, *LATER, *undone("2"), *undone("2")], "the entry is settled already"),
    "an undo beside a step": (
        [*BEFORE, *done("3")[:2], *LATER, *undone("2")],
        "the step at position 3 is being tried",
    ),
    "two outcomes": ([*BEFORE, *LATER, *undone("2"), undone("2")[2]], "it was settled already (undone)"),
    "undone without an undo": ([*BEFORE, *LATER, undone("2")[2]], "its undo has not completed"),
    "an entry without an outcome": ([*BEFORE, *LATER, *undone("2"), CLEAN], "nothing became of 1"),
    "clean, and it is not": ([*LEFT, CLEAN], "clean is said of step2 at position 2: irreversible"),
    "partial, and it is clean": ([*GOOD[:-2], PARTIAL], "the outcome is clean"),
    "two ends of a rollback": ([*GOOD[:-1], CLEAN], "a rollback ends once"),
    "a rollback number left out": ([*BEFORE, replace(BEGUN, number=2)], "rollback 2 follows rollback 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_history_that_cannot_be_is_named(name: str) -> None:
    events, why = WRONG[name]
    with pytest.raises(InvariantBroken) as broken:
        check(events if events[0].seq else numbered(*events))
    assert any(why in problem for problem in broken.value.problems), broken.value.problems
    assert isinstance(broken.value, AssertionError)


class CheckedNo(WorkflowError): ...


@step(name="checked.reserve")
def reserve(n: int) -> int:
    return n


@reserve.undo
def release(made: int, n: int) -> None: ...


@workflow(name="checked.fails")
def fails(n: int) -> Flow[None]:
    yield from reserve(n)
    raise CheckedNo("no")


def test_a_mesh_checks_its_runs() -> None:
    with VirtualMesh() as mesh:
        handle: Any = mesh.start(fails(1))
        mesh.drain()
        mesh.check(handle)
