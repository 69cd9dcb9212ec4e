"""The pytest plugin, in sessions of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from squidmesh import Flow, sleep, step, workflow
from squidmesh.testing import VirtualMesh, record

pytestmark = pytest.mark.timeout(300)  # each starts an interpreter

FLOWS = """
import time
from squidmesh import Flow, sleep, step, workflow

@step(name="plugin.charge")
def charge(order: str) -> str:
    return order

@step(name="plugin.ship")
def ship(order: str) -> str:
    return order

@workflow(name="plugin.checkout")
def checkout(order: str) -> Flow[str]:
    yield from charge(order)
    yield from sleep(60)
    return (yield from ship(order))

@workflow(name="plugin.hasty")
def hasty() -> Flow[str]:
    return (yield from charge(str(time.monotonic_ns())))
"""
TESTS = """
import pytest
from flows import checkout, hasty
from squidmesh.testing import VirtualMesh

@pytest.fixture
def mesh():
    with VirtualMesh() as mesh:
        yield mesh

def test_good(mesh):
    assert mesh.run(checkout("o-1")) == "o-1"

def test_hasty(mesh):
    mesh.run(hasty())

def test_failed():
    with VirtualMesh() as mesh:
        mesh.run(hasty())
        assert False, "its own failure"
"""
INI = """[pytest]
pythonpath = .
filterwarnings = error
squidmesh_workflows = flows
squidmesh_histories = histories
"""


@step(name="plugin.charge")
def charge(order: str) -> str:
    return order


@step(name="plugin.ship")
def ship(order: str) -> str:
    return order


@workflow(name="plugin.checkout")
def checkout(order: str) -> Flow[str]:
    """As the project has it."""
    yield from charge(order)
    yield from sleep(60)
    return (yield from ship(order))


@workflow(name="plugin.checkout", version=2)
def checkout_2(order: str) -> Flow[str]:
    """Of which the project does not have the version."""
    return (yield from ship(order))


def session(folder: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "-q", *options]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_a_folder_of_histories_is_replayed_against_todays_code(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "pytest.ini").write_text(INI)
    histories = tmp_path / "histories"
    histories.mkdir()
    with VirtualMesh(workflows=[checkout, checkout_2]) as mesh:
        first = mesh.start(checkout("o-1"))
        first.result()
        text = record(first)
        other = mesh.start(checkout_2("o-1"))
        other.result()
        (histories / "missing.json").write_text(record(other))
    (histories / "good.json").write_text(text)
    (histories / "parts.json").write_text(text.replace('"plugin.ship"', '"plugin.send"'))
    (histories / "none.json").write_text("{}")
    code, told = session(tmp_path)
    assert (code, "1 passed" in told, "3 failed" in told) == (1, True, True), told
    for line in (
        "parts.json: the history of run ",
        "at position 3",
        "history has  `plugin.send`",
        "code now     yields `plugin.ship`",
        "return (yield from ship(order))",
        "none.json: this is no history",
        "missing.json: the history is of workflow 'plugin.checkout' version 2",
        "FAILED histories/parts.json::replay",
    ):
        assert line in told, told


def test_with_one_flag_every_test_s_runs_are_driven_again(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "test_flows.py").write_text(TESTS)
    code, told = session(tmp_path, "--squidmesh-redrive", "-W", "error")
    assert (code, "1 passed" in told, "2 failed" in told) == (1, True, True), told
    assert "Redriven" in told
    assert "FAILED test_flows.py::test_hasty" in told
    assert "its own failure" in told


def test_unused_it_imports_nothing_of_squid_mesh(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert '_squidmesh_pytest' in sys.modules\n"
        "    assert not [name for name in sys.modules if name.startswith('squidmesh')]\n"
    )
    code, told = session(tmp_path, "-W", "error")
    assert code == 0, told


def test_the_sdk_does_not_need_pytest() -> None:
    script = "import sys, squidmesh.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=240, check=False).returncode == 0
