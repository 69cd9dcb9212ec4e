"""Schedules looked at and steered from a shell."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import CliRunner

from squidmesh.cli import squidmesh
from tests.cli.conftest import Place

BY = ("--actor", "ada", "--note", "stocktaking")


def test_schedules_are_listed(either: Place) -> None:
    for command in (("schedules",), ("schedules", "list")):
        lines = either.ask(*command).stdout.splitlines() if len(command) > 1 else _bare(either)
        assert lines[1].split()[0] == "nightly"
    (schedule,) = either.read("schedules", "list")["schedules"]
    assert (schedule["name"], schedule["workflow"]) == ("nightly", "tidy")


def _bare(place: Place) -> list[str]:
    done = CliRunner().invoke(squidmesh, ["schedules", "--database", place.url])
    assert done.exit_code == 0
    return done.stdout.splitlines()


def test_one_schedule_is_shown_with_its_next_ticks(place: Place) -> None:
    shown = place.read("schedules", "show", "nightly")
    assert len(shown["upcoming"]) == 5
    assert "Next ticks" in place.ask("schedules", "show", "nightly").stdout


def test_a_schedule_is_paused_and_resumed(either: Place) -> None:
    paused = either.read("schedules", "pause", "nightly", *BY)["schedule"]
    assert (paused["actor"], paused["note"], paused["next_at"]) == ("ada", "stocktaking", None)
    assert "paused by ada" in either.ask("schedules", "show", "nightly").stdout
    assert either.read("schedules", "resume", "nightly", *BY)["schedule"]["next_at"] is not None


def test_a_schedule_is_triggered(either: Place) -> None:
    (run_id,) = either.read("schedules", "trigger", "nightly", *BY)["run_ids"]
    assert either.read("show", run_id)["run"]["workflow"] == "tidy"


def test_a_past_range_is_run(place: Place, drain: Callable[[Place], None]) -> None:
    answer = place.read("schedules", "backfill", "nightly", "2026-01-01", "2026-01-03T12:00", *BY)
    assert len(answer["run_ids"]) == 3
    assert "came to  run" in place.ask("schedules", "show", "nightly").stdout
    assert "3 runs" in place.ask("schedules", "backfill", "nightly", "2026-01-01", "2026-01-03T12:00").stdout


def test_a_schedule_is_deleted(place: Place) -> None:
    assert place.read("schedules", "delete", "nightly", *BY)["schedule"] is None
    assert place.ask("schedules", "list").stdout == "No schedules.\n"


def test_a_mistyped_schedule_or_command_suggests(place: Place) -> None:
    said = place.ask("schedules", "pause", "nigthly", code=3)
    assert said.stderr == "squidmesh: no schedule 'nigthly': did you mean 'nightly'?\n"
    assert "did you mean 'pause'" in place.ask("schedules", "puase", "nightly", code=2).stderr
