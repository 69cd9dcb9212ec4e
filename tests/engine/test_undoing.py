"""What ``rollback`` undoes of a run that has ended, and what it says where it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from squidmesh import IllegalState, NothingToUndo, RunFailed, RunUndone
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds
from tests.engine.shop import WHO, broken, buys, did, keeps, opened, reads, ships, started, waits


@pytest.fixture(autouse=True)
def _open(mesh: VirtualMesh) -> Iterator[None]:
    with opened(mesh):
        yield


def test_a_completed_run_is_rolled_back_newest_first_and_is_undone(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(1))
    report = handle.rollback(actor="ada", note="a duplicate")
    assert (report.id, report.cause, report.outcome) == (f"{handle.run_id}:rollback:1", "operator", None)
    assert [entry.step for entry in report.pending] == ["repair.charge", "repair.reserve"]
    assert handle.status() == "undoing"
    assert handle.explain().reason in ("undoing", "no_worker")
    mesh.drain()
    view = handle.inspect()
    assert (view.status, view.result, did[2:]) == ("undone", 1, ["refund 1", "release r-1"])
    assert view.rollback is not None
    assert (view.rollback.outcome, view.rollback.actor, view.rollback.note) == ("clean", "ada", "a duplicate")
    assert view.rollback.id == report.id
    with pytest.raises(RunUndone) as undone:
        handle.result()
    assert undone.value.rollback == view.rollback
    assert "was undone" in handle.explain().summary


def test_a_dry_run_says_what_a_rollback_would_meet_and_records_nothing(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships(1))
    before = handle.history()
    plan = handle.rollback(dry_run=True)
    assert [(entry.step, entry.state) for entry in plan.pending] == [
        ("repair.charge", "pending"),
        ("repair.ship", "pending"),
        ("repair.reserve", "pending"),
    ]
    assert (handle.history(), handle.status()) == (before, "completed")


def test_a_rollback_that_walks_is_given_back_and_no_second_one_begins(mesh: VirtualMesh) -> None:
    broken.add("refund")
    handle = started(mesh, buys(1))
    handle.rollback(**WHO)
    again = handle.rollback(actor="bob", note="me too")
    assert again.actor == "ada"
    mesh.drain()
    walks = handle.rollback(actor="bob", note="me too")
    assert (walks.outcome, walks.actor) == (None, "ada")
    assert handle.cancel(actor="bob") == walks
    assert kinds(handle).count("RollbackStarted") == 1


def test_a_run_that_goes_on_is_cancelled_not_rolled_back(mesh: VirtualMesh) -> None:
    handle = started(mesh, waits(1))
    with pytest.raises(IllegalState, match="allowed now: cancel, fail, hold, terminate") as refused:
        handle.rollback(**WHO)
    assert (refused.value.status, refused.value.command) == ("waiting", "rollback")
    assert handle.rollback(dry_run=True).pending[0].step == "repair.reserve"


def test_where_nothing_can_be_undone_the_error_says_why(mesh: VirtualMesh) -> None:
    pure = started(mesh, reads(1))
    with pytest.raises(NothingToUndo, match="pure steps, which only read"):
        pure.rollback(**WHO)
    handle = started(mesh, buys(1))
    handle.rollback(**WHO)
    mesh.drain()
    with pytest.raises(NothingToUndo, match="undone already, by rollback 1"):
        handle.rollback(**WHO)
    with pytest.raises(NothingToUndo, match="undone already"):
        handle.rollback(dry_run=True)
    kept = started(mesh, keeps(1))
    assert kept.status() == "failed"
    assert kept.explain().next_actions[-1].python == f'mesh.handle("{kept.run_id}").rollback(actor=…, note=…)'
    mesh.advance(3601)
    with pytest.raises(NothingToUndo, match=r"undo_retention of 3600 s passed at 2026-01-01 01:"):
        kept.rollback(**WHO)
    assert did == ["reserve 1", "charge 1", "refund 1", "release r-1", "reserve 1"]


def test_a_failed_run_that_kept_what_it_did_is_rolled_back_and_stays_failed(mesh: VirtualMesh) -> None:
    handle = started(mesh, keeps(1))
    handle.rollback(**WHO)
    mesh.drain()
    view = handle.inspect()
    assert view.rollback is not None
    assert (view.status, view.rollback.outcome, view.rollback.cause) == ("failed", "clean", "operator")
    with pytest.raises(RunFailed, match="sold out") as failed:
        handle.result()
    assert failed.value.rollback == view.rollback


def test_two_people_who_press_at_the_same_instant_make_one_rollback(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(1))
    press = threading.Barrier(2)

    def rolls_back(who: str) -> str:
        press.wait(30)
        return handle.rollback(actor=who, note="at once").id

    with ThreadPoolExecutor(2) as people:
        assert set(people.map(rolls_back, ("ada", "bob"))) == {f"{handle.run_id}:rollback:1"}
    mesh.drain()
    assert (handle.status(), did[2:]) == ("undone", ["refund 1", "release r-1"])
    assert len(handle.inspect().rollbacks) == 1


def test_an_unknown_policy_is_refused_by_name(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(1))
    with pytest.raises(ValueError, match="on_irreversible= is one of 'report', 'halt', 'refuse', not 'ignore'"):
        handle.rollback(on_irreversible="ignore", **WHO)


def test_a_refused_rollback_undoes_nothing_and_the_run_stays_what_it_was(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships(1))
    handle.rollback(on_irreversible="refuse", **WHO)
    mesh.drain()
    view = handle.inspect()
    assert view.rollback is not None
    assert (view.status, view.rollback.outcome) == ("completed", "refused")
    assert [entry.step for entry in view.rollback.irreversible] == ["repair.ship"]
    assert handle.result() == 1
    assert "refused" in handle.explain().summary
    handle.rollback(**WHO)
    mesh.drain()
    assert [report.outcome for report in handle.inspect().rollbacks] == ["refused", "partial"]
