"""On a terminal: colours, tables that fit, commands that can be copied whole; and a run that is watched."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from squidmesh import Mesh
from tests.cli import shop
from tests.cli.conftest import Place
from tests.cli.terminal import seen
from tests.worker.processes import SQUIDMESH


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_fits_the_terminal_and_has_colours(place: Place, width: int) -> None:
    shown = seen("runs", "--database", place.url, width=width)
    assert shown.code == 0
    assert shown.widest <= width
    assert "\x1b[" in shown.raw
    first = shown.text.splitlines()[1].split()[0]
    assert first == (place.ids["held"] if width >= 120 else place.ids["held"][-12:])


def test_the_end_of_an_id_that_a_narrow_table_shows_names_the_run(place: Place) -> None:
    shown = seen("runs", "--status", "failed", "--database", place.url).text.splitlines()[1].split()[0]
    assert place.read("show", shown)["run"]["run_id"] == place.ids["failed"]


def test_colours_can_be_left_out(place: Place) -> None:
    assert "\x1b[" not in seen("runs", "--database", place.url, NO_COLOR="1", TERM="dumb").raw


def test_a_command_to_copy_is_never_broken(place: Place) -> None:
    shown = seen("explain", "--key", "undo_failed", "--database", place.url)
    line = f"  squidmesh undo-mark-done {place.ids['undo_failed']} 2 --actor … --note … --database {place.url}\n"
    assert line in shown.text


@pytest.mark.parametrize("command", ["show", "history", "timeline", "graph"])
def test_pages_of_a_run_fit_the_terminal(place: Place, command: str) -> None:
    shown = seen(command, "--key", "failed", "--database", place.url, width=80)
    assert shown.code == 0
    assert shown.widest <= 80
    assert "take_card" in shown.text


def test_what_users_wrote_cannot_steer_the_terminal(place: Place) -> None:
    place.ask("hold", "--key", "sleeping", "--actor", "ada", "--note", "\x1b[2Jgone\x07")
    shown = seen("show", "--key", "held", "--database", place.url)
    assert "\x1b[2J" not in shown.raw
    plain = place.ask("history", "--key", "sleeping").stdout + place.ask("show", "--key", "sleeping").stdout
    assert "\x1b" not in plain
    assert "\x07" not in plain


def test_watch_draws_a_run_in_place_until_it_ends(place: Place) -> None:
    asked: list[str] = []

    def approve(so_far: str) -> None:
        if "fraud-desk" in so_far and not asked:
            asked.append("approve")
            place.ask("approve", "--key", "approval", "--actor", "ada")

    with Mesh(place.url, workflows=[shop], sweep=0.1) as mesh, mesh.worker(threads=1):
        shown = seen("watch", "--key", "approval", "--every", "0.1", "--database", place.url, meanwhile=approve)
    assert shown.code == 0, shown.text
    assert asked
    end = shown.text.rpartition("run       ")[2]
    assert "status    completed" in end
    assert "fraud-desk  approval  approved" in end


def test_watch_without_a_terminal_prints_each_event_once(place: Place) -> None:
    command = [*SQUIDMESH, "watch", "--key", "approval", "--every", "0.1", "--database", place.url]
    with (
        Mesh(place.url, workflows=[shop], sweep=0.1) as mesh,
        mesh.worker(threads=1),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching,
    ):
        assert watching.stdout is not None
        lines: list[str] = []
        for line in watching.stdout:
            lines.append(line)
            if "GateOpened" in line:
                place.ask("reject", "--key", "approval", "--actor", "ada")
        code = watching.wait(30)
    assert code == 1  # it failed
    numbers = [line.split()[0] for line in lines[:-1]]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert lines[-1] == f"run {place.ids['approval']} is failed\n"


def test_watch_of_what_has_ended_says_so_at_once(place: Place) -> None:
    assert place.ask("watch", "--key", "completed").stdout.endswith("is completed\n")
    assert place.ask("watch", "--key", "failed", code=1).stdout.endswith("is failed\n")
    ended: dict[str, Any] = json.loads(place.ask("watch", "--key", "completed", "--json").stdout)
    assert ended["run"]["status"] == "completed"


def test_watch_gives_up_after_its_timeout_and_says_what_it_waits_for(place: Place) -> None:
    said = place.ask("watch", "--key", "signal", "--timeout", "0", code=1)
    assert said.stderr.startswith(f"squidmesh: run {place.ids['signal']} has not ended: The run waits since")
