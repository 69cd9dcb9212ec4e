"""A run that is run again, from its input."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from squidmesh import DefinitionError, IllegalState, KeyConflict, NotApplied, UnsafeRerun
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh
from tests.engine.shop import WHO, broken, buys, did, opened, ships, started, waits


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
    with pytest.raises(DefinitionError, match="from_position"):
        handle.rerun(from_position="2")


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
