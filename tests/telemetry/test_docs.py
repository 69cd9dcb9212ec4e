"""What docs/tracing.md says works: its Python blocks run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TRACING = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TRACING, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_python_block_about_tracing_runs_by_itself(number: int, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(BLOCKS[number])
    ran = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
