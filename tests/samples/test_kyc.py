"""samples/kyc, run as its README says, and for a month on a virtual clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from samples.kyc import main as sample
from squidmesh import RunFailed
from squidmesh.testing import VirtualMesh
from tests.worker.processes import process

MAIN = str(Path(__file__).parents[2] / "samples/kyc/main.py")
COMMAND = [sys.executable, "-W", "error", MAIN]


def run(*arguments: str, folder: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def there(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text().strip() for file in (folder / "kyc_bank").iterdir()}


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMesh]:
    monkeypatch.chdir(tmp_path)
    with VirtualMesh() as mesh:
        yield mesh


def vouch(customer: str) -> None:
    (sample.BANK / f"identity-{customer}").touch()


def test_an_account_is_open_at_once_and_its_limit_lifted_when_somebody_vouches(tmp_path: Path) -> None:
    with process(*COMMAND, "open", "Ada", "--every", "0.1", folder=tmp_path) as opening:
        opening.wait_for("account-Ada is open, up to 100. Its run ")
        run_id = opening.lines[0].split()[-3]
        assert there(tmp_path) == {"account-Ada": "100"}
        assert run("show", run_id, folder=tmp_path) == (
            0,
            ["onboard is completed", "  onboard:deferred: pending, no result yet"],
        )
        assert run("vouch", "Ada", folder=tmp_path) == (0, ["Ada is known"])
        assert opening.ended() == 0
    assert opening.lines[-1] == "account-Ada is open up to 10000"
    assert run("close", run_id, "--actor", "Bob", "--note", "asked", folder=tmp_path) == (
        0,
        ["rollback clean: 2 undone"],
    )
    assert there(tmp_path) == {"identity-Ada": ""}


def test_past_the_deadline_the_program_says_that_the_limit_stays(tmp_path: Path) -> None:
    code, told = run("open", "Ada", "--every", "0.1", "--deadline", "0.3", folder=tmp_path)
    assert (code, told[-1].partition(":")[0]) == (0, "account-Ada stays at 100")


def test_the_late_result_stands_with_the_run_that_was_long_over(mesh: VirtualMesh, tmp_path: Path) -> None:
    handle = mesh.start(sample.onboard("Ada"))
    opened, over = handle.result(), handle.inspect().ended_at
    assert [child.outcome for child in handle.inspect().children] == [None]
    mesh.advance(timedelta(days=2))
    mesh.restart()
    vouch("Ada")
    mesh.advance(timedelta(hours=1))
    (child,) = handle.inspect().children
    assert (child.run_id, child.outcome, child.result) == (opened.check, "completed", 10_000)
    assert (handle.status(), handle.inspect().ended_at) == ("completed", over)
    assert there(tmp_path)["account-Ada"] == "10000"


def test_after_the_deadline_nothing_is_asked_and_the_account_stays_as_it_was(mesh: VirtualMesh, tmp_path: Path) -> None:
    handle = mesh.start(sample.onboard("Ada", every=24 * 3600))
    check = mesh.handle(handle.result().check)
    with pytest.raises(RunFailed, match="DeadlineExceeded"):
        check.result()
    vouch("Ada")
    mesh.advance(timedelta(days=1))
    (child,) = handle.inspect().children
    assert (child.outcome, handle.status()) == ("failed", "completed")
    assert there(tmp_path)["account-Ada"] == "100"


@pytest.mark.parametrize("known", [False, True])
def test_closing_reaches_the_check_that_waits_and_the_limit_that_was_lifted(
    mesh: VirtualMesh, tmp_path: Path, known: bool
) -> None:
    handle = mesh.start(sample.onboard("Ada"))
    check = mesh.handle(handle.result().check)
    if known:
        vouch("Ada")
        mesh.advance(timedelta(hours=1))
    handle.rollback(actor="Bob", note="she asked for it")
    mesh.drain()
    assert handle.status() == "undone"
    assert check.status() == ("undone" if known else "cancelled")
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "clean"
    vouch("Ada")
    mesh.advance(timedelta(days=31))
    assert list(there(tmp_path)) == ["identity-Ada"]
    mesh.check(handle)
