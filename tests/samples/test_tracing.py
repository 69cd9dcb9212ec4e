"""samples/tracing, run as its README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "samples/tracing/main.py"


def run(*arguments: str, folder: Path) -> list[str]:
    command = [sys.executable, "-W", "error", str(SAMPLE), *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def names(lines: list[str]) -> list[str]:
    return [line.partition("|")[0].rstrip() for line in lines if "|" in line]


def test_an_order_that_fails_late_is_drawn_with_its_rollback(tmp_path: Path) -> None:
    lines = run(folder=tmp_path)
    assert lines[0] == "ValueError: no courier goes to Atlantis; the rollback is clean"
    drawn = names(lines)
    assert drawn[:4] == ["POST /orders", "  RunWorkflow:send_order", "    RunStep:reserve", "    RunStep:reserve"]
    assert drawn[4:11] == ["    RunStep:charge", *["      Attempt:charge", "        ask the bank"] * 3]
    assert drawn[11:14] == ["    Sleep", "    WaitForApproval:packing", "    RunStep:book_courier"]
    assert drawn[14:18] == ["    Rollback:send_order", "      Undo:charge", *["        UndoAttempt:charge"] * 2]
    page = (tmp_path / "trace.html").read_text()
    assert page.count("<text") == 2 * len(drawn)
    assert "Rollback:send_order" in page


def test_an_order_that_gets_through_has_no_rollback(tmp_path: Path) -> None:
    lines = run("Lisbon", folder=tmp_path)
    assert lines[0] == "o-1 to Lisbon"
    assert not any("Rollback" in name for name in names(lines))
