"""Every command line that explanations, reports and errors print can be typed as it is printed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import squidmesh
from squidmesh import Mesh
from squidmesh.cli import squidmesh as command
from squidmesh.cli.catalogue import COMMANDS
from squidmesh.core.report import Action
from tests.cli.conftest import Place

SDK = Path(squidmesh.__file__).parent


def parsed(line: str) -> click.Context:
    """Read a command line as the command itself does, without running it; a placeholder stands for a value."""
    program, *arguments = shlex.split(line.replace("…", "1"))
    assert program == "squidmesh"
    root = command.make_context("squidmesh", arguments, resilient_parsing=False)
    name, found, rest = command.resolve_command(root, [*root._protected_args, *root.args])
    assert found is not None
    return found.make_context(name, rest, parent=root)


def actions(place: Place) -> Iterator[Action]:
    with Mesh(place.url) as mesh:
        for run_id in place.ids.values():
            run = mesh.handle(run_id)
            yield from run.explain().next_actions
            for report in run.inspect().rollbacks:
                yield from report.next_actions


def test_each_command_of_an_explanation_is_valid_as_it_is_printed(place: Place) -> None:
    lines = {action.cli for action in actions(place) if action.cli is not None}
    names = {parsed(line).info_name for line in lines}
    assert names >= {
        "approve", "reject", "resume", "signal", "release", "resolve-step", "retry-step", "skip-step", "fail",
        "terminate", "undo-retry", "undo-skip", "undo-mark-done", "undo-abandon", "worker",
    }  # fmt: skip


def test_what_is_added_for_this_database_is_valid_too(place: Place) -> None:
    lines = re.findall(r"^ +(squidmesh .*)$", place.ask("explain", "--key", "undo_failed").stdout, re.MULTILINE)
    assert len(lines) == 4
    assert all(parsed(line).params["database"] == place.url for line in lines)


def written() -> Iterator[tuple[str, str]]:
    """The commands that the code names in its texts: file, and the words after ``squidmesh``."""
    for file in sorted(SDK.rglob("*.py")):
        if "demo" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for name in re.findall(r"(?:^|[\s`(])squidmesh ([a-z]+(?:-[a-z]+)*)(?= |$|`)", node.value):
                    yield f"{file.relative_to(SDK)}", name


def test_no_text_of_the_code_names_a_command_that_there_is_not() -> None:
    prose = {"does", "that"}  # "this version of squidmesh does not know it"
    unknown = {(file, name) for file, name in written() if name not in COMMANDS and name not in prose}
    assert unknown == set()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_has_help_and_a_file(name: str) -> None:
    from click.testing import CliRunner

    said = CliRunner().invoke(command, [name, "--help"])
    assert said.exit_code == 0
    assert f"Usage: squidmesh {name}" in said.output
