"""docs/cli.md has every command, as the code has it. `python -m tests.cli.test_documentation` writes its table anew."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from squidmesh.cli import squidmesh
from squidmesh.cli.catalogue import COMMANDS, SECTIONS
from squidmesh.cli.refusal import INTERRUPTED, NOT_FOUND, REFUSED, UNAVAILABLE, USAGE
from tests.cli.test_printed import parsed
from tests.worker.processes import SQUIDMESH

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
START, END = "<!-- commands: begin -->", "<!-- commands: end -->"


def table() -> str:
    """The table of all commands, each with an example."""
    lines = ["| | command | does | for example |", "|---|---|---|---|"]
    for section, entries in SECTIONS.items():
        for number, (name, entry) in enumerate(entries.items()):
            example = f"squidmesh {name} {entry.example}".strip()
            lines.append(f"| {section if number == 0 else ''} | `{name}` | {entry.told} | `{example}` |")
    return "\n".join(lines)


def test_the_table_of_commands_is_that_of_the_code() -> None:
    _, _, rest = DOCS.read_text().partition(START)
    assert rest.partition(END)[0].strip() == table()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_example_can_be_typed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "histories").mkdir()
    line = f"squidmesh {name} {COMMANDS[name].example}".strip()
    assert parsed(line).info_name == name


def test_the_exit_codes_are_told() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS.read_text(), re.MULTILINE)}
    assert told == {0, REFUSED, USAGE, NOT_FOUND, UNAVAILABLE, INTERRUPTED}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion_script(shell: str) -> None:
    said = CliRunner().invoke(squidmesh, ["completion", shell])
    assert said.exit_code == 0
    assert "_SQUIDMESH_COMPLETE" in said.output


def test_the_completion_script_is_taken_by_a_shell(tmp_path: Path) -> None:
    script = CliRunner().invoke(squidmesh, ["completion", "bash"]).output
    (tmp_path / "squidmesh").write_text(f'#!/bin/sh\nexec {shlex.join(SQUIDMESH)} "$@"\n')
    (tmp_path / "squidmesh").chmod(0o755)
    ask = (
        f"PATH={tmp_path}:$PATH\n{script}\nCOMP_WORDS=(squidmesh resol); COMP_CWORD=1; "
        '_squidmesh_completion squidmesh; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "resolve-step", done.stderr


if __name__ == "__main__":
    text = DOCS.read_text()
    before, _, rest = text.partition(START)
    DOCS.write_text(f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}")
