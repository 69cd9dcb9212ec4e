"""samples/nightly: nights that are slept through, nights in which clocks jump, and nights of the past."""

from __future__ import annotations

import signal
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from samples.nightly import main as sample
from squidmesh.testing import VirtualMesh
from tests.worker.processes import process

MAIN = str(Path(__file__).parents[2] / "samples/nightly/main.py")
NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)  # clocks go ahead in Sofia on the 29th, at three


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    with VirtualMesh(workflows=[sample.pack_the_day, sample.watch_size], now=NOON) as mesh:
        yield mesh


def log(folder: Path, day: date, *names: str) -> None:
    for name in names:
        (folder / f"{day}-{name}.log").write_text(f"{day} {name}\n")


def there(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_every_night_packs_the_day_before(mesh: VirtualMesh, tmp_path: Path) -> None:
    log(tmp_path, date(2026, 3, 27), "web", "mail")
    log(tmp_path, date(2026, 3, 28), "web")
    schedule = sample.nightly(mesh, str(tmp_path))
    mesh.advance(timedelta(days=1))
    assert there(tmp_path) == ["2026-03-27.zip", "2026-03-28-web.log"]
    assert zipfile.ZipFile(tmp_path / "2026-03-27.zip").namelist() == ["2026-03-27-mail.log", "2026-03-27-web.log"]
    mesh.advance(timedelta(days=1))
    assert there(tmp_path) == ["2026-03-27.zip", "2026-03-28.zip"]
    assert [tick.outcome for tick in schedule.ticks()] == ["started", "started"]


@pytest.mark.parametrize("expression", ["0 2 * * *", "30 3 * * *"])
def test_a_night_in_which_clocks_jump_is_packed_once(mesh: VirtualMesh, tmp_path: Path, expression: str) -> None:
    schedule = sample.nightly(mesh, str(tmp_path), expression)
    mesh.advance(timedelta(days=4))
    days = [mesh.handle(tick.run_id or "").result().day.day for tick in schedule.ticks()]
    assert days == [27, 28, 29, 30]


def test_nights_that_were_slept_through_are_each_caught_up(mesh: VirtualMesh, tmp_path: Path) -> None:
    days = [date(2026, 3, 27) + timedelta(days=n) for n in range(5)]
    for day in days:
        log(tmp_path, day, "web")
    sample.nightly(mesh, str(tmp_path))
    mesh.sleep_through(timedelta(days=5))
    mesh.drain()
    mesh.advance(61)  # the jitter
    assert there(tmp_path) == [f"{day}.zip" for day in days]


def test_a_folder_that_is_too_large_is_warned_of_once_while_the_run_that_warned_is_open(
    mesh: VirtualMesh, tmp_path: Path
) -> None:
    log(tmp_path, date(2026, 3, 27), "web")
    schedule = sample.watchful(mesh, str(tmp_path), most=1)
    mesh.advance(timedelta(hours=11))
    assert len((tmp_path / "warnings.txt").read_text().splitlines()) == 1
    assert {tick.outcome for tick in schedule.ticks()} == {"started", "skipped"}
    mesh.advance(timedelta(hours=2))
    assert len((tmp_path / "warnings.txt").read_text().splitlines()) == 2


def test_what_was_not_watched_while_nothing_was_up_is_not_caught_up(mesh: VirtualMesh, tmp_path: Path) -> None:
    schedule = sample.watchful(mesh, str(tmp_path))
    mesh.sleep_through(timedelta(hours=5, minutes=2))
    mesh.advance(601)
    outcomes = [str(tick.outcome) for tick in schedule.ticks()]
    assert outcomes.count("started") == 2
    assert set(outcomes) == {"started", "missed"}


def test_old_archives_go(mesh: VirtualMesh, tmp_path: Path) -> None:
    for day in ("2026-01-01", "2026-02-25", "2026-02-26"):
        (tmp_path / f"{day}.zip").write_bytes(b"")
    mesh.run(sample.pack_the_day(str(tmp_path), "UTC"))
    assert there(tmp_path) == ["2026-02-25.zip", "2026-02-26.zip"]


def test_packed_again_it_changes_nothing(tmp_path: Path) -> None:
    log(tmp_path, date(2026, 3, 27), "web", "mail")
    first = sample.pack.fn(str(tmp_path), date(2026, 3, 27))
    assert sample.pack.fn(str(tmp_path), date(2026, 3, 27)) == first == sample.Packed(day=date(2026, 3, 27), files=2)


def test_the_program_packs_past_days_once_and_says_when_the_next_are(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    today = datetime.now(UTC).date()
    log(logs, today - timedelta(days=3), "web", "mail")
    since = str(today - timedelta(days=3))
    for _ in range(2):
        with process(sys.executable, MAIN, str(logs), "--tz", "UTC", "--since", since, folder=tmp_path) as program:
            program.wait_for("next: ")
            told = [line for line in program.lines if line.endswith(" files")]
            program.send(signal.SIGINT)
            assert program.ended() == 0
        assert f"{today - timedelta(days=3)}: 2 files" in told
        assert there(logs) == [f"{today - timedelta(days=3)}.zip"]
    with process(sys.executable, MAIN, str(logs), "--when", "0 0 31 2 *", folder=tmp_path) as program:
        assert program.ended() == 1
    assert "never fires" in program.lines[-1]
