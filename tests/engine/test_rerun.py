"""A run that is run again: from its input, or from a position."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from squidmesh import IllegalState, KeyConflict, NoSuchEntry, NotApplied, NothingToUndo, UnsafeRerun
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh
from tests.engine.shop import WHO, broken, buys, did, keeps, opened, ships, spawns, started, waits


@pytest.fixture(autouse=True)
def _open(mesh: VirtualMesh) -> Iterator[None]:
    with opened(mesh):
        yield


def test_a_rerun_is_a_new_run_with_the_same_input(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(4), attributes={"shop": "sofia"})
    again = handle.rerun(actor="ada", note="once more", key="again")
    assert handle.rerun(key="again").run_id == again.run_id != handle.run_id
    assert again.result() == 4
    first = again.history()[0]
    assert isinstance(first, ev.RunStarted)
    assert (first.rerun_of, first.actor, first.note, first.input) == (
        handle.run_id, "ada", "once more", {"n": 4, "fails": False}
    )  # fmt: skip
    assert again.inspect().attributes == {"shop": "sofia"}
    with pytest.raises(KeyConflict, match="no rerun of run"):
        again.rerun(key="again")


def test_a_run_that_has_not_ended_is_not_run_again(mesh: VirtualMesh) -> None:
    with pytest.raises(IllegalState, match="rerun is not possible; allowed now: cancel"):
        started(mesh, waits(1)).rerun()


def test_an_irreversible_step_is_not_run_again_unawares(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships(1))
    with pytest.raises(UnsafeRerun, match=r"repair\.ship at 2") as unsafe:
        handle.rerun()
    assert unsafe.value.steps == ("repair.ship at 2",)
    with pytest.raises(UnsafeRerun):
        handle.rerun(allow_irreversible=1, **WHO)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    again = handle.rerun(allow_irreversible=True, **WHO)
    assert again.result() == 1
    assert did.count("ship 1") == 2


def test_an_irreversible_step_in_doubt_is_not_run_again_unawares(mesh: VirtualMesh) -> None:
    broken.add("ship")
    handle = started(mesh, ships(1))
    handle.terminate(**WHO)
    mesh.drain()
    with pytest.raises(UnsafeRerun, match=r"repair\.ship at 2"):
        handle.rerun()


def test_an_irreversible_step_that_did_not_happen_is_no_obstacle(mesh: VirtualMesh) -> None:
    broken.add("ship")
    handle = started(mesh, ships(1))
    handle.resolve_step("2", NotApplied(), **WHO)
    mesh.drain()
    broken.clear()
    assert handle.rerun().result() == 1


# ----------------------------------------------------------------------------------------- from a position


def test_what_precedes_the_position_keeps_its_results_and_the_rest_runs_anew(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(4))
    did.clear()
    again = handle.rerun(from_position="2", actor="ada", note="charged too little", key="again")
    assert handle.rerun(from_position="2", key="again").run_id == again.run_id
    assert again.result() == 4
    assert did == ["charge 4"]
    first = again.history()[0]
    assert isinstance(first, ev.RunStarted)
    assert (first.rerun_of, first.from_position, first.actor, first.note) == (
        handle.run_id, "2", "ada", "charged too little"
    )  # fmt: skip
    assert [step.name for step in again.inspect().steps] == ["repair.reserve", "repair.charge"]
    for other in (None, "1"):
        with pytest.raises(KeyConflict, match="is a rerun of it from position 2"):
            handle.rerun(from_position=other, key="again")


def test_each_undoes_what_it_did(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(4))
    again = handle.rerun(from_position="2")
    mesh.drain()
    did.clear()
    again.rollback(**WHO)
    mesh.drain()
    assert (did, again.status()) == (["refund 4"], "undone")
    with pytest.raises(NothingToUndo):
        again.rollback(**WHO)
    did.clear()
    handle.rollback(**WHO)
    mesh.drain()
    assert did == ["refund 4", "release r-4"]
    with pytest.raises(IllegalState, match=f"undone in run {handle.run_id} .repair.reserve at 1."):
        again.rerun(from_position="2")


def test_a_fork_with_nothing_of_its_own_says_whose_the_rest_is(mesh: VirtualMesh) -> None:
    handle = started(mesh, keeps(1))
    again = handle.rerun(from_position="1")
    mesh.drain()
    assert again.status() == "failed"
    broken.add("ship")
    ended = started(mesh, ships(1))
    ended.cancel(undo=False)
    mesh.drain()
    ended.resolve_step("2", NotApplied(), **WHO)
    mesh.drain()
    fork = ended.rerun(from_position="2")
    mesh.drain()
    fork.resolve_step("2", NotApplied(), **WHO)
    mesh.drain()
    with pytest.raises(NothingToUndo, match=f"run {ended.run_id}"):
        fork.rollback(**WHO)


def test_an_unknown_position_is_told_what_there_is(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(1))
    with pytest.raises(
        NoSuchEntry, match=r"position '7' for this; there are: repair.reserve at 1, repair.charge at 2"
    ) as no:
        handle.rerun(from_position="7")
    assert no.value.candidates == ("repair.reserve at 1", "repair.charge at 2")
    with pytest.raises(NoSuchEntry):
        handle.rerun(from_position="repair.charge")


def test_what_was_undone_is_not_kept(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(1, fails=True))
    with pytest.raises(
        IllegalState, match=r"was undone .repair.reserve at 1.: name the first of these positions"
    ) as no:
        handle.rerun(from_position="2")
    assert no.value.allowed == ("rerun",)
    did.clear()
    again = handle.rerun(from_position="1")
    mesh.drain()
    assert did == ["reserve 1", "charge 1", "refund 1", "release r-1"]
    assert again.status() == "failed"


def test_only_irreversible_steps_that_would_run_again_are_in_the_way(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships(1))
    did.clear()
    again = handle.rerun(from_position="3")
    assert again.result() == 1
    assert did == ["charge 1"]
    for run in (handle, again):
        with pytest.raises(UnsafeRerun, match=r"repair\.ship at 2"):
            run.rerun(from_position="2")
    assert handle.rerun(from_position="2", allow_irreversible=True, **WHO).result() == 1


def test_a_fork_survives_a_restart_and_is_told_once(mesh: VirtualMesh) -> None:
    heard: list[str] = []
    handle = started(mesh, waits(1))
    handle.terminate(**WHO)
    mesh.drain()
    mesh.connect_engine().observers.append(lambda run, _, first, events: heard.extend(e.kind for e in events))
    again = handle.rerun(from_position="2")
    mesh.drain()
    assert again.status() == "waiting"
    assert heard == ["RunStarted", "TimerSet"]
    mesh.restart()
    mesh.advance(3600)
    assert again.status() == "completed"
    assert did == ["reserve 1"]


def test_a_spawned_step_that_had_not_come_out_is_tried_anew(mesh: VirtualMesh) -> None:
    broken.add("slow")
    handle = mesh.start(spawns(1))
    mesh.drain()
    handle.terminate(**WHO)
    mesh.drain()
    broken.clear()
    did.clear()
    again = handle.rerun(from_position="3")
    mesh.drain()
    mesh.advance(7200)
    assert again.result() == 1
    assert did == ["slow 1"]
    assert {attempt.number for step in again.inspect().steps for attempt in step.attempts} == {1}
