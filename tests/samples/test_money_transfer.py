"""samples/money_transfer: its storm as its README starts it, and its transfers one by one, on both databases."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, insert, select

from samples.money_transfer import transfers as sample
from squidmesh import RunFailed
from squidmesh.testing import VirtualMesh
from tests.worker.processes import process

SAMPLE = Path(__file__).parents[2] / "samples/money_transfer/main.py"


@pytest.fixture(params=["sqlite", "postgres and redis"])
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "sqlite":
        return {"SQUIDMESH_DATABASE_URL": request.getfixturevalue("empty_sqlite_url")}
    return {
        "SQUIDMESH_DATABASE_URL": request.getfixturevalue("empty_postgres_url"),
        "SQUIDMESH_BROKER_URL": request.getfixturevalue("redis_url"),
    }


def test_under_kill_9_every_account_has_what_its_completed_transfers_gave_and_took(
    environ: dict[str, str], tmp_path: Path
) -> None:
    command = (sys.executable, str(SAMPLE), "--seconds", "4", "--seed", "3")
    with process(*command, folder=tmp_path, **environ) as storm:
        try:
            code = storm.ended(100)
        except BaseException:
            storm.stop()  # and its workers with it
            raise
    assert code == 0, "\n".join(storm.lines)
    kills = [line for line in storm.lines if "kill -9" in line]
    assert len(kills) >= 2
    assert all(line.endswith("in all accounts 12,000.00") for line in kills)
    assert any("transfers completed" in line for line in storm.lines)
    assert storm.lines[-1] == "every account has what its completed transfers gave and took"
    engine = create_engine(environ["SQUIDMESH_DATABASE_URL"])
    with engine.connect() as db:
        assert db.scalar(select(func.sum(sample.accounts.c.cents))) == 1_200_000
    engine.dispose()


@pytest.fixture
def mesh(empty_database_url: str) -> Iterator[VirtualMesh]:
    with VirtualMesh(empty_database_url) as mesh:
        with mesh.engine.begin() as db:
            sample.metadata.create_all(db)
            db.execute(insert(sample.accounts), [{"name": name, "cents": 1_000} for name in ("A", "B")])
        yield mesh


def cents(mesh: VirtualMesh) -> dict[str, int]:
    with mesh.engine.connect() as db:
        return dict(db.execute(select(sample.accounts.c.name, sample.accounts.c.cents)).all())


def test_what_the_fraud_desk_likes_is_moved(mesh: VirtualMesh) -> None:
    mesh.run(sample.transfer("A", "B", 301))
    assert cents(mesh) == {"A": 699, "B": 1_301}


def test_what_it_does_not_like_is_moved_back_and_the_transfer_is_one_entry_of_the_report(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed) as failed:
        mesh.run(sample.transfer("A", "B", 300))
    assert failed.value.failure.matches(sample.Refused)
    assert failed.value.rollback.outcome == "clean"
    assert [(entry.kind, entry.step) for entry in failed.value.rollback.undone] == [("transaction", "move")]
    assert cents(mesh) == {"A": 1_000, "B": 1_000}


def test_what_is_not_there_is_not_moved_and_nothing_is_left_to_undo(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed) as failed:
        mesh.run(sample.transfer("A", "B", 1_001))
    assert failed.value.failure.matches(sample.NotEnough)
    assert failed.value.rollback is None or not failed.value.rollback.undone
    assert cents(mesh) == {"A": 1_000, "B": 1_000}


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
@pytest.mark.parametrize("asked", [300, 301])
@pytest.mark.parametrize("deaths", [1, 3])
def test_however_often_its_worker_dies_the_money_is_moved_once_or_not_at_all(
    mesh: VirtualMesh, deaths: int, asked: int, lose: str
) -> None:
    handle = mesh.start(sample.transfer("A", "B", asked))
    for _ in range(deaths):
        mesh.restart(lose=lose)
        assert sum(cents(mesh).values()) == 2_000
    mesh.advance(3_600)
    assert handle.status() == ("completed" if asked == 301 else "failed")
    assert cents(mesh) == ({"A": 699, "B": 1_301} if asked == 301 else {"A": 1_000, "B": 1_000})
    mesh.check(handle)
