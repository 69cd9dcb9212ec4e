"""What the doctor finds, and what it says to do about it."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from squidmesh import Mesh
from squidmesh.cli import squidmesh
from squidmesh.cli.doctor import within
from squidmesh.ports import Health, TableSize, Waiting
from tests.cli import shop
from tests.cli.conftest import Place

SECOND = 1_000_000
LATE = 17 * SECOND


def findings(diagnosis: Any, level: str) -> dict[str, str]:
    return {found["check"]: found["told"] for found in diagnosis["findings"] if found["level"] == level}


def healthy(url: str, *more: str) -> Any:
    done = CliRunner().invoke(squidmesh, ["doctor", "--database", url, "--json", *more])
    diagnosis = json.loads(done.stdout)
    assert done.exit_code == (0 if diagnosis["healthy"] else 1)
    return diagnosis


def test_a_mesh_that_is_served_is_well(database_url: str) -> None:
    with Mesh(database_url, workflows=[shop]) as mesh, mesh.worker(threads=1):
        diagnosis = healthy(database_url)
    assert diagnosis["healthy"]
    assert set(findings(diagnosis, "ok")) >= {
        "settings", "database", "migrations", "clock", "workers", "leases", "late work", "stuck runs", "broker",
    }  # fmt: skip


def test_stuck_and_late_runs_are_found_each_with_what_to_do(either: Place) -> None:
    diagnosis = either.read("doctor", code=1)
    problems = [found for found in diagnosis["findings"] if found["level"] == "problem"]
    told = {found["told"].partition(":")[0] for found in problems}
    assert {"1 blocked by code_error", "1 blocked by step_in_doubt", "1 blocked by undo_failed"} <= told
    assert "runs are due" in told or "due runs" in told
    assert all(found["todo"] for found in problems)
    said = either.ask("doctor", code=1).stdout
    assert f"stuck runs: a person decides: squidmesh explain {either.ids['in_doubt']}\n" in said


def test_a_database_that_is_away_is_found(tmp_path: Path) -> None:
    diagnosis = healthy("postgresql://me:secret@127.0.0.1:1/none")
    assert "database" in findings(diagnosis, "problem")
    assert "secret" not in json.dumps(diagnosis)
    assert "there is no database" in findings(healthy(f"sqlite:///{tmp_path / 'none.db'}"), "problem")["database"]
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_is_not_migrated_is_found_with_the_command(empty_postgres_url: str) -> None:
    diagnosis = healthy(empty_postgres_url)
    (problem,) = [found for found in diagnosis["findings"] if found["level"] == "problem"]
    assert problem["check"] == "migrations"
    assert problem["todo"].startswith("squidmesh migrate --database postgresql")


def test_a_database_of_a_newer_release_is_found(sqlite_url: str) -> None:
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as file:
        file.execute("UPDATE squidmesh_version SET version_num = '9999'")
    file.close()
    assert "revision 9999" in findings(healthy(sqlite_url), "problem")["migrations"]


def test_a_setting_that_cannot_work_is_found(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUIDMESH_LEASE", "soon")
    assert "SQUIDMESH_LEASE takes a number" in findings(healthy(sqlite_url), "problem")["settings"]


def test_a_setting_that_nobody_reads_is_found(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUIDMESH_LAESE", "30")
    told = findings(healthy(sqlite_url), "note")["settings"]
    assert told == "the environment has SQUIDMESH_LAESE, which nobody reads: did you mean 'SQUIDMESH_LEASE'?"


def test_a_broker_is_asked_whether_it_answers(sqlite_url: str, redis_url: str) -> None:
    assert findings(healthy(sqlite_url, "--broker", redis_url), "ok")["broker"].endswith(" answers")
    away = findings(healthy(sqlite_url, "--broker", "redis://:secret@127.0.0.1:1/0"), "problem")["broker"]
    assert away.startswith("redis://127.0.0.1:1 does not answer")
    assert "does not answer" in findings(healthy(sqlite_url, "--broker", "amqp://a:b@127.0.0.1:1"), "problem")["broker"]
    assert "cannot be used" in findings(healthy(sqlite_url, "--broker", "http://x"), "problem")["broker"]


def test_rabbitmq_is_asked_too(sqlite_url: str, rabbitmq_url: str) -> None:
    assert findings(healthy(sqlite_url, "--broker", rabbitmq_url), "ok")["broker"].endswith(" answers")


def test_an_expired_lease_and_what_it_held_are_found(either: Place) -> None:
    with Mesh(either.url) as mesh:
        engine = mesh.engine
        long_ago = mesh.connect_engine().store.now() - 60 * SECOND
        with engine.begin() as connection:
            connection.execute(text(
                "INSERT INTO squidmesh_workers (id, host, pid, queues, code, started_at, expires_at) "
                "VALUES ('dead', 'far', 7, '[\"default\"]', '{}', :at, :at)"), {"at": long_ago})  # fmt: skip
            connection.execute(text("UPDATE squidmesh_runs SET worker = 'dead' WHERE key = 'sleeping'"))
    diagnosis = either.read("doctor", code=1)
    assert "dead (far, pid 7)" in findings(diagnosis, "problem")["leases"]
    assert "1 runs and 0 steps are held" in findings(diagnosis, "note")["stuck runs"]


@pytest.mark.parametrize(
    ("off", "level"), [(0, "ok"), (SECOND // 2, "ok"), (-20 * SECOND, "note"), (300 * SECOND, "problem")]
)
def test_two_clocks_that_differ_are_found(off: int, level: str) -> None:
    here = time.time_ns() // 1_000
    found = within.clock(sick(now=here + off), here, here)
    assert (found.level, found.todo is None) == (level, level == "ok")


def test_bloated_tables_are_found_with_the_command() -> None:
    sizes = (TableSize("squidmesh_tasks", 1_000, 900_000, 2**30), TableSize("squidmesh_runs", 10**6, 10**5, 2**29))
    problems = [found for found in within.size(sick(tables=sizes, bytes=2**31)) if found.level == "problem"]
    (found,) = problems
    assert found.todo is not None
    assert found.todo.startswith("VACUUM (ANALYZE) squidmesh_tasks")


def test_an_empty_half_of_a_file_is_found() -> None:
    found = {f.check: f for f in within.size(sick(bytes=2**30, free=2**29 + 2**27))}
    assert found["table bloat"].told == "640 MB of 1 GB of the file are empty"


def test_late_schedules_and_messages_are_found() -> None:
    health = sick(late_schedules=Waiting(1, 0), inbox=Waiting(2, 0), now=LATE + SECOND)
    told = [found.told for found in within.due(health, LATE)]
    assert [line.partition(",")[0] for line in told] == ["schedules with a due tick: 1", "messages to be taken in: 2"]


def test_the_sizes_of_a_database_are_told(database_url: str) -> None:
    told = findings(healthy(database_url), "ok")["size"]
    assert told.startswith("SQLite 3" if database_url.startswith("sqlite") else "PostgreSQL ")


def sick(**facts: Any) -> Health:
    """The health of a database with these facts, and nothing else to tell."""
    well: dict[str, Any] = {
        "server": "a database", "now": 0, "due_runs": Waiting(), "due_tasks": Waiting(), "stranded_runs": 0,
        "stranded_tasks": 0, "inbox": Waiting(), "late_schedules": Waiting(),
    }  # fmt: skip
    return Health(**well | facts)
