"""A run started from a shell."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from squidmesh import Mesh
from tests.cli import shop
from tests.cli.conftest import Place
from tests.worker.processes import SQUIDMESH

CODE = ("--module", "tests.cli.shop")
ORDER = '{"order": "o-20", "cents": 5}'


def test_a_run_is_started_by_the_name_of_its_workflow(either: Place) -> None:
    answer = either.read("start", "checkout", ORDER, *CODE, "--key", "o-20", "--attributes", '{"region": "eu"}')
    run = either.read("show", answer["run_id"])["run"]
    assert (run["key"], run["status"], run["input"]["cents"]) == ("o-20", "pending", 5)
    found = either.read("runs", "--attributes", '{"region": "eu"}')["runs"]
    assert [one["run_id"] for one in found] == [answer["run_id"]]


def test_the_same_key_and_input_is_the_same_run_and_another_input_is_refused(place: Place) -> None:
    once, again = (place.read("start", "checkout", ORDER, *CODE, "--key", "o-20")["run_id"] for _ in range(2))
    assert once == again
    said = place.ask("start", "checkout", '["o-21"]', *CODE, "--key", "o-20", code=1)
    assert said.stderr.startswith("squidmesh: key 'o-20' belongs to run")


def test_the_workflow_may_be_named_with_its_module_and_the_input_be_an_array(place: Place) -> None:
    said = place.ask("start", "tests.cli.shop:napping", "[1]", "--at", "2h", "--deadline", "2030-01-01").stdout
    assert said.startswith("run ")
    assert said.endswith("is pending\n")
    place.ask("start", "tests.cli.shop:napping", "--queue", "elsewhere", "--priority", "3")


def test_bad_input_names_each_field_in_one_line(place: Place) -> None:
    said = place.ask("start", "checkout", '{"cents": "many"}', *CODE, code=1)
    assert said.stderr.startswith("squidmesh: workflow 'checkout' does not fit its declared types: ")
    assert "order" in said.stderr
    assert said.stderr.count("\n") == 1
    place.ask("start", "checkout", "3", *CODE, code=2)


def test_waiting_gives_the_result(place: Place) -> None:
    with Mesh(place.url, workflows=[shop], sweep=0.1) as mesh, mesh.worker(threads=1):
        answer = place.read("start", "tidy", '{"folder": "x"}', *CODE, "--wait", "30")
        assert (answer["status"], answer["result"]) == ("completed", "x")
        said = place.ask("start", "checkout", '["o-9", 1, "Atlantis"]', *CODE, "--wait", "30s", code=1)
    assert "no courier goes to Atlantis" in said.stderr
    late = place.ask("start", "tidy", *CODE, "--at", "1h", "--wait", "0", code=1)
    assert "has not ended" in late.stderr


def test_a_mistyped_workflow_suggests(place: Place) -> None:
    said = place.ask("start", "chekout", ORDER, *CODE, code=3)
    assert "there is no workflow 'chekout' in the code at hand: did you mean 'checkout'" in said.stderr


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("nowhere", "there is no module 'nowhere'"),
        ("shop.py", "name it as your code imports it, shop"),
        ("crooked", "module 'crooked' does not import: ZeroDivisionError: division by zero (crooked.py:1)"),
    ],
)
def test_a_module_that_does_not_import_is_a_line(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, told: str
) -> None:
    (tmp_path / "crooked.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    said = place.ask("start", "checkout", ORDER, "--module", module, code=1 if module == "crooked" else 2)
    assert told in said.stderr.replace(f"{tmp_path}/", "")
    assert said.stderr.count("\n") == 1


def test_code_is_found_in_the_current_folder_and_the_database_is_made(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(
        "from squidmesh import Flow, sleep, workflow\n\n\n"
        "@workflow\ndef nap(seconds: float = 1) -> Flow[None]:\n    yield from sleep(seconds)\n"
    )
    done = subprocess.run(
        [*SQUIDMESH, "start", "flows:nap", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "pending"
