"""defer: a call that waits, in a run of its own, until a condition holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from squidmesh import Deferred, DefinitionError, Flow, RunFailed, Signal, StepFailed, defer, saga, step, workflow
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
DONE: list[str] = []
ASKED: list[str] = []
VERIFIED: set[str] = set()
GO = Signal("go")


@pytest.fixture(params=["sqlite", "postgres"])
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    DONE.clear()
    ASKED.clear()
    VERIFIED.clear()
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")
    with VirtualMesh(url) as mesh:
        yield mesh


@step(pure=True)
def dfr_verified(customer: str) -> bool:
    ASKED.append(customer)
    return customer in VERIFIED


@step
def dfr_open_account(customer: str) -> str:
    DONE.append(f"+{customer}")
    return f"account of {customer}"


@dfr_open_account.undo
def close_account(account: str, customer: str) -> None:
    DONE.append(f"-{customer}")


@step
def dfr_greet(customer: str) -> None:
    DONE.append(f"hello {customer}")


@dfr_greet.undo
def apologise(result: None, customer: str) -> None:
    DONE.append(f"sorry {customer}")


@step
def dfr_refuse() -> None:
    raise ValueError("no")


@workflow
def dfr_onboard(customer: str) -> Flow[str]:
    yield from dfr_greet(customer)
    later = yield from defer(
        dfr_open_account(customer), until=dfr_verified(customer), every=timedelta(hours=1), deadline=timedelta(days=3)
    )
    assert isinstance(later, Deferred)
    return later.run_id


def test_the_workflow_completes_and_the_call_runs_once_the_condition_holds(mesh: VirtualMesh) -> None:
    handle = mesh.start(dfr_onboard("ada"))
    later = mesh.handle(handle.result())
    assert handle.status() == "completed"
    mesh.drain()
    assert ASKED == ["ada"]  # at once
    mesh.advance(timedelta(hours=3))
    assert len(ASKED) == 4
    assert later.status() == "waiting"
    VERIFIED.add("ada")
    mesh.advance(timedelta(hours=1))
    assert later.result() == "account of ada"
    assert DONE == ["hello ada", "+ada"]


def test_the_parent_shows_what_is_pending_and_then_the_late_result(mesh: VirtualMesh) -> None:
    handle = mesh.start(dfr_onboard("ada"))
    handle.result()
    ended_at = handle.inspect().ended_at
    (child,) = handle.inspect().children
    assert child.deferred
    assert child.outcome is None
    VERIFIED.add("ada")
    mesh.advance(timedelta(hours=1))
    (child,) = handle.inspect().children
    assert (child.outcome, child.result) == ("completed", "account of ada")
    assert handle.status() == "completed"
    assert handle.inspect().ended_at == ended_at
    assert [event.kind for event in handle.history()][-2:] == ["RunCompleted", "ChildEnded"]
    mesh.check(handle)


def test_a_rollback_of_the_parent_cancels_what_has_not_run(mesh: VirtualMesh) -> None:
    handle = mesh.start(dfr_onboard("ada"))
    later = mesh.handle(handle.result())
    handle.rollback(**BY)
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "clean"
    assert [(entry.step, entry.reason) for entry in report.skipped] == [("dfr_onboard:deferred", "never_ran")]
    assert [entry.step for entry in report.undone] == ["dfr_greet"]
    assert later.status() == "cancelled"
    VERIFIED.add("ada")
    mesh.advance(timedelta(days=2))
    assert DONE == ["hello ada", "sorry ada"]
    mesh.check(handle)
    mesh.check(later)


def test_a_rollback_of_the_parent_undoes_what_has_run_first(mesh: VirtualMesh) -> None:
    VERIFIED.add("ada")
    handle = mesh.start(dfr_onboard("ada"))
    later = mesh.handle(handle.result())
    assert later.result() == "account of ada"
    mesh.drain()
    handle.rollback(**BY)
    mesh.drain()
    assert handle.status() == "undone"
    assert later.status() == "undone"
    assert DONE == ["hello ada", "+ada", "-ada", "sorry ada"]
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "clean"
    mesh.check(handle)


def test_past_the_deadline_the_call_never_runs_and_the_parent_is_not_failed(mesh: VirtualMesh) -> None:
    handle = mesh.start(dfr_onboard("ada"))
    later = mesh.handle(handle.result())
    mesh.advance(timedelta(days=4))
    assert later.status() == "failed"
    with pytest.raises(RunFailed, match="DeadlineExceeded"):
        later.result()
    assert handle.status() == "completed"
    assert DONE == ["hello ada"]
    end = handle.history()[-1]
    assert isinstance(end, ev.ChildEnded)
    assert (end.outcome, end.effects) == ("failed", False)


@workflow
def dfr_defers_and_fails(customer: str) -> Flow[None]:
    yield from defer(dfr_open_account(customer), until=dfr_verified(customer), every=60)
    yield from GO.wait()
    yield from dfr_refuse()


def test_a_failure_of_the_workflow_reaches_what_it_deferred(mesh: VirtualMesh) -> None:
    first, second = mesh.start(dfr_defers_and_fails("ada")), mesh.start(dfr_defers_and_fails("bob"))
    VERIFIED.add("ada")
    mesh.advance(60)
    assert DONE == ["+ada"]
    for handle in (first, second):
        handle.signal(GO)
    mesh.drain()
    assert DONE == ["+ada", "-ada"]
    reports = [handle.inspect().rollback for handle in (first, second)]
    assert [report.outcome for report in reports if report is not None] == ["clean", "clean"]
    assert not any(run.status in ("waiting", "running") for run in mesh.list(limit=50))
    mesh.check(first)
    mesh.check(second)


@workflow
def dfr_welcome(customer: str) -> Flow[str]:
    account = yield from dfr_open_account(customer)
    yield from dfr_greet(customer)
    return account


@workflow
def dfr_defers_a_workflow(customer: str) -> Flow[str]:
    later = yield from defer(dfr_welcome(customer), until=dfr_verified(customer), every=60)
    return later.run_id


def test_a_workflow_can_be_deferred_too(mesh: VirtualMesh) -> None:
    VERIFIED.add("ada")
    handle = mesh.start(dfr_defers_a_workflow("ada"))
    assert mesh.handle(handle.result()).result() == "account of ada"
    mesh.drain()
    handle.rollback(**BY)
    mesh.drain()
    assert DONE == ["+ada", "hello ada", "sorry ada", "-ada"]


@workflow
def dfr_defers_in_a_scope(customer: str) -> Flow[str]:
    try:
        with saga("offer"):
            yield from defer(dfr_open_account(customer), until=dfr_verified(customer), every=60)
            yield from dfr_refuse()
    except StepFailed:
        return "withdrawn"
    return "made"


def test_a_scope_that_fails_takes_back_what_it_deferred(mesh: VirtualMesh) -> None:
    handle = mesh.start(dfr_defers_in_a_scope("ada"))
    assert handle.result() == "withdrawn"
    VERIFIED.add("ada")
    mesh.advance(600)
    assert DONE == []
    mesh.check(handle)


def test_a_restart_at_any_time_changes_nothing(mesh: VirtualMesh) -> None:
    handle = mesh.start(dfr_onboard("ada"))
    for _ in range(3):
        mesh.drain()
        mesh.restart()
        mesh.advance(timedelta(hours=1))
    VERIFIED.add("ada")
    mesh.restart()
    mesh.advance(timedelta(hours=1))
    assert DONE == ["hello ada", "+ada"]
    assert [event.kind for event in handle.history()].count("StepDeferred") == 1


@step
def dfr_not_pure(customer: str) -> bool:
    return True


@step(pure=True)
def dfr_gives_text(customer: str) -> str:
    return customer


@pytest.mark.parametrize("until", [dfr_not_pure("x"), dfr_gives_text("x"), dfr_welcome("x")])
def test_the_condition_is_a_pure_step_that_gives_a_bool(until: Any) -> None:
    with pytest.raises(DefinitionError, match="pure step"):
        defer(dfr_open_account("x"), until=until, every=60)


def test_what_is_deferred_is_a_call() -> None:
    with pytest.raises(DefinitionError, match="takes the call"):
        defer(dfr_open_account, until=dfr_verified("x"), every=60)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="above zero"):
        defer(dfr_open_account("x"), until=dfr_verified("x"), every=0)
