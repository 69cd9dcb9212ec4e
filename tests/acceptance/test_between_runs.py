"""What passes between runs in odd moments: in the very append that starts a child, or while the other one ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import (
    ChildFailed,
    Flow,
    GiveUp,
    RunFailed,
    Signal,
    WorkflowError,
    defer,
    race,
    sleep,
    spawn,
    step,
    workflow,
)
from squidmesh.engine import linking
from squidmesh.testing import VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
DONE: list[str] = []
GO = Signal("go")


@pytest.fixture(params=["sqlite", "postgres"])
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    DONE.clear()
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")
    with VirtualMesh(url) as mesh:
        yield mesh


@step
def btw_do(name: str) -> str:
    DONE.append(f"+{name}")
    return name


@btw_do.undo
def btw_undo(result: str, name: str) -> None:
    DONE.append(f"-{name}")


@step(pure=True)
def btw_never() -> bool:
    return False


class Late(WorkflowError):
    pass


@workflow
def btw_slow(name: str) -> Flow[str]:
    yield from btw_do(name)
    yield from sleep(100)
    yield from btw_do(f"{name}, late")
    return name


@workflow
def btw_races_what_is_there() -> Flow[int]:
    won, _ = yield from race(btw_slow("slow"), GO.wait())
    return won


def test_a_child_that_has_lost_its_race_before_it_began_is_cancelled(mesh: VirtualMesh) -> None:
    handle = mesh.start(btw_races_what_is_there())
    handle.signal(GO)
    mesh.drain()
    assert handle.status() == "completed"
    assert [run.status for run in mesh.list(parent=handle.run_id)] == ["cancelled"]
    mesh.advance(200)
    assert "+slow, late" not in DONE
    mesh.check(handle)


@workflow
def btw_races_and_fails() -> Flow[None]:
    yield from race(btw_slow("slow"), sleep(1))
    raise Late("at once")


def test_a_child_is_asked_to_cancel_once(mesh: VirtualMesh) -> None:
    handle = mesh.start(btw_races_and_fails())
    mesh.advance(2)
    assert handle.status() == "failed"
    assert [event.kind for event in handle.history()].count("ChildCancelRequested") == 1


@workflow
def btw_defers_and_fails() -> Flow[None]:
    yield from defer(btw_do("later"), until=btw_never(), every=60)
    raise Late("at once")


def test_what_was_deferred_in_the_breath_in_which_the_run_fails_never_runs(mesh: VirtualMesh) -> None:
    handle = mesh.start(btw_defers_and_fails())
    mesh.drain()
    assert handle.status() == "failed"
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "clean"
    assert [entry.reason for entry in report.skipped] == ["never_ran"]
    assert [run.status for run in mesh.list(parent=handle.run_id)] == ["cancelled"]
    mesh.check(handle)


# ------------------------------------------------------------------------------------------------ joined by key


@workflow
def btw_quick(name: str) -> Flow[str]:
    return (yield from btw_do(name))


@workflow
def btw_joins(name: str, key: str) -> Flow[str]:
    return (yield from btw_quick(name).options(key=key))


def test_a_run_that_is_pruned_while_another_one_joins_it_is_started_anew(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mesh.start(btw_quick("sea"), key="k")
    assert first.result() == "sea"
    mesh.advance(10)
    looked = linking.same_start

    def looked_and_pruned(*args: Any) -> bool:
        there = looked(*args)
        mesh.prune(older_than=1)
        return there

    monkeypatch.setattr(linking, "same_start", looked_and_pruned)
    handle = mesh.start(btw_joins("sea", "k"))
    assert handle.result() == "sea"
    assert DONE == ["+sea", "+sea"]
    (kid,) = mesh.list(parent=handle.run_id)
    assert kid.run_id != first.run_id
    mesh.check(handle)


@step
def btw_stuck(name: str) -> str:
    DONE.append(f"+{name}")
    return name


@btw_stuck.undo
def btw_unstuck(result: str, name: str) -> None:
    raise GiveUp("the desk is closed")


@workflow
def btw_halts(name: str) -> Flow[str]:
    return (yield from btw_stuck(name))


@workflow
def btw_joins_what_halts(name: str, key: str) -> Flow[str]:
    try:
        return (yield from btw_halts(name).options(key=key))
    except ChildFailed as failed:
        return failed.failure.type


def test_who_joins_a_run_while_it_is_rolled_back_hears_of_its_end(mesh: VirtualMesh) -> None:
    kid = mesh.start(btw_halts("sea"), key="k")
    kid.result()
    kid.rollback(**BY)
    mesh.drain()
    assert kid.status() == "blocked"
    handle = mesh.start(btw_joins_what_halts("sea", "k"))
    mesh.drain()
    assert handle.status() == "waiting"
    kid.undo_mark_done("btw_stuck", **BY)
    mesh.drain()
    assert kid.status() == "undone"
    assert handle.result() == "squidmesh.errors.RunUndone"


@workflow
def btw_one(other: str) -> Flow[str]:
    yield from sleep(10)
    return (yield from btw_two("one").options(key=other))


@workflow
def btw_two(other: str) -> Flow[str]:
    yield from sleep(20)
    return (yield from btw_one("two").options(key=other))


def test_two_runs_that_would_wait_for_each_other_fail_and_say_so(mesh: VirtualMesh) -> None:
    one, two = mesh.start(btw_one("two"), key="one"), mesh.start(btw_two("one"), key="two")
    mesh.advance(100)
    with pytest.raises(RunFailed, match="neither would end"):
        two.result()
    with pytest.raises(RunFailed, match="neither would end"):
        one.result()


def test_two_runs_that_join_each_other_at_the_same_instant_see_it_when_they_hear_of_it(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = linking._waits
    looks: list[str] = []

    def too_early(engine: Any, run_id: str, row: Any) -> RecursionError | None:
        looks.append(run_id)
        return None if looks.count(run_id) == 1 else looked(engine, run_id, row)

    monkeypatch.setattr(linking, "_waits", too_early)
    one, two = mesh.start(btw_one("two"), key="one"), mesh.start(btw_two("one"), key="two")
    mesh.advance(100)
    assert (one.status(), two.status()) == ("failed", "failed")


# ------------------------------------------------------------------------------------------- detached, deferred


@workflow
def btw_fails_late() -> Flow[None]:
    yield from sleep(10)
    raise Late("apart")


@workflow
def btw_leaves_a_failure_behind(seconds: float) -> Flow[str]:
    yield from spawn(btw_fails_late().options(detached=True))
    yield from sleep(seconds)
    return "done"


@pytest.mark.parametrize("seconds", [5.0, 20.0], ids=["after its end", "before its end"])
def test_the_failure_of_a_detached_child_is_its_own(mesh: VirtualMesh, seconds: float) -> None:
    handle = mesh.start(btw_leaves_a_failure_behind(seconds))
    mesh.advance(30)
    assert handle.result() == "done"
    assert [run.status for run in mesh.list(parent=handle.run_id)] == ["failed"]


@workflow
def btw_defers_and_waits() -> Flow[None]:
    yield from defer(btw_do("later"), until=btw_never(), every=60)
    yield from sleep(1000)


def test_terminating_a_run_terminates_what_it_has_deferred(mesh: VirtualMesh) -> None:
    handle = mesh.start(btw_defers_and_waits())
    mesh.drain()
    handle.terminate(**BY)
    mesh.drain()
    assert [run.status for run in mesh.list(parent=handle.run_id)] == ["terminated"]
