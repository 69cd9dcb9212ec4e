"""What an undo, a compensate and a check may say, as people write them; by the contract alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from squidmesh import (
    Applied,
    Cleaned,
    EffectUnknown,
    Failure,
    Flow,
    GiveUp,
    Irreversible,
    NotApplied,
    NotNeeded,
    PartialEffect,
    Retry,
    RetryAfter,
    RetryStep,
    RunFailed,
    StillUnknown,
    WorkflowError,
    add_undo,
    context,
    step,
    workflow,
)
from squidmesh.testing import VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
CALLS: list[Any] = []


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    CALLS.clear()
    with VirtualMesh() as mesh:
        yield mesh


async def acc_forgotten() -> None: ...


class AccUntellable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot be told")

    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


class AccBase(BaseException): ...


RETURNED: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "a value": lambda: {"rows": 3},
    "an object": object,
    "not needed": lambda: NotNeeded("never sent"),
    "irreversible": lambda: Irreversible("too late"),
    "the class irreversible": lambda: Irreversible,
    "give up": lambda: GiveUp("no"),
    "an error": lambda: ValueError("no"),
    "cleaned": Cleaned,
    "retry step": lambda: RetryStep(after=1),
    "applied": lambda: Applied(1),
    "not applied": NotApplied,
    "still unknown": StillUnknown,
    "a coroutine": acc_forgotten,
    "a generator": lambda: (one for one in ()),
}
DONE = ("none", "a value", "an object", "not needed")

RAISED: dict[str, Callable[[], BaseException]] = {
    "an untellable error": AccUntellable,
    "a base exception": lambda: AccBase("b"),
    "stop iteration": lambda: StopIteration(5),
    "generator exit": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "keyboard": lambda: KeyboardInterrupt("k"),
    "system exit": lambda: SystemExit(3),
    "a group": lambda: ExceptionGroup("g", [ValueError("a"), KeyError("b")]),
    "surrogates and nul": lambda: ValueError("\ud800 \x00"),
    "a long one": lambda: ValueError("e" * 3_000_000),
    "partial": lambda: PartialEffect({"rows": 1}),
    "unknown": lambda: EffectUnknown("?"),
}


@step(undo_retry=Retry(max_attempts=1))
def acc_says(kind: str) -> str:
    return kind


@acc_says.undo
def acc_unsays(result: str, kind: str) -> Any:
    if kind in RAISED:
        raise RAISED[kind]()
    return RETURNED[kind]()


@workflow
def acc_saying(kind: str) -> Flow[None]:
    yield from acc_says(kind)
    raise WorkflowError("end")


@pytest.mark.parametrize("kind", DONE)
def test_an_undo_that_returns_is_done(mesh: VirtualMesh, kind: str) -> None:
    run = mesh.start(acc_saying(kind))
    with pytest.raises(RunFailed) as failed:
        run.result()
    report = failed.value.rollback
    assert report is not None
    assert (report.outcome, [entry.step for entry in report.undone]) == ("clean", ["acc_says"])
    mesh.check(run)


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("kind", sorted(set(RETURNED) - set(DONE)))
def test_an_undo_that_returns_what_is_to_be_raised_or_awaited_is_not_done(mesh: VirtualMesh, kind: str) -> None:
    run = mesh.start(acc_saying(kind))
    mesh.advance(5)
    report = run.inspect().rollback
    assert report is not None
    assert (run.status(), run.explain().reason, report.outcome) == ("blocked", "undo_failed", None)
    (entry,) = report.failed
    assert entry.reason == "error"
    assert entry.error is not None
    assert entry.error.type == "builtins.TypeError"
    mesh.check(run)


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_an_undo_raises_it_has_failed_and_a_person_goes_on(mesh: VirtualMesh, kind: str) -> None:
    run = mesh.start(acc_saying(kind))
    mesh.advance(5)
    report = run.inspect().rollback
    assert report is not None
    assert (run.explain().reason, [entry.reason for entry in report.failed]) == ("undo_failed", ["error"])
    run.undo_skip("acc_says", **BY)
    mesh.advance(1)
    report = run.inspect().rollback
    assert report is not None
    assert (run.status(), report.outcome, [entry.by for entry in report.skipped]) == ("failed", "partial", ["ann"])
    mesh.check(run)


# -------------------------------------------------------------------------------------------- progress of an undo


def acc_in_parts() -> None:
    here = context()
    CALLS.append(here.progress)
    here.checkpoint((here.progress or 0) + 1)
    if here.attempt < 3:
        raise ValueError("again")


@step(undo_retry=Retry(max_attempts=3, jitter=0))
def acc_parts() -> int:
    context().checkpoint("of the step")
    return 1


@acc_parts.undo
def acc_take_parts_back(result: int) -> None:
    acc_in_parts()


@workflow
def acc_parted(registered: bool) -> Flow[None]:
    yield from (add_undo(acc_in_parts) if registered else acc_parts())
    raise WorkflowError("end")


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("registered", [False, True])
def test_an_undo_goes_on_from_its_own_checkpoint(mesh: VirtualMesh, registered: bool, restarts: bool) -> None:
    run = mesh.start(acc_parted(registered))
    mesh.drain()
    if restarts:
        mesh.restart()
    mesh.advance(500)
    assert CALLS == [None, 1, 2]
    assert run.status() == "failed"
    mesh.check(run)


# ------------------------------------------------------------------------------------------- delays of an undo


@step
def acc_later() -> int:
    return 1


@acc_later.undo
def acc_not_later(result: int) -> None:
    CALLS.append((context().attempt, context().key))
    if context().attempt == 1:
        raise RetryAfter(100, "busy")


@workflow
def acc_busy() -> Flow[None]:
    yield from acc_later()
    raise WorkflowError("end")


def test_an_undo_says_when_it_is_to_be_tried_again(mesh: VirtualMesh) -> None:
    run, began = mesh.start(acc_busy()), mesh.now
    with pytest.raises(RunFailed):
        run.result()
    key = f"{run.run_id}:1:undo"
    assert [(1, key), (2, key)] == CALLS
    assert (mesh.now - began).total_seconds() == 100


# --------------------------------------------------------------------------------- check, compensate, and doubt

ASKED: dict[str, Callable[[], Any]] = {
    "applied": lambda: Applied("there"),
    "not applied": NotApplied,
    "unknown": StillUnknown,
    "nonsense": lambda: 5,
}


@step(idempotent=False)
def acc_once(check: str, then: str) -> str:
    CALLS.append("once")
    raise TimeoutError("no answer")


@acc_once.check
def acc_look(check: str, then: str) -> Any:
    CALLS.append("check")
    if check == "raises":
        raise RuntimeError("cannot look")
    return ASKED[check]()


@acc_once.compensate
def acc_mend(failure: Failure, check: str, then: str) -> Any:
    CALLS.append("compensate")
    if then == "raises":
        raise RuntimeError("cannot mend")
    return Cleaned() if then == "cleaned" else then


@workflow
def acc_asking(check: str, then: str) -> Flow[str]:
    return (yield from acc_once(check, then))


def test_a_check_that_knows_settles_the_step(mesh: VirtualMesh) -> None:
    assert mesh.run(acc_asking("applied", "mended")) == "there"
    with pytest.raises(RunFailed, match="no answer"):
        mesh.run(acc_asking("not applied", "mended"))
    assert CALLS == ["once", "check", "once", "check"]


@pytest.mark.parametrize("check", ["unknown", "raises", "nonsense"])
def test_where_a_check_cannot_tell_the_compensate_is_asked(mesh: VirtualMesh, check: str) -> None:
    assert mesh.run(acc_asking(check, "mended")) == "mended"
    assert CALLS == ["once", "check", "compensate"]


def test_where_nobody_knows_a_step_that_is_not_idempotent_waits_for_a_person(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_asking("unknown", "raises"), key="doubt")
    mesh.advance(1_000)
    assert (run.status(), run.explain().reason) == ("blocked", "step_in_doubt")
    assert CALLS == ["once", "check", "compensate"]
    run.resolve_step("acc_once", Applied("seen"), **BY)
    assert run.result() == "seen"
    mesh.check(run)
