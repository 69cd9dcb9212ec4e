"""samples/batch over files of a few hundred lines."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from samples.batch import main as sample
from squidmesh import Handle, Mesh, RunFailed
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh
from tests.worker.processes import process

COMMAND = (sys.executable, "-W", "error", str(Path(__file__).parents[2] / "samples/batch/main.py"))


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMesh]:
    monkeypatch.chdir(tmp_path)
    with VirtualMesh() as mesh:
        yield mesh


def fill(folder: Path, lines: int, wrong: range = range(0)) -> str:
    """A file in which the line of customer n is n cents, but for those that are wrong."""
    path = folder / "payouts.csv"
    path.write_text("".join(f"c{n},{'?' if n in wrong else n}\n" for n in range(1, lines + 1)))
    return str(path)


def links(mesh: Mesh, first: Handle[sample.Progress]) -> list[list[ev.Event]]:
    """The histories of a chain, the oldest first."""
    chain, run_id = list[list[ev.Event]](), str(first.run_id)
    while run_id:
        handle = mesh.handle(run_id)
        chain.append(handle.history())
        run_id = handle.inspect().continued_as or ""
    return chain


def paid(folder: Path) -> int:
    books = folder / "batch_books"
    return len(list(books.iterdir())) if books.exists() else 0


def test_every_line_is_paid_by_a_child_and_the_wrong_ones_are_named(mesh: VirtualMesh, tmp_path: Path) -> None:
    handle = mesh.start(sample.pay_file(fill(tmp_path, 230, range(50, 231, 50)), sample.Progress()))
    assert handle.result() == sample.Progress(
        lines=230, cents=sum(range(231)) - 50 - 100 - 150 - 200, wrong=[50, 100, 150, 200]
    )
    assert handle.published("progress", sample.Progress) == handle.result()
    assert paid(tmp_path) == 226
    assert (tmp_path / "batch_books/7 c7").read_text() == "7\n"
    assert {run.status for run in mesh.list(workflow=sample.pay_line, limit=500)} == {"completed", "failed"}


def test_no_history_grows_with_the_file_and_the_window_is_kept(mesh: VirtualMesh, tmp_path: Path) -> None:
    handle = mesh.start(sample.pay_file(fill(tmp_path, 230), sample.Progress()))
    handle.result()
    chain = links(mesh, handle)
    children = [[event for event in link if isinstance(event, ev.ChildStarted)] for link in chain]
    assert [len(started) for started in children] == [100, 100, 30, 0]
    assert max(map(len, chain)) < 250
    for link in chain:
        assert max(in_flight(link)) <= sample.WINDOW
        assert in_flight(link)[-1] == 0
    assert max(in_flight(chain[0])) == sample.WINDOW


def in_flight(history: list[ev.Event]) -> list[int]:
    """How many children were in flight after each event."""
    counts = [0]
    for event in history:
        counts.append(counts[-1] + isinstance(event, ev.ChildStarted) - isinstance(event, ev.ChildEnded))
    return counts


def test_a_page_with_too_many_wrong_lines_ends_it_and_what_was_paid_is_struck_out(
    mesh: VirtualMesh, tmp_path: Path
) -> None:
    handle = mesh.start(sample.pay_file(fill(tmp_path, 230, range(130, 150)), sample.Progress()))
    with pytest.raises(RunFailed, match="invalid literal"):
        handle.result()
    assert (tmp_path / "batch_books").exists()
    assert paid(tmp_path) == 0, "those of the page before, too"


def test_killed_between_lines_it_pays_each_of_them_once(mesh: VirtualMesh, tmp_path: Path) -> None:
    with mesh.crash_at(sample.book, "attempt") as crash:
        handle = mesh.start(sample.pay_file(fill(tmp_path, 120), sample.Progress()))
        assert handle.result().cents == sum(range(121))
    assert crash.happened == 1
    assert paid(tmp_path) == 120
    assert len(list(mesh.list(workflow=sample.pay_line, limit=500))) == 120


def test_interrupted_it_says_how_to_go_on_and_goes_on_at_once(tmp_path: Path) -> None:
    command = (*COMMAND, fill(tmp_path, 300), "--key", "march")
    with process(*command, folder=tmp_path) as interrupted:
        interrupted.wait_for("   100 lines")
        interrupted.send(signal.SIGINT)
        assert interrupted.ended() == 130
    assert interrupted.lines[-1] == "interrupted; started again with the same --key it goes on"
    with process(*command, folder=tmp_path) as again:
        assert again.ended(100) == 0, "\n".join(again.lines)
    assert f"300 lines, {sum(range(301))} cents, in 4 links" in again.lines[-2]
    assert again.lines[-1] == "wrong: none"
    assert paid(tmp_path) == 300


def test_a_file_that_is_none_fails_the_run_and_says_so(tmp_path: Path) -> None:
    with process(*COMMAND, "nowhere.csv", folder=tmp_path) as program:
        assert program.ended() == 1
    assert "nowhere.csv" in program.lines[-1]
    assert not any("Traceback" in line for line in program.lines)
