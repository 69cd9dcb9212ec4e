"""samples/order_saga, run as its README says, and in a mesh whose workers die."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from samples.order_saga import main as sample
from squidmesh import RunFailed
from squidmesh.testing import VirtualMesh

SAMPLE = Path(__file__).parents[2] / "samples/order_saga/main.py"


def run(*arguments: str, folder: Path) -> list[str]:
    command = [sys.executable, "-W", "error", str(SAMPLE), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_an_order_that_gets_through_stands_whole(tmp_path: Path) -> None:
    assert run("o-1", "Lisbon", folder=tmp_path) == [
        "o-1 is on its way to Lisbon",
        "what stands outside:",
        "  o-1 charged: 42.00",
        "  o-1 collected: for Lisbon",
        "  o-1 reserved: lantern",
    ]


def test_an_order_that_fails_late_is_undone_newest_first_and_the_report_says_so(tmp_path: Path) -> None:
    assert run("o-1", "Atlantis", folder=tmp_path) == [
        "o-1 failed: no courier goes to Atlantis",
        "the rollback is clean:",
        "  charge_card    undone",
        "  reserve_item   undone",
        "what stands outside:",
        "  o-1 charged: 42.00",
        "  o-1 refunded: 42.00",
    ]


def test_what_cannot_be_undone_is_listed_and_the_rollback_is_not_called_clean(tmp_path: Path) -> None:
    said = run("o-7", "Atlantis", "--engrave", folder=tmp_path)
    assert said[:5] == [
        "o-7 failed: no courier goes to Atlantis",
        "the rollback is partial:",
        "  charge_card    undone",
        "  reserve_item   undone",
        "  engrave_item   irreversible  declared",
    ]
    assert ".undo_mark_done('3', actor=…, note=…)" in said[5]
    assert said[-3:] == ["  o-7 charged: 42.00", "  o-7 engraved: lantern", "  o-7 refunded: 42.00"]


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMesh]:
    monkeypatch.chdir(tmp_path)
    with VirtualMesh() as mesh:
        yield mesh


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
@pytest.mark.parametrize("deaths", [1, 3])
def test_however_often_its_worker_dies_on_the_way_it_ends_the_same(mesh: VirtualMesh, deaths: int, lose: str) -> None:
    handle = mesh.start(sample.send_order("o-1", "lantern", 4_200, "Atlantis", False))
    for _ in range(deaths):
        mesh.restart(lose=lose)
    with pytest.raises(RunFailed, match="no courier") as failed:
        handle.result()
    assert failed.value.rollback.outcome == "clean"
    assert [entry.step for entry in failed.value.rollback.undone] == ["charge_card", "reserve_item"]
    assert sorted(file.name for file in sample.OUTSIDE.iterdir()) == ["o-1 charged", "o-1 refunded"]
    mesh.check(handle)


def test_a_person_says_that_the_engraving_was_dealt_with_and_the_report_is_issued_again(mesh: VirtualMesh) -> None:
    handle = mesh.start(sample.send_order("o-1", "lantern", 4_200, "Atlantis", True))
    mesh.drain()
    mesh.advance(60)
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "partial"
    handle.undo_mark_done("engrave_item", actor="ada", note="polished away")
    mesh.drain()
    again = handle.inspect().rollback
    assert again is not None
    assert (again.outcome, again.revision, again.irreversible) == ("clean", 2, [])
    assert handle.status() == "failed"
