"""One command for many runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import DefinitionError, Handle
from squidmesh.testing import VirtualMesh
from tests.engine.shop import WHO, buys, did, opened, ships, started, waits


@pytest.fixture(autouse=True)
def _open(mesh: VirtualMesh) -> Iterator[None]:
    with opened(mesh):
        yield


def several(mesh: VirtualMesh, count: int) -> list[Handle[Any]]:
    handles = mesh.start_many([waits(n) for n in range(count)], attributes={"shop": "sofia"})
    mesh.drain()
    return handles


def counted(mesh: VirtualMesh, handles: list[Handle[Any]]) -> list[int]:
    return [len(handle.history()) + len(handle._arrived()) for handle in handles]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(mesh: VirtualMesh) -> None:
    handles, other = several(mesh, 3), started(mesh, waits(9))
    before = counted(mesh, [*handles, other])
    report = mesh.bulk("cancel", attributes={"shop": "sofia"})
    assert report.dry_run
    assert {run.run_id for run in report.done} == {handle.run_id for handle in handles}
    assert [run.outcome for run in report.runs] == ["would"] * 3
    assert str(report) == "cancel: would do for 3 runs, refused for 0"
    assert counted(mesh, [*handles, other]) == before


def test_what_a_filter_finds_is_told_and_the_rest_is_not(mesh: VirtualMesh) -> None:
    handles, other = several(mesh, 3), started(mesh, waits(9))
    report = mesh.bulk("cancel", attributes={"shop": "sofia"}, dry_run=False, **WHO)
    assert len(report.done) == 3
    mesh.drain()
    assert {handle.status() for handle in handles} == {"cancelled"}
    assert other.status() == "waiting"
    assert [(event.actor, event.note) for event in handles[0].history() if event.kind == "CancelRequested"] == [  # type: ignore[attr-defined]
        (WHO["actor"], WHO["note"])
    ]


def test_one_that_is_refused_does_not_keep_the_others(mesh: VirtualMesh) -> None:
    handles = several(mesh, 3)
    handles[1].hold(**WHO)
    mesh.drain()
    for dry_run in (True, False):
        report = mesh.bulk("release", workflow=waits, dry_run=dry_run, **WHO)
        assert [run.run_id for run in report.done] == [handles[1].run_id]
        assert all("release is not possible; allowed now: cancel" in str(run.why) for run in report.refused)
        assert len(report.refused) == 2


def test_page_by_page_it_goes_on_where_it_was(mesh: VirtualMesh) -> None:
    handles = several(mesh, 5)
    first = mesh.bulk("hold", workflow=waits, limit=2, dry_run=False, **WHO, key="stop")
    assert (len(first.runs), first.next) == (2, first.runs[-1].run_id)
    second = mesh.bulk("hold", workflow=waits, limit=3, after=first.next, dry_run=False, **WHO, key="stop")
    assert (len(second.runs), second.next) == (3, None)
    mesh.drain()
    assert {handle.status() for handle in handles} == {"paused"}
    before = counted(mesh, handles)
    assert len(mesh.bulk("hold", workflow=waits, dry_run=False, **WHO, key="stop").done) == 5
    assert counted(mesh, handles) == before


def test_runs_that_have_ended_are_run_again_once_a_key(mesh: VirtualMesh) -> None:
    old = [started(mesh, buys(n)) for n in range(3)]
    unsafe = started(mesh, ships(1))
    report = mesh.bulk("rerun", status="completed", dry_run=False, **WHO, key="again")
    assert [run.run_id for run in report.refused] == [unsafe.run_id]
    assert "repair.ship at 2" in str(report.refused[0].why)
    again = {run.run_id: run.result for run in report.done}
    assert set(again) == {handle.run_id for handle in old}
    did.clear()
    mesh.drain()
    assert sorted(did) == sorted(f"{what} {n}" for n in range(3) for what in ("reserve", "charge"))
    repeated = mesh.bulk("rerun", status="completed", dry_run=False, **WHO, key="again")
    assert {run.run_id: run.result for run in repeated.done if run.run_id in again} == again


def test_a_command_has_its_own_arguments(mesh: VirtualMesh) -> None:
    handles = several(mesh, 2)
    mesh.bulk("cancel", given={"undo": False}, workflow="repair.waits", dry_run=False, **WHO)
    mesh.drain()
    assert [handle.inspect().rollback for handle in handles] == [None, None]


def test_who_does_not_say_which_runs_or_who_decides_is_refused(mesh: VirtualMesh) -> None:
    with pytest.raises(ValueError, match="say which runs are meant"):
        mesh.bulk("cancel")
    with pytest.raises(ValueError, match="bulk: actor= says who decides this"):
        mesh.bulk("cancel", status="waiting", dry_run=False)
    with pytest.raises(DefinitionError, match="'explode' is no command; there are: approve, cancel"):
        mesh.bulk("explode", status="waiting")
