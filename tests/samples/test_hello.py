"""samples/hello, run as its README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parents[2] / "samples/hello/main.py"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(SAMPLE), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_it_greets_and_keeps_the_run_in_a_file(tmp_path: Path) -> None:
    done = run(folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello, world!\n", "")
    assert (tmp_path / "squidmesh.db").exists()


def test_it_greets_by_name_and_can_be_repeated(tmp_path: Path) -> None:
    said = [run("Captain", "Nemo", folder=tmp_path).stdout for _ in range(2)]
    assert said == ["Hello, Captain Nemo!\n"] * 2


def test_it_is_fifteen_lines() -> None:
    lines = [line for line in SAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 15
