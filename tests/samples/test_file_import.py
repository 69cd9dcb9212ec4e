"""samples/file_import, run as its README says, and with a worker that dies in the middle of a file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from samples.file_import import main as sample
from squidmesh import RunFailed
from squidmesh.testing import VirtualMesh

SAMPLE = Path(__file__).parents[2] / "samples/file_import/main.py"


def run(*arguments: str, folder: Path) -> list[str]:
    command = [sys.executable, "-W", "error", str(SAMPLE), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_where_the_step_sticks_compensate_finishes_the_job_and_sets_the_bad_lines_aside(tmp_path: Path) -> None:
    assert run(folder=tmp_path) == [
        "46 readings are imported",
        "  set aside: line 17, could not convert string to float: 'warm'",
        "  set aside: line 41, could not convert string to float: ''",
        "attempts: failed, after line 10",
        "compensate: completed",
        "readings in readings.db: 46",
    ]


def test_with_too_many_bad_lines_it_cleans_up_and_the_step_fails_as_it_had_failed(tmp_path: Path) -> None:
    assert run("--tolerate", "1", folder=tmp_path) == [
        "the import failed: could not convert string to float: 'warm'",
        "attempts: failed, after line 10",
        "compensate: cleaned (2 bad lines)",
        "readings in readings.db: 0",
    ]


def test_a_file_without_a_bad_line_is_imported_by_the_step_alone(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("Varna,8.5\n" * 25)
    assert run("good.csv", folder=tmp_path) == [
        "25 readings are imported",
        "attempts: completed, after line 25",
        "readings in readings.db: 25",
    ]


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    with VirtualMesh() as mesh:
        yield mesh


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
@pytest.mark.parametrize("deaths", [1, 3])
def test_however_often_its_worker_dies_every_line_is_there_once(
    mesh: VirtualMesh, tmp_path: Path, deaths: int, lose: str
) -> None:
    database = str(tmp_path / "readings.db")
    handle = mesh.start(sample.import_file(str(SAMPLE.with_name("readings.csv")), database, 5))
    for _ in range(deaths):
        mesh.restart(lose=lose)
    imported = handle.result()
    assert (imported.readings, list(imported.set_aside)) == (46, [17, 41])
    with closing(sqlite3.connect(database)) as db:
        lines = [line for (line,) in db.execute("SELECT line FROM readings ORDER BY line")]
    assert lines == [line for line in range(1, 49) if line not in (17, 41)]
    mesh.check(handle)


def test_an_import_that_a_person_rolls_back_later_leaves_nothing(mesh: VirtualMesh, tmp_path: Path) -> None:
    database = str(tmp_path / "readings.db")
    handle = mesh.start(sample.import_file(str(SAMPLE.with_name("readings.csv")), database, 5))
    assert handle.result().readings == 46
    handle.rollback(actor="ada", note="the wrong file")
    mesh.drain()
    assert handle.status() == "undone"
    assert sample.count(database) == 0


def test_a_file_that_is_not_there_fails_the_run_and_nothing_is_written(mesh: VirtualMesh, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"nowhere\.csv"):
        mesh.run(sample.import_file(str(tmp_path / "nowhere.csv"), str(tmp_path / "readings.db"), 5))
    assert not (tmp_path / "readings.db").exists()
