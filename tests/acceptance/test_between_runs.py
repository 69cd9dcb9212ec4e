"""What passes between runs in odd moments: in the very append that starts a child, or while the other one ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import Flow, Signal, WorkflowError, defer, race, sleep, spawn, step, workflow
from squidmesh import events as ev
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
