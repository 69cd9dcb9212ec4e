"""samples/reminder, run as its README says, and on a virtual clock."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from samples.reminder import main as sample
from squidmesh import InvalidPayload
from squidmesh.testing import VirtualMesh

SAMPLE = Path(__file__).parents[2] / "samples/reminder/main.py"
COMMAND = [sys.executable, "-W", "error", str(SAMPLE)]


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("command", "answer", "end"),
    [
        (["move", "--in", "0"], "moved\n", "It is time for the tea! (moved 1 times)\n"),
        (["drop"], "dropped\n", "It was dropped.\n"),
    ],
)
def test_a_reminder_is_moved_or_dropped_from_another_process(
    tmp_path: Path, command: list[str], answer: str, end: str
) -> None:
    with subprocess.Popen(
        [*COMMAND, "remind", "the tea", "--in", "3600"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as waiting:  # fmt: skip
        assert waiting.stdout is not None
        run_id = waiting.stdout.readline().split()[1]
        assert run(command[0], run_id, *command[1:], folder=tmp_path) == answer
        assert waiting.stdout.read() == end
    assert "is not possible" in run("drop", run_id, folder=tmp_path)


def test_a_reminder_comes_when_it_was_moved_to_the_last_time() -> None:
    with VirtualMesh() as mesh:
        began = mesh.now
        handle = mesh.start(sample.reminder("the tea", began + timedelta(minutes=5)))
        mesh.advance(timedelta(minutes=4))
        handle.signal(sample.MOVED, sample.Moved(at=began + timedelta(days=30)))
        mesh.advance(timedelta(days=2))
        mesh.restart()
        handle.signal(sample.MOVED, sample.Moved(at=began + timedelta(days=20)))
        handle.signal(sample.MOVED, sample.Moved(at=began + timedelta(days=10)))
        assert handle.result() == 3
        assert mesh.now == began + timedelta(days=10)


def test_one_that_is_moved_into_the_past_comes_at_once_and_a_time_that_is_none_is_refused() -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(sample.reminder("the tea", mesh.now + timedelta(minutes=5)))
        with pytest.raises(InvalidPayload, match="at"):
            handle.signal(sample.MOVED, {"at": "2030-01-01T00:00:00"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
        handle.signal(sample.MOVED, sample.Moved(at=mesh.now - timedelta(days=1)))
        now = mesh.now
        assert handle.result() == 1
        assert mesh.now == now
