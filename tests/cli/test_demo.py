"""``squidmesh demo``: real processes, a real kill, and everything it says can be checked afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from squidmesh import Handle, Mesh
from squidmesh.cli.demo import processes
from squidmesh.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    CheckpointSaved,
    StepCompleted,
    UndoCompleted,
    UndoStarted,
)
from tests.worker.processes import SQUIDMESH, Process, gone, process

LOOK_EVERY = 0.02  # seconds between two looks at a condition
ORDERS = ["o-1", "o-2", "o-3", "o-4", "o-5"]
LOST = "o-6"
ENDINGS = [*((key, "completed") for key in ORDERS), (LOST, "failed")]
WORKERS = re.compile(r"workers A \(pid (\d+)\) and B \(pid (\d+)\) are up")


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that is over: what it said, its folder, and how long it took in seconds."""

    lines: list[str]
    folder: Path
    took: float

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One run of it, where the environment names a database and a broker that are not to be touched."""
    folder = tmp_path_factory.mktemp("demo")
    named = {
        "SQUIDMESH_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "SQUIDMESH_BROKER_URL": "redis://127.0.0.1:1",
        "SQUIDMESH_LEASE": "3600",
    }
    began = time.monotonic()
    with process(*SQUIDMESH, "demo", folder=folder, TMPDIR=str(folder), **named) as running:
        code = running.ended(60)
        took = time.monotonic() - began
    assert code == 0, "\n".join(running.lines)
    return Demo(running.lines, Path(running.lines[1]), took)


@pytest.fixture
def mesh(demo: Demo) -> Iterator[Mesh]:
    with Mesh(f"sqlite:///{demo.folder / 'squidmesh.db'}") as mesh:
        yield mesh


def test_it_takes_less_than_fifteen_seconds(demo: Demo) -> None:
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # how many want each processor
    assert demo.took < 15 * busy


def test_every_order_but_one_is_completed_although_a_worker_was_killed_in_the_middle_of_a_step(
    demo: Demo, mesh: Mesh
) -> None:
    killed = re.search(r"kill -9 (\d+): worker ([AB]) dies in the middle of packing (o-\d)", demo.text)
    assert killed is not None, demo.text
    assert killed[1] in WORKERS.search(demo.text).groups()  # type: ignore[union-attr]
    runs = mesh.list()
    assert [(run.key, run.status) for run in reversed(runs.items)] == ENDINGS

    found = mesh.find(killed[3])
    assert found is not None
    history = found.history()
    (lost,) = (event for event in history if isinstance(event, AttemptLost))
    again = next(event for event in history[lost.seq :] if isinstance(event, AttemptStarted))
    assert again.position == lost.position
    assert again.worker != lost.worker
    saved = [event.value for event in history if isinstance(event, CheckpointSaved)]
    assert [len(value) for value in saved] == list(range(1, len(saved) + 1)), "an item was packed twice"


def test_one_order_meets_the_busy_bank_and_is_charged_again(demo: Demo, mesh: Mesh) -> None:
    failed = [
        (run.key, event)
        for run in mesh.list()
        for event in mesh.handle(run.run_id).history()
        if isinstance(event, AttemptFailed) and event.retry_at is not None
    ]
    ((key, event),) = failed
    assert "503" in event.failure.message
    assert f"{key}: charge failed (HTTP 503), again in 0.5 s" in demo.text
    completed = mesh.list(status="completed")
    receipts = [str(mesh.handle(run.run_id).result()).rpartition(" ")[2] for run in completed]
    assert sorted(receipts) == [f"receipt-{number:03}" for number in range(1, 6)], "charged twice"


def test_the_order_that_fails_late_is_undone_newest_first_and_the_report_is_shown(demo: Demo, mesh: Mesh) -> None:
    found = mesh.find(LOST)
    assert found is not None
    report = found.inspect().rollback
    assert report is not None
    assert (report.cause, report.outcome) == ("failure", "clean")
    done = [event.position for event in found.history() if isinstance(event, StepCompleted)]
    undone = [event.entry for event in found.history() if isinstance(event, UndoCompleted)]
    assert undone == done[::-1]
    told = [line.partition("  o-6: ")[2] for line in demo.lines if "  o-6: " in line]
    assert told[:2] == [
        "ship failed for good (no courier goes to Atlantis)",
        "what was done for it is undone now, newest first",
    ]
    settled = [line for line in told if line.endswith("is undone")]
    assert settled == ["pack is undone", "charge is undone", "reserve is undone"]
    assert told[-2:] == ["the rollback is clean", "failed"]

    _, _, shown = demo.text.partition(f"\nRollback of {LOST}: clean ")
    rows = re.findall(r"^(\w+) +undone +(\d+) +\d+\.\d\d s  ", shown.partition("\nHistory of ")[0], re.MULTILINE)
    assert rows == [(entry.step, str(entry.attempts)) for entry in report.undone]


def test_the_refund_meets_the_busy_bank_too_and_is_asked_for_again(demo: Demo, mesh: Mesh) -> None:
    found = mesh.find(LOST)
    assert found is not None
    tries = [event.number for event in found.history() if isinstance(event, UndoStarted) and event.entry == "2"]
    assert tries == [1, 2]
    assert "o-6: the undo of charge failed (HTTP 503), again in 0.5 s" in demo.text


def test_the_end_shows_every_run_and_the_history_of_the_killed_one(demo: Demo, mesh: Mesh) -> None:
    _, _, end = demo.text.partition("\nRuns ")
    table, _, rest = end.partition("\nRollback of ")
    assert [tuple(line.split()[:2]) for line in table.splitlines()[2:] if line.strip()] == ENDINGS
    _, _, rest = rest.partition("\nHistory of ")
    key, _, shown = rest.partition(", which lost its worker ")
    found = mesh.find(key)
    assert found is not None
    assert found.run_id in shown
    kinds = re.findall(r"^ *(\d+) +\d+\.\d\d s  (\w+)", shown, re.MULTILINE)
    assert kinds == [(str(event.seq), event.kind) for event in found.history()]
    assert {"AttemptLost", "RunCompleted"} <= {kind for _, kind in kinds}


def test_no_process_of_it_is_left(demo: Demo) -> None:
    assert [pid for pid in pids(demo.lines) if not gone(pid)] == []


def test_what_it_says_to_type_next_works(demo: Demo, tmp_path: Path) -> None:
    _, _, advice = demo.text.partition("What to type next ")
    change, read, start_and_kill, serve, look, report = re.findall(r"^  (\S.*)$", advice, re.MULTILINE)
    assert change == f"cd {demo.folder}"
    start, _, kill = start_and_kill.partition(" & ")
    assert kill == "sleep 3; kill -9 $!"
    copy = shutil.copytree(demo.folder, tmp_path / "copy")

    assert "@workflow" in typed(read, copy)
    with Mesh(f"sqlite:///{copy / 'squidmesh.db'}") as mesh:
        with process("sh", "-c", f"exec {start}", folder=copy) as killed:
            order = started_and_being_packed(mesh)
            killed.send(signal.SIGKILL)
            killed.ended()
        assert order.status() == "running"
        with process("sh", "-c", f"exec {serve}", folder=copy) as worker:
            worker.ready_pids()
            assert order.result(timeout=60) == "6 items sent, receipt-001"
            worker.send(signal.SIGINT)
            assert worker.ended() == 0
        assert any(isinstance(event, AttemptLost) for event in order.history())
    assert typed(look, copy).count("  completed  ") == len(ORDERS) + 1
    shown = typed(report, copy)
    assert "Rollback  clean" in shown
    assert shown.count("completed, undone") == 3


def started_and_being_packed(mesh: Mesh) -> Handle[Any]:
    """Wait for the one run without a key, until it has packed something."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for run in mesh.list():
            handle = mesh.handle(run.run_id)
            if run.key is None and any(isinstance(event, CheckpointSaved) for event in handle.history()):
                return handle
        time.sleep(LOOK_EVERY)
    raise AssertionError("no order was started")


def typed(line: str, folder: Path) -> str:
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_it_is_ended_its_workers_end_with_it(signum: signal.Signals, tmp_path: Path) -> None:
    with process(*SQUIDMESH, "demo", folder=tmp_path, TMPDIR=str(tmp_path)) as running:
        running.wait_for("orders are started")
        running.send(signum)
        code = running.ended()
        wait_until_gone(running)
    assert code == (-signum if signum == signal.SIGKILL else 128 + signum)
    assert not any("Traceback" in line for line in running.lines), "\n".join(running.lines)


def test_a_worker_that_does_not_come_up_is_told_in_a_line(tmp_path: Path) -> None:
    broken = "import sys; from squidmesh.cli.demo import processes as p; p.COMMAND = ('false',); "
    command = (sys.executable, "-c", f"{broken}from squidmesh.cli import main; main()", "demo")
    with process(*command, folder=tmp_path, TMPDIR=str(tmp_path)) as running:
        assert running.ended() == 1
    assert "did not come up" in running.lines[-1]


def test_on_a_narrow_terminal_the_orders_are_drawn_and_no_line_is_broken_up(tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 64, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        [*SQUIDMESH, "demo"],
        cwd=tmp_path,
        env=environ | {"TERM": "xterm-256color", "TMPDIR": str(tmp_path)},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as running:
        os.close(terminal)
        said = read_all(screen)
        assert running.wait(60) == 0, said
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said).replace("\r\n", "\n").replace("\r", "\n")
    assert re.search(r"^o-1 +✓ [AB] +✓ [AB].* +▰+▱* ", drawn, re.MULTILINE)
    assert re.search(r"^o-6 +✓ .*↶ undone .*undoing", drawn, re.MULTILINE)
    assert re.search(r"workers  .* killed", drawn)
    until_commands, _, _ = drawn.partition("What to type next")
    assert max(len(line) for line in until_commands.splitlines()[2:]) <= 64


def read_all(screen: int) -> str:
    """What a process writes to its terminal until it closes it."""
    said = b""
    try:
        while more := os.read(screen, 65_536):
            said += more
    except OSError:  # closed on the other side
        pass
    os.close(screen)
    return said.decode()


def pids(lines: list[str]) -> list[int]:
    found = WORKERS.search("\n".join(lines))
    assert found is not None, lines
    return [int(pid) for pid in found.groups()]


def wait_until_gone(running: Process) -> None:
    until = time.monotonic() + 30
    while left := [pid for pid in pids(running.lines) if not gone(pid)]:
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(LOOK_EVERY)


def test_a_worker_of_a_demo_that_is_gone_does_not_stay() -> None:
    orphan = os.environ | {processes.PARENT_VARIABLE: "1"}  # not the process that starts it here
    ended = subprocess.run(processes.COMMAND, env=orphan, timeout=60, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, b"")
