"""samples/fan_out over a folder of a few thousand files, some of which are not text."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from samples.fan_out import main as sample
from squidmesh import Mesh, RunFailed
from squidmesh.events import AttemptLost, AttemptStarted, Event, StepCompleted, StepFailed, StepScheduled
from squidmesh.testing import VirtualMesh
from tests.worker.processes import process

COMMAND = (sys.executable, str(Path(__file__).parents[2] / "samples/fan_out/main.py"))
SOON = {"SQUIDMESH_LEASE": "2", "SQUIDMESH_SWEEP": "0.2"}


def fill(folder: Path, files: int) -> Path:
    """So many files of 0, 1, 2 … 9 lines, in folders of a hundred; two more are not UTF-8."""
    for number in range(files):
        file = folder / f"part{number // 100}" / f"module{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("pass\n" * (number % 10))
    for name in ("latin.py", "part0/bytes.py"):
        (folder / name).write_bytes(b"# caf\xe9\n")
    (folder / "notes.txt").write_text("not Python\n")
    return folder


def test_a_few_thousand_files_are_counted_and_the_progress_is_told(tmp_path: Path) -> None:
    folder = fill(tmp_path / "source", 2_400)
    with process(*COMMAND, str(folder), folder=tmp_path) as program:
        assert program.ended(100) == 0, "\n".join(program.lines)
        told = [line for line in program.lines if " of " in line]
        done = [int(re.match(r" *(\d+) of 2402 files", line)[1]) for line in told]  # type: ignore[index]
        assert done == sorted(set(done))
        assert done[-1] == 2402
        assert len(done) > 1
        assert program.lines[len(told)].startswith("2402 files have 10800 lines, counted in ")
        assert program.lines[len(told) + 1 :] == [
            "  not counted: latin.py (UnicodeDecodeError)",
            "  not counted: part0/bytes.py (UnicodeDecodeError)",
        ]


def test_killed_in_the_middle_and_started_again_with_its_key_it_goes_on(tmp_path: Path) -> None:
    folder = fill(tmp_path / "source", 2_000)
    command = (*COMMAND, str(folder), "--key", "source")
    with process(*command, folder=tmp_path, **SOON) as killed:
        killed.wait_for(" of 2002 files")
    with process(*command, folder=tmp_path, **SOON) as again:
        assert again.ended(100) == 0, "\n".join(again.lines)
        assert again.wait_for("2002 files have 9000 lines")
    with Mesh(f"sqlite:///{tmp_path / 'squidmesh.db'}") as mesh:
        (run,) = mesh.list()
        history = mesh.handle(run.run_id).history()
    settled = [event.position for event in history if isinstance(event, StepCompleted | StepFailed)]
    started = [event for event in history if isinstance(event, AttemptStarted)]
    assert len(settled) == len(set(settled)) == 1 + 2002
    assert len({event.worker for event in started}) == 2


def test_interrupted_it_says_how_to_go_on_and_goes_on_at_once(tmp_path: Path) -> None:
    command = (*COMMAND, str(fill(tmp_path / "source", 2_000)), "--key", "source")
    with process(*command, folder=tmp_path) as interrupted:
        interrupted.wait_for(" of 2002 files")
        interrupted.send(signal.SIGINT)
        assert interrupted.ended() == 130
    assert interrupted.lines[-1] == "interrupted; started again with the same --key it goes on"
    with process(*command, folder=tmp_path) as again:
        assert again.ended(100) == 0, "\n".join(again.lines)
    with Mesh(f"sqlite:///{tmp_path / 'squidmesh.db'}") as mesh:
        (run,) = mesh.list()
        history = mesh.handle(run.run_id).history()
    assert run.status == "completed"
    assert not any(isinstance(event, AttemptLost) for event in history), "it had to wait for the lease"


def test_never_more_than_the_limit_are_in_flight(tmp_path: Path) -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(sample.count_folder(str(fill(tmp_path, 300))))
        assert handle.result().lines == 1350
        history = handle.history()
    assert max(in_flight(history)) == sample.LIMIT
    assert in_flight(history)[-1] == 0


def in_flight(history: list[Event]) -> list[int]:
    """How many steps were in flight after each event."""
    counts = [0]
    for event in history:
        begun = isinstance(event, StepScheduled)
        ended = isinstance(event, StepCompleted | StepFailed)
        counts.append(counts[-1] + begun - ended)
    return counts


def test_the_progress_is_published_after_each_batch(tmp_path: Path) -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(sample.count_folder(str(fill(tmp_path, 300))))
        handle.result()
        told = [event.value for event in handle.history() if event.kind == "ValuePublished"]  # type: ignore[attr-defined]
    assert [(value["done"], value["files"]) for value in told] == [(250, 302), (302, 302)]


def test_a_folder_that_is_none_fails_the_run_and_says_so(tmp_path: Path) -> None:
    with VirtualMesh() as mesh, pytest.raises(RunFailed, match="is not a folder"):
        mesh.run(sample.count_folder(str(tmp_path / "nowhere")))
    with process(*COMMAND, str(tmp_path / "nowhere"), folder=tmp_path) as program:
        assert program.ended() == 1
    assert "is not a folder" in program.lines[-1]
    assert not any("Traceback" in line for line in program.lines)
