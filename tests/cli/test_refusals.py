"""Whatever goes wrong is one line on stderr, with its exit code, and never a traceback."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from squidmesh.cli import squidmesh
from squidmesh.cli.refusal import one_line, refusal
from tests.cli.conftest import Place
from tests.worker.processes import SQUIDMESH


def test_a_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(squidmesh, ["runs"])
    assert said.exit_code == 4
    assert said.stderr.startswith("squidmesh: there is no database squidmesh.db (in ")
    assert said.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["nonsense", "mysql://a:secret@b/c", "postgresql://me:secret@127.0.0.1:1/none"])
def test_a_database_that_cannot_be_used_is_a_line_without_its_password(url: str) -> None:
    said = CliRunner().invoke(squidmesh, ["runs", "--database", url])
    assert said.exit_code == 4
    assert said.stderr.startswith("squidmesh: ")
    assert said.stderr.count("\n") == 1
    assert "secret" not in said.stderr


def test_a_database_that_is_not_migrated_names_the_command(empty_postgres_url: str) -> None:
    said = CliRunner().invoke(squidmesh, ["runs", "--database", empty_postgres_url])
    assert said.exit_code == 4
    assert "run: squidmesh migrate --database postgresql" in said.stderr


def test_a_file_that_is_no_database_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("milk, eggs\n" * 100)
    said = CliRunner().invoke(squidmesh, ["runs", "--database", f"sqlite:///{tmp_path / 'notes.db'}"])
    assert said.exit_code == 4, said.output
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ("{", "'{' is no JSON"),
        ("paid", "Text stands in double quotes: '\"paid\"'."),
        ("NaN", "NaN is no JSON number"),
        ("@nowhere.json", "nowhere.json: No such file or directory"),
    ],
)
def test_bad_json_says_how_to_write_it(place: Place, payload: str, told: str) -> None:
    said = place.ask("signal", "--key", "signal", "payment.done", "--payload", payload, code=2)
    assert told in said.stderr


def test_json_comes_from_a_file_or_the_standard_input(place: Place, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('"receipt"')
    place.ask("signal", "--key", "signal", "payment.done", "--payload", f"@{tmp_path / 'payload.json'}")
    place.ask("signal", "--key", "signal", "payment.done", "--payload", "-", input='"receipt"')


@pytest.mark.parametrize("given", ["yesterday", "2026-13-01", "5x"])
def test_a_bad_time_says_how_to_write_it(place: Place, given: str) -> None:
    assert "write 2026-11-30T09:00" in place.ask("runs", "--since", given, code=2).stderr


@pytest.mark.parametrize(
    ("typed", "meant"), [("rnus", "runs"), ("aprove", "approve"), ("retry_step", "retry-step"), ("explian", "explain")]
)
def test_a_mistyped_command_suggests(typed: str, meant: str) -> None:
    said = CliRunner().invoke(squidmesh, [typed])
    assert said.exit_code == 2
    assert f"There is no command {typed!r}: did you mean {meant!r}" in said.stderr


def test_a_command_like_no_other_is_a_usage_error() -> None:
    said = CliRunner().invoke(squidmesh, ["xyzzy"])
    assert (said.exit_code, "There is no command 'xyzzy'." in said.stderr) == (2, True)


def test_what_should_not_happen_is_a_line_too_and_shows_more_on_request(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from squidmesh.mesh import Mesh

    def broken(self: Mesh, **given: object) -> object:
        raise KeyError("surprise")

    monkeypatch.setattr(Mesh, "list", broken)
    said = place.ask("runs", code=1)
    assert said.stderr.startswith("squidmesh: this should not happen: KeyError: 'surprise'; ")
    shown = CliRunner().invoke(squidmesh, ["--traceback", "runs", "--database", place.url])
    assert isinstance(shown.exception, KeyError)


def test_an_interrupt_is_a_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from squidmesh.mesh import Mesh

    def interrupted(self: Mesh, **given: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(Mesh, "list", interrupted)
    assert place.ask("runs", code=130).stderr == "squidmesh: interrupted\n"


def test_a_reader_that_goes_away_is_no_error_message(place: Place) -> None:
    command = shlex.join(SQUIDMESH)
    line = f"{command} history --key failed --database {place.url} | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_errors_of_programs_leave_the_standard_output_empty(place: Place) -> None:
    said = place.ask("show", "nothing-like-it", "--json", code=3)
    assert said.stdout == ""


def test_a_message_of_several_lines_is_told_in_one_without_passwords() -> None:
    assert one_line("it does not fit:\n  a: wrong\n  b: missing") == "it does not fit: a: wrong; b: missing"
    assert one_line("postgresql://me:secret@host/db is away") == "postgresql://me:***@host/db is away"


def test_an_error_of_a_driver_is_the_databases() -> None:
    from sqlalchemy.exc import ProgrammingError

    told = refusal(ProgrammingError("SELECT 1", {}, Exception("permission denied for table squidmesh_runs")))
    assert told.exit_code == 4
    assert "permission denied" in told.message
    assert "SELECT" not in told.message


def test_help_imports_neither_a_database_nor_a_broker_nor_a_command(tmp_path: Path) -> None:
    code = (
        "import sys; from squidmesh.cli import squidmesh\n"
        "try: squidmesh(['--help'])\n"
        "except SystemExit: pass\n"
        "import json; json.dump(sorted(sys.modules), open('modules.json', 'w'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    modules = set(json.loads((tmp_path / "modules.json").read_text()))
    assert not {"dramatiq", "alembic", "sqlalchemy", "redis", "pika", "rich", "squidmesh_worker"} & modules
    assert not {name for name in modules if name.startswith("squidmesh.cli.")} - {"squidmesh.cli.catalogue"}
