"""The walk itself: interrupted, cancelled and restarted at any point, nested, long; by the contract alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import (
    Flow,
    Retry,
    StepFailed,
    WorkflowError,
    add_undo,
    context,
    fan_out,
    gather,
    rollback,
    saga,
    sleep,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.testing import DrainLimit, VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
DONE: list[Any] = []


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    DONE.clear()
    with VirtualMesh() as mesh:
        yield mesh


@step(retry=Retry(max_attempts=2, jitter=0), undo_retry=Retry(max_attempts=3, jitter=0))
def acc_move(place: str) -> str:
    if context().attempt == 1 and place.endswith("!"):
        raise ValueError("again")
    DONE.append(f"+{place}")
    return place


@acc_move.undo
def acc_move_back(result: str, place: str) -> None:
    if context().attempt == 1 and place.endswith("!"):
        raise ValueError("again")
    DONE.append(f"-{place}")


@step
def acc_refuse() -> None:
    raise ValueError("no")


def acc_registered(place: str) -> None:
    DONE.append(f"-{place}")


@workflow
def acc_many() -> Flow[None]:
    yield from acc_move("a")
    yield from acc_move("b!")
    try:
        with saga("inner"):
            yield from gather(acc_move("c"), acc_move("d!"))
            yield from sleep(10)
            raise WorkflowError("inside")
    except WorkflowError:
        pass
    yield from sleep(5)
    yield from acc_move("e")
    raise WorkflowError("end")


def piece(mesh: VirtualMesh) -> None:
    """One piece of work, or half a second where nothing is due."""
    try:
        if not mesh.drain(1):
            mesh.advance(0.5)
    except DrainLimit:
        pass


def reports(run: Any) -> list[tuple[str, str | None, list[str]]]:
    return [(r.cause, r.outcome, [entry.position for entry in r.undone]) for r in run.inspect().rollbacks]


@pytest.mark.parametrize("after", range(0, 36, 3))
def test_cancelled_at_any_instant_all_that_completed_is_undone_once(mesh: VirtualMesh, after: int) -> None:
    run = mesh.start(acc_many())
    for _ in range(after):
        piece(mesh)
    if run.status() != "failed":
        run.cancel(**BY)
    mesh.advance(1_000)
    assert run.status() in ("cancelled", "failed")
    completed = [event.position for event in run.history() if isinstance(event, ev.StepCompleted)]
    assert sorted(at for _, _, undone in reports(run) for at in undone) == sorted(completed)
    assert {outcome for _, outcome, _ in reports(run)} <= {"clean"}
    mesh.check(run)


@pytest.mark.parametrize("lose", ["memory", "attempt", "outcome"])
@pytest.mark.parametrize("after", range(0, 36, 5))
def test_restarted_at_any_instant_the_report_is_the_same(mesh: VirtualMesh, after: int, lose: Any) -> None:
    run = mesh.start(acc_many())
    for _ in range(after):
        piece(mesh)
    mesh.restart(lose=lose)
    mesh.advance(2_000)
    assert reports(run) == [("scope", "clean", ["3.2", "3.1"]), ("failure", "clean", ["6", "2", "1"])]
    mesh.check(run)


# --------------------------------------------------------------------------------------------------- long rollbacks


@step(undo_retry=Retry(max_attempts=2, initial=5_000, maximum=5_000, jitter=0))
def acc_slow() -> int:
    return 1


@acc_slow.undo
def acc_slow_back(result: int) -> None:
    if context().attempt == 1:
        raise ValueError("come back tomorrow")


@step(irreversible=True)
def acc_doubtful() -> None:
    raise TimeoutError("no answer")


@workflow
def acc_slow_end(then: str) -> Flow[None]:
    yield from acc_slow()
    if then == "doubt":
        yield from acc_doubtful()
    if then == "sleep":
        yield from sleep(100_000)
    raise WorkflowError("end")


@pytest.mark.parametrize("then", ["fail", "sleep"])
def test_a_rollback_may_take_longer_than_the_drain(mesh: VirtualMesh, then: str) -> None:
    run = mesh.start(acc_slow_end(then))
    mesh.drain()
    if then == "sleep":
        run.cancel(**BY)
    mesh.advance(4_000)  # past drain_timeout: nothing is due before the undo is tried again
    assert (run.status(), run.explain().reason) == ("undoing", "undo_retry_scheduled")
    mesh.advance(2_000)
    assert [outcome for _, outcome, _ in reports(run)] == ["clean"]
    mesh.check(run)


def test_a_cancelled_run_in_doubt_waits_for_its_person_as_long_as_it_takes(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_slow_end("doubt"))
    mesh.drain()
    run.cancel(**BY)
    mesh.advance(4_000)
    assert (run.status(), run.explain().reason) == ("blocked", "step_in_doubt")
    assert mesh.drain() == 0


# ------------------------------------------------------------------------------------------------------------ scopes


@workflow
async def acc_awaiting() -> str:
    await acc_move("a")
    scope = saga("scope")
    try:
        with scope:
            await acc_move("b")
            await acc_refuse()
    except StepFailed:
        report = await rollback(scope)
        assert report.outcome == "clean"
    await add_undo(acc_registered, "r")
    with saga("other"):
        await acc_move("c")
    raise WorkflowError("end")


def test_an_async_workflow_has_scopes_and_undos_like_any_other(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_awaiting())
    mesh.advance(1)
    assert DONE == ["+a", "+b", "-b", "+c", "-c", "-r", "-a"]
    mesh.check(run)


def acc_deeper(depth: int) -> Flow[None]:
    if not depth:
        raise WorkflowError("at the bottom")
    with saga(f"level {depth}"):
        yield from acc_move(str(depth))
        yield from acc_deeper(depth - 1)


@workflow
def acc_deep(depth: int) -> Flow[None]:
    yield from acc_deeper(depth)


def test_scopes_nest_as_deep_as_helpers_do(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_deep(60))
    mesh.advance(1)
    assert [f"+{n}" for n in range(60, 0, -1)] + [f"-{n}" for n in range(1, 61)] == DONE
    assert run.status() == "failed"
    mesh.check(run)


@workflow
def acc_looping(times: int) -> Flow[int]:
    failed = 0
    for number in range(times):
        try:
            with saga("turn"):
                yield from acc_move(str(number))
                if number % 2:
                    raise WorkflowError("odd")
        except WorkflowError:
            failed += 1
    return failed


def test_a_scope_in_a_loop_is_another_one_each_time(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_looping(100))
    assert run.result() == 50
    run.rollback(**BY)
    mesh.drain(5_000)
    assert run.status() == "undone"
    assert DONE[-50:] == [f"-{number}" for number in range(98, -1, -2)]
    mesh.check(run)


@step
def acc_each(number: int) -> int:
    if number == 77:
        raise ValueError("77")
    DONE.append(number)
    return number


@acc_each.undo
def acc_each_back(result: int, number: int) -> None:
    DONE.append(-number)


@workflow
def acc_wide() -> Flow[None]:
    yield from fan_out(acc_each, list(range(1, 151)))


def test_of_a_wide_fan_out_what_completed_is_undone_by_order_of_completion(mesh: VirtualMesh) -> None:
    run = mesh.start(acc_wide())
    mesh.advance(5)
    completed = [number for number in DONE if number > 0]
    assert [-number for number in DONE if number < 0] == completed[::-1]
    assert reports(run)[0][1] == "clean"
    mesh.check(run)
