"""Runs that are deleted, written away, replayed and checked from a shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from squidmesh.cli import squidmesh
from tests.cli.conftest import Place
from tests.cli.world import SECRET
from tests.worker.processes import SQUIDMESH


def test_prune_counts_and_then_deletes_what_ended_long_ago(either: Place, tmp_path: Path) -> None:
    assert either.ask("prune", "--older-than", "1m", "--dry-run").stdout == "would go: 3 runs in 3 trees\n"
    assert either.ask("prune", "--older-than", "1w").stdout == "deleted: 0 runs in 0 trees\n"
    archive = str(tmp_path / "old.jsonl")
    answer = either.read("prune", "--older-than", "1m", "--status", "failed", "--archive", archive)
    assert (answer["runs"], answer["archived"]) == (1, 1)
    assert [json.loads(line)["run"]["key"] for line in Path(archive).read_text().splitlines()] == ["failed"]
    either.ask("show", either.ids["failed"], code=3)


def test_prune_must_be_told_how_old(place: Place) -> None:
    assert "prune(older_than=…) takes an age" in place.ask("prune", code=2).stderr


def test_export_writes_lines_and_masks_secrets(either: Place, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    assert either.read("export", str(file)) == {"schema_version": 1, "file": str(file), "runs": 13}
    lines = file.read_text()
    assert len(lines.splitlines()) == 13
    assert SECRET not in lines
    (line,) = either.ask("export", "-", "--status", "failed").stdout.splitlines()
    assert json.loads(line)["run"]["run_id"] == either.ids["failed"]


def test_a_history_that_was_exported_is_replayed(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "histories"
    folder.mkdir()
    for name in ("completed", "failed", "secret"):
        place.ask("export", str(folder / f"{name}.json"), "--run", place.ids[name], "--redact", "town")
    assert SECRET not in (folder / "secret.json").read_text()
    assert "Atlantis" not in (folder / "failed.json").read_text()
    done = place.runner.invoke(squidmesh, ["replay", str(folder), "tests.cli.shop", "--json"])
    files = json.loads(done.stdout)["files"]
    assert [file["ok"] for file in files] == [True, True, True], files
    assert done.exit_code == 0


def test_a_history_that_the_code_parts_from_is_told_with_both(place: Place, tmp_path: Path) -> None:
    place.ask("export", str(tmp_path / "run.json"), "--run", place.ids["completed"])
    recorded = tmp_path / "run.json"
    recorded.write_text(recorded.read_text().replace('"reserve"', '"fetch"'))
    done = place.runner.invoke(squidmesh, ["replay", str(recorded), "tests.cli.shop"])
    assert done.exit_code == 1
    assert "differs" in done.stdout
    assert "shop.py:" in done.stdout


def test_export_refuses_what_does_not_go_together(place: Place) -> None:
    place.ask("export", "-", "--run", place.ids["failed"], "--status", "failed", code=2)
    place.ask("export", "-", "--redact", "town", code=2)


def test_check_says_which_open_runs_would_block(either: Place) -> None:
    report = either.read("check", "tests.cli.shop")["report"]
    assert report["ok"] is True
    (blocked,) = report["would_block"]
    assert (blocked["run_id"], blocked["already"]) == (either.ids["blocked"], True)
    said = either.ask("check", "tests.cli.shop").stdout
    assert f"run {either.ids['blocked']}: code_error  blocked already" in said


CHANGED = """\
from squidmesh import Flow, sleep, step, workflow


@step
def other() -> None: ...


@workflow
def lone() -> Flow[None]:
    yield from ASKED
"""
BEGIN = """\
import changed, sys
from squidmesh.testing import VirtualMesh

with VirtualMesh(sys.argv[1]) as mesh:
    mesh.start(changed.lone())
    mesh.drain()
"""


def test_check_fails_where_history_and_code_part(place: Place, tmp_path: Path) -> None:
    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-B", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    (tmp_path / "changed.py").write_text(CHANGED.replace("ASKED", "sleep(10**8)"))
    assert python("-c", BEGIN, place.url).returncode == 0
    (tmp_path / "changed.py").write_text(CHANGED.replace("ASKED", "other()"))
    done = python(*SQUIDMESH[1:], "check", "changed", "--database", place.url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not fine: " in done.stdout
    assert "  history: " in done.stdout
    assert "changed.py:10" in done.stdout
    assert "           yield from other()\n" in done.stdout
