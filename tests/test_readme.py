"""What the README says works: its Python blocks run, its commands are the ones that are checked."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DEMO = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/squidmesh demo"
TEST = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_has_a_block_to_run() -> None:
    assert blocks("python")


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_each_python_block_runs_by_itself_in_an_empty_folder(number: int, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(blocks("python")[number])
    ran = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("command", [DEMO, TEST])
def test_each_command_of_the_readme_is_a_block_of_its_own(command: str) -> None:
    assert f"{command}\n" in blocks("sh")


@pytest.mark.parametrize("command", [DEMO, TEST])
def test_the_checks_run_the_commands_of_the_readme(command: str) -> None:
    assert f'_COMMAND="{command}"' in (ROOT / ".ci" / "run").read_text()
