"""The public interface as a user's type checker sees it: what is right passes, what is wrong is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [f"tests/typing/{name}" for name in ("typing_ok.py", "typing_wrong.py")]

CHECKERS = [
    pytest.param([sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--no-error-summary"], id="mypy"),
    pytest.param([sys.executable, "-m", "pyright"], id="pyright"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_right_uses_pass_and_wrong_uses_are_refused(checker: list[str]) -> None:
    ran = subprocess.run([*checker, *FILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_checkers_would_find_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "unmarked.py"
    text = (ROOT / "tests/typing/typing_wrong.py").read_text(encoding="utf-8")
    wrong.write_text(text.replace("# type: ignore", "# ignored"), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(wrong)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    marked = sum("# type: ignore" in line for line in text.splitlines())
    assert len({line.split(":")[1] for line in ran.stdout.splitlines() if ": error:" in line}) == marked
