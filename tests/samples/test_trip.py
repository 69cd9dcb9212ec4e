"""samples/trip, run as its README says, and in a mesh whose workers die."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from samples.trip import main as sample
from squidmesh.testing import VirtualMesh

SAMPLE = Path(__file__).parents[2] / "samples/trip/main.py"


def run(town: str, folder: Path) -> list[str]:
    command = [sys.executable, "-W", "error", str(SAMPLE), town]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_where_everything_is_to_be_had_nothing_is_undone(tmp_path: Path) -> None:
    assert run("Lisbon", tmp_path) == [
        "Ada has flight, hotel and car",
        "what is booked now: Ada, car Lisbon; Ada, flight Lisbon; Ada, hotel Lisbon",
    ]


def test_without_a_car_the_hotel_is_given_back_the_flight_stays_and_the_run_goes_another_way(tmp_path: Path) -> None:
    assert run("Venice", tmp_path) == [
        "Ada has flight and package, after book_hotel was undone",
        "rollback of the ground: clean",
        "  book_hotel is undone, which was 'Ada, hotel Venice'",
        "what is booked now: Ada, flight Venice; Ada, package Venice",
    ]


def test_without_another_way_the_whole_is_undone_and_the_hotel_not_a_second_time(tmp_path: Path) -> None:
    assert run("Atlantis", tmp_path) == [
        "Ada stays at home: no car and no package in Atlantis",
        "rollback of the ground: clean",
        "  book_hotel is undone, which was 'Ada, hotel Atlantis'",
        "rollback of the whole: clean",
        "  book_flight is undone, which was 'Ada, flight Atlantis'",
        "what is booked now: nothing",
    ]


@pytest.mark.parametrize("lose", ["memory", "attempt", "outcome"])
@pytest.mark.parametrize("deaths", [1, 3])
def test_however_often_its_worker_dies_on_the_way_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int, lose: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with VirtualMesh() as mesh:
        handle = mesh.start(sample.plan_trip("Ada", "Venice"))
        for _ in range(deaths):
            mesh.restart(lose=lose)
        assert handle.result() == "flight and package, after book_hotel was undone"
        (report,) = handle.inspect().rollbacks
        assert [entry.step for entry in report.undone] == ["book_hotel"]
        mesh.check(handle)
    assert sorted(file.name for file in sample.BOOKINGS.iterdir()) == ["Ada, flight Venice", "Ada, package Venice"]
