"""samples/approval, run as its README says, and for three days on a virtual clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from samples.approval import main as sample
from squidmesh import NothingOpen
from squidmesh.testing import VirtualMesh

SAMPLE = Path(__file__).parents[2] / "samples/approval/main.py"
COMMAND = [sys.executable, "-W", "error", str(SAMPLE)]


def run(*arguments: str, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def mails(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "approval_outbox").iterdir())


def test_a_report_is_decided_from_another_process_and_who_comes_late_is_told(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "file", "Ada", "4200"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as filed:  # fmt: skip
        assert filed.stdout is not None
        run_id = filed.stdout.readline().split()[1]
        answer = (1, "nothing to approve")
        while answer[0] and "nothing to approve" in answer[1]:  # its gate is not open yet
            answer = run("approve", run_id, "manager", "Bob", "--note", "have fun", folder=tmp_path)
        assert answer == (0, "Bob has said so\n")
        assert filed.stdout.read() == "the report of Ada is paid\n"
    code, told = run("reject", run_id, "manager", "Eve", folder=tmp_path)
    assert (code, "approval 'manager' at 2 was approved by Bob" in told) == (1, True)
    assert mails(tmp_path) == [
        "to Ada: Bob says yes to 42.00, have fun",
        "to manager: Ada asks for 42.00, please decide",
    ]


def test_with_short_days_a_report_expires_before_ones_eyes(tmp_path: Path) -> None:
    code, told = run("file", "Ada", "4200", "--day", "0.01", folder=tmp_path)
    assert (code, told.splitlines()[1]) == (0, "the report of Ada is expired")
    assert mails(tmp_path)[0] == "to Ada: nobody has decided about 42.00"


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMesh]:
    monkeypatch.chdir(tmp_path)
    with VirtualMesh() as mesh:
        yield mesh


def test_who_does_not_answer_is_reminded_and_then_passed_over(mesh: VirtualMesh, tmp_path: Path) -> None:
    handle = mesh.start(sample.expense_report("Ada", 4200))
    mesh.advance(timedelta(hours=23))
    assert "It is due soon" in handle.explain().summary
    assert len(mails(tmp_path)) == 1
    mesh.advance(timedelta(hours=2))
    assert mails(tmp_path)[0] == "to manager: Ada asks for 42.00, a reminder"
    mesh.restart()
    mesh.advance(timedelta(hours=24))
    assert mails(tmp_path)[0] == "to director: Ada asks for 42.00, the manager does not answer"
    with pytest.raises(NothingOpen, match="approval 'manager' at 4 expired"):
        handle.approve("manager", actor="Bob")
    handle.reject("director", actor="Cy", note="not now")
    assert handle.result() == "rejected"
    assert [gate.status for gate in handle.inspect().gates] == ["expired", "expired", "rejected"]


def test_what_nobody_decides_within_three_days_has_expired(mesh: VirtualMesh) -> None:
    began = mesh.now
    assert mesh.run(sample.expense_report("Ada", 4200)) == "expired"
    assert mesh.now - began == timedelta(days=3)


@pytest.mark.parametrize("day", [0, 1, 2])
def test_a_yes_counts_on_each_of_the_days(mesh: VirtualMesh, day: int, tmp_path: Path) -> None:
    handle = mesh.start(sample.expense_report("Ada", 4200))
    mesh.advance(timedelta(days=day, hours=1))
    handle.approve(actor="Bob")
    assert handle.result() == "paid"
    assert len(mails(tmp_path)) == day + 2
