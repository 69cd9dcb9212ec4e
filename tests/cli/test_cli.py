"""The ``squidmesh`` command: what it offers, and one line for what goes wrong."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from squidmesh.cli import squidmesh
from tests.worker.processes import SQUIDMESH


def _run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SQUIDMESH, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    said = CliRunner().invoke(squidmesh, ["--version"])
    assert said.output == f"squidmesh {version('squidmesh')}\n"


def test_help_lists_the_commands() -> None:
    said = CliRunner().invoke(squidmesh, ["--help"])
    assert said.exit_code == 0
    for command in ("migrate", "worker"):
        assert f"\n  {command} " in said.output


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(squidmesh, ["wroker"]).exit_code == 2


def test_the_commands_are_imported_only_when_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys; from squidmesh.cli import squidmesh; squidmesh(['--version'], standalone_mode=False); "
        "assert not {'dramatiq', 'squidmesh_worker', 'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_migrate_brings_a_database_up_to_date_and_can_be_repeated(tmp_path: Path, empty_postgres_url: str) -> None:
    for _ in range(2):
        done = _run("migrate", "--database", empty_postgres_url, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("the database is up to date: postgresql")


def test_migrate_without_a_database_makes_the_embedded_default(tmp_path: Path) -> None:
    done = _run("migrate", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "the database is up to date: sqlite:///squidmesh.db\n"), done.stderr
    with sqlite3.connect(tmp_path / "squidmesh.db") as file:
        tables = {name for (name,) in file.execute("select name from sqlite_master where type = 'table'")}
    file.close()
    assert "squidmesh_runs" in tables


@pytest.mark.parametrize("url", ["nonsense", "postgresql://me:secret@127.0.0.1:1/none"])
def test_a_url_that_cannot_work_is_one_line_without_its_password(tmp_path: Path, url: str) -> None:
    failed = _run("migrate", "--database", url, folder=tmp_path)
    assert failed.returncode == 4
    assert failed.stderr.startswith("squidmesh: ")
    assert failed.stderr.count("\n") == 1
    assert "secret" not in failed.stderr


def test_worker_without_a_module_is_a_usage_error(tmp_path: Path) -> None:
    failed = _run("worker", folder=tmp_path)
    assert failed.returncode == 2
    assert "MODULE" in failed.stderr


def test_a_worker_of_no_queue_is_a_usage_error(tmp_path: Path) -> None:
    failed = _run("worker", "shop", "--queues", " , ", folder=tmp_path)
    assert failed.returncode == 2
    assert "name at least one queue" in failed.stderr
