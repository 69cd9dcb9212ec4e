"""What has ended long enough ago goes: whole trees, archived first if asked; nothing that comes late brings it back."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from squidmesh import (
    Every,
    Flow,
    Handle,
    KeyConflict,
    Pruned,
    RunNotFound,
    Signal,
    WorkflowError,
    continue_as_new,
    step,
    workflow,
)
from squidmesh.core.events import RunStarted
from squidmesh.engine.retention import QUIET
from squidmesh.engine.start import begin, new_run
from squidmesh.testing import VirtualMesh

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GO = Signal("go")


class Refused(WorkflowError): ...


@step(name="kept.doubled")
def doubled(n: int) -> int:
    return 2 * n


@workflow(name="kept.pays")
def pays(n: int = 1, fails: bool = False) -> Flow[int]:
    paid = yield from doubled(n)
    if fails:
        raise Refused("no")
    return paid


@workflow(name="kept.waits")
def waits() -> Flow[bool]:
    return (yield from GO.wait())


@workflow(name="kept.opens")
def opens(door: str, password: SecretStr) -> Flow[SecretStr]:
    yield from doubled(len(door))
    return password


@workflow(name="kept.asks_another")
def asks_another(n: int) -> Flow[int]:
    return (yield from pays(n))


@workflow(name="kept.counts_down")
def counts_down(n: int) -> Flow[int]:
    yield from doubled(n)
    if n:
        yield from continue_as_new(counts_down(n - 1))
    yield from GO.wait()
    return n


def a_child(mesh: VirtualMesh, parent: Handle[Any], name: str = "kept.pays") -> Handle[Any]:
    """A run of this workflow with that parent, as an engine would start it."""
    engine = mesh.connect_engine()
    told = RunStarted(
        at=engine.clock.now(), workflow=name, version=1, input={}, interpreter_version=1, parent=parent.run_id
    )
    (run_id,) = begin(engine, [new_run(told)])
    return mesh.handle(run_id)


def ended(mesh: VirtualMesh, *args: Any, **wish: Any) -> Handle[int]:
    handle = mesh.start(pays(*args), **wish)
    mesh.drain()
    return handle


def left(mesh: VirtualMesh) -> set[str]:
    return {run.run_id for run in mesh.list()}


# ---------------------------------------------------------------------------------------------------- what goes


def test_runs_go_that_ended_so_long_ago_and_the_others_stay(mesh: VirtualMesh) -> None:
    old = ended(mesh)
    mesh.advance(HOUR)
    young, going_on = ended(mesh), mesh.start(waits())
    mesh.drain()
    assert mesh.prune(older_than=MINUTE) == Pruned(runs=1, trees=1)
    assert left(mesh) == {young.run_id, going_on.run_id}
    with pytest.raises(RunNotFound, match="pruned"):
        old.result()
    assert mesh.prune(older_than=mesh.now + MINUTE).runs == 1
    assert left(mesh) == {going_on.run_id}


def test_only_the_statuses_and_workflows_asked_for_go(mesh: VirtualMesh) -> None:
    done, failed, other = ended(mesh), ended(mesh, 1, True), mesh.start(waits())
    mesh.drain()
    other.cancel()
    mesh.drain()
    assert mesh.prune(older_than=0, workflow=waits, status=["completed", "failed"]).runs == 0
    assert mesh.prune(older_than=mesh.now + MINUTE, status="failed").runs == 1
    assert left(mesh) == {done.run_id, other.run_id}
    assert mesh.prune(older_than=mesh.now + MINUTE, workflow=waits).runs == 1
    assert left(mesh) == {done.run_id}
    assert failed.run_id not in left(mesh)


def test_a_limit_takes_the_oldest_and_a_dry_run_takes_nothing(mesh: VirtualMesh) -> None:
    handles = [ended(mesh, n) for n in range(40)]
    mesh.advance(HOUR)
    assert mesh.prune(older_than=MINUTE, dry_run=True, archive="/nowhere/at/all") == Pruned(40, 40, dry_run=True)
    assert mesh.prune(older_than=MINUTE, limit=30, pace=1).runs == 30
    assert left(mesh) == {handle.run_id for handle in handles[30:]}


def test_a_tree_goes_when_all_of_it_has_ended_and_is_as_old_as_its_youngest_end(mesh: VirtualMesh) -> None:
    parent = ended(mesh)
    child = a_child(mesh, parent, "kept.waits")
    mesh.advance(HOUR)
    assert mesh.prune(older_than=MINUTE).runs == 0
    child.signal(GO)
    grandchild = a_child(mesh, child)
    mesh.drain()
    assert mesh.prune(older_than=MINUTE).runs == 0
    mesh.advance(HOUR)
    assert mesh.prune(older_than=MINUTE, dry_run=True) == Pruned(3, 1, dry_run=True)
    assert mesh.prune(older_than=MINUTE) == Pruned(3, 1)
    for gone in (parent, child, grandchild):
        with pytest.raises(RunNotFound):
            gone.status()


def test_a_child_does_not_go_before_its_root(mesh: VirtualMesh) -> None:
    parent = mesh.start(waits())
    child = a_child(mesh, parent)
    mesh.drain()
    mesh.advance(HOUR)
    assert child.status() == "completed"
    assert mesh.prune(older_than=MINUTE, status="completed").runs == 0
    assert mesh.prune(older_than=MINUTE, workflow=pays).runs == 0


def test_a_run_goes_with_the_children_that_it_called(mesh: VirtualMesh) -> None:
    assert mesh.run(asks_another(2)) == 4
    mesh.advance(HOUR)
    assert mesh.prune(older_than=MINUTE, workflow=pays).runs == 0
    assert mesh.prune(older_than=MINUTE, workflow=asks_another) == Pruned(2, 1)
    assert left(mesh) == set()


def test_runs_that_continue_one_another_go_together_when_the_newest_has_ended(mesh: VirtualMesh) -> None:
    handle = mesh.start(counts_down(2), key="count")
    mesh.advance(HOUR)
    assert mesh.prune(older_than=MINUTE).runs == 0
    handle.signal(GO)
    assert handle.result() == 0
    mesh.advance(HOUR)
    assert mesh.prune(older_than=MINUTE, status="completed") == Pruned(3, 1)
    assert left(mesh) == set()
    assert mesh.find("count") is None


def test_nonsense_is_refused_by_name(mesh: VirtualMesh) -> None:
    for given, told in (
        ({}, "retention"),
        ({"older_than": -1}, "older_than"),
        ({"older_than": 1, "status": "running"}, "status"),
        ({"older_than": 1, "limit": 0}, "limit"),
        ({"older_than": 1, "pace": 0}, "pace"),
        ({"older_than": 1, "pace": 1.5}, "pace"),
    ):
        with pytest.raises(ValueError, match=told):
            mesh.prune(**given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit"):
        mesh.export(io.StringIO(), limit=0)


# ------------------------------------------------------------------------------------------ nothing brings it back


def test_a_key_of_a_pruned_run_starts_a_new_run(mesh: VirtualMesh) -> None:
    old = ended(mesh, 1, key="order-1")
    with pytest.raises(KeyConflict):
        mesh.start(pays(2), key="order-1")
    mesh.advance(HOUR)
    mesh.prune(older_than=MINUTE)
    assert mesh.find("order-1") is None
    new = mesh.start(pays(2), key="order-1")
    assert new.run_id != old.run_id
    assert new.result() == 4
    with pytest.raises(RunNotFound):
        old.result()


def test_a_run_that_is_pruned_while_its_key_is_looked_up_is_started_anew(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(mesh, 1, key="order-1")
    mesh.advance(HOUR)
    store = mesh.connect_engine().store
    for name in ("run_by_key", "history"):
        with monkeypatch.context() as patch:
            asked = getattr(store, name)

            def first_prune(*args: Any, asked: Callable[..., Any] = asked, **more: Any) -> Any:
                mesh.prune(older_than=MINUTE)
                return asked(*args, **more)

            patch.setattr(store, name, first_prune)
            new = mesh.start(pays(3), key="order-1")
        assert new.result() == 6
        mesh.advance(HOUR)


def test_everything_that_is_asked_of_a_pruned_run_is_not_found(mesh: VirtualMesh) -> None:
    handle = ended(mesh)
    mesh.advance(HOUR)
    mesh.prune(older_than=MINUTE)
    by = {"actor": "ann", "note": "why"}
    for ask in (
        handle.status, handle.result, handle.inspect, handle.explain, handle.history, handle.cancel,
        lambda: handle.signal(GO), lambda: handle.rollback(**by), lambda: handle.rollback(dry_run=True),  # type: ignore[arg-type]
        lambda: handle.rerun(**by), lambda: handle.approve(actor="ann"), lambda: handle.terminate(**by),  # type: ignore[arg-type]
        lambda: handle.undo_mark_done("kept.doubled", **by), lambda: mesh.signal(handle.run_id, GO),
        lambda: mesh.handle(handle.run_id),
    ):  # fmt: skip
        with pytest.raises(RunNotFound, match="pruned"):
            ask()
    with mesh.engine.connect() as connection:
        for table in ("runs", "history", "inbox", "tasks", "joins"):
            assert connection.execute(text(f"SELECT count(*) FROM squidmesh_{table}")).scalar() == 0


def test_a_tick_whose_run_was_pruned_stays_run(mesh: VirtualMesh) -> None:
    start = mesh.now
    schedule = mesh.schedule("hourly", Every(HOUR), pays(1), start=start)
    mesh.advance(3 * HOUR + MINUTE)
    before = schedule.ticks()
    assert mesh.prune(older_than=0).runs == len(before) == 4
    assert schedule.ticks() == before
    again = schedule.backfill(start, mesh.now)
    assert [handle.run_id for handle in again] == [tick.run_id for tick in before]
    with pytest.raises(RunNotFound):
        again[0].status()
    mesh.drain()
    assert left(mesh) == set()


def test_a_schedule_goes_on_that_met_a_pruned_run(mesh: VirtualMesh) -> None:
    mesh.schedule("hourly", Every(HOUR), pays(1), overlap="skip", start=mesh.now + HOUR)
    mesh.advance(HOUR + MINUTE)
    mesh.prune(older_than=1)
    mesh.advance(HOUR)
    assert [tick.outcome for tick in mesh.schedules()[0].ticks()] == ["started", "started"]


# ---------------------------------------------------------------------------------------------------- the archive


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_goes_is_written_away_first_whole_trees_together(mesh: VirtualMesh, tmp_path: Path) -> None:
    parent = ended(mesh, 3, key="order-1", attributes={"shop": "x"})
    mesh.advance(1)
    alone = ended(mesh)
    child = a_child(mesh, parent)
    mesh.drain()
    kinds = [event.kind for event in parent.history()]
    mesh.advance(HOUR)
    assert mesh.prune(older_than=MINUTE, archive=tmp_path / "runs.jsonl") == Pruned(3, 2, archived=3)
    told = lines_of(tmp_path / "runs.jsonl")
    assert [line["run"]["run_id"] for line in told] == [parent.run_id, child.run_id, alone.run_id]
    first = told[0]
    assert first["schema_version"] == 1
    assert (first["run"]["key"], first["run"]["attributes"], first["run"]["status"]) == (
        "order-1", {"shop": "x"}, "completed"
    )  # fmt: skip
    assert told[1]["run"]["parent"] == parent.run_id
    assert [event["kind"] for event in first["history"]] == kinds
    assert first["history"][0]["input"] == {"n": 3, "fails": False}
    assert first["history"][-1]["result"] == 6
    assert (tmp_path / "runs.jsonl").stat().st_mode & 0o077 == 0


def test_export_writes_the_same_lines_and_deletes_nothing(mesh: VirtualMesh, tmp_path: Path) -> None:
    handles = [ended(mesh, n, n == 3) for n in range(40)]
    mesh.start(waits())
    mesh.advance(HOUR)
    exported = io.StringIO()
    assert mesh.export(exported, older_than=MINUTE) == 40
    assert mesh.export(tmp_path / "all.jsonl") == 41
    assert mesh.export(io.BytesIO(), status="failed") == 1
    assert mesh.export(io.BytesIO(), workflow=waits, limit=5) == 1
    assert len(left(mesh)) == 41
    mesh.prune(older_than=MINUTE, archive=tmp_path / "gone.jsonl", pace=1)
    gone = (tmp_path / "gone.jsonl").read_text().splitlines()
    assert sorted(exported.getvalue().splitlines()) == sorted(gone)
    assert exported.getvalue().splitlines()[0] == next(line for line in gone if handles[-1].run_id in line)


def test_secrets_are_masked_unless_they_are_asked_for(mesh: VirtualMesh) -> None:
    mesh.run(opens("front", SecretStr("open sesame")))
    masked, plain = io.StringIO(), io.StringIO()
    mesh.export(masked)
    mesh.export(plain, secrets=True)
    assert "sesame" not in masked.getvalue()
    assert json.loads(masked.getvalue())["history"][0]["input"] == {"door": "front", "password": "**********"}
    assert json.loads(plain.getvalue())["history"][-1]["result"] == {"$secret": "open sesame"}


class Killed(BaseException):
    """The process is gone."""


def test_whoever_is_killed_between_archive_and_deletion_has_lost_nothing(
    mesh: VirtualMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = {ended(mesh, n).run_id for n in range(20)}
    mesh.advance(HOUR)
    store, file, calls = mesh.connect_engine().store, tmp_path / "runs.jsonl", 0
    prune = store.prune

    def killed_before_the_second(trees: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return prune(trees)

    with monkeypatch.context() as patch:
        patch.setattr(store, "prune", killed_before_the_second)
        with pytest.raises(Killed):
            mesh.prune(older_than=MINUTE, archive=file)
    archived = [line["run"]["run_id"] for line in lines_of(file)]
    assert left(mesh)
    assert left(mesh) <= set(archived)
    assert set(archived) | left(mesh) == handles
    mesh.prune(older_than=MINUTE, archive=file)
    again = [line["run"]["run_id"] for line in lines_of(file)]
    assert set(again) == handles
    assert len(again) > len(handles)
    assert left(mesh) == set()


def test_nothing_is_deleted_before_its_line_is_on_disk(
    mesh: VirtualMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(mesh)
    mesh.advance(HOUR)
    said: list[str] = []
    store, sync = mesh.connect_engine().store, os.fsync
    prune = store.prune
    monkeypatch.setattr(os, "fsync", lambda number: (said.append("sync"), sync(number))[1])
    monkeypatch.setattr(store, "prune", lambda trees: (said.append("prune"), prune(trees))[1])
    file = tmp_path / "runs.jsonl"
    file.touch()
    mesh.prune(older_than=MINUTE, archive=file)
    assert said == ["sync", "prune"]


def test_an_archive_that_cannot_be_written_keeps_every_run(mesh: VirtualMesh) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError("no space left")

    handle = ended(mesh)
    mesh.advance(HOUR)
    with pytest.raises(OSError, match="no space"):
        mesh.prune(older_than=MINUTE, archive=Full())
    assert handle.result() == 2


def test_a_line_that_was_torn_is_taken_away_when_the_file_is_written_to_again(
    mesh: VirtualMesh, tmp_path: Path
) -> None:
    file = tmp_path / "runs.jsonl"
    ended(mesh)
    mesh.export(file)
    whole = file.read_bytes()
    for torn in (whole[:-1], whole[:5], b'{"schema_version":1,"run":"' + b"x" * 200_000):
        file.write_bytes(whole + torn)
        mesh.export(file)
        assert file.read_bytes() == whole + whole
    file.write_bytes(whole[:-1])
    mesh.export(file)
    assert file.read_bytes() == whole


def test_a_file_that_is_no_archive_is_left_alone(mesh: VirtualMesh, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Ann,\nyours")
    handle = ended(mesh)
    with pytest.raises(ValueError, match="no archive"):
        mesh.prune(older_than=mesh.now + HOUR, archive=file)
    assert file.read_text() == "Dear Ann,\nyours"
    assert handle.status() == "completed"


def test_an_archive_is_written_to_a_pipe_too(mesh: VirtualMesh) -> None:
    ended(mesh)
    mesh.advance(HOUR)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        assert mesh.prune(older_than=MINUTE, archive=pipe, vacuum=True).archived == 1
    with os.fdopen(reading) as pipe:
        assert json.loads(pipe.read())["run"]["status"] == "completed"


# ------------------------------------------------------------------------------------------------------ the policy


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Any:
    return "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")


def test_workers_prune_what_is_older_than_the_mesh_keeps(url: str) -> None:
    with VirtualMesh(url, retention=DAY) as mesh:
        handles = [ended(mesh, n) for n in range(30)]
        mesh.advance(HOUR)
        young = ended(mesh)
        assert len(left(mesh)) == 31
        mesh.advance(DAY - HOUR + MINUTE)
        for _ in range(5):
            mesh.advance(QUIET)
        assert left(mesh) == {young.run_id}
        with pytest.raises(RunNotFound):
            handles[0].status()


def test_each_status_may_be_kept_for_a_time_of_its_own(url: str) -> None:
    with VirtualMesh(url, retention={"completed": HOUR}) as mesh:
        ended(mesh)
        failed = ended(mesh, 1, True)
        mesh.advance(DAY)
        mesh.advance(QUIET)
        assert left(mesh) == {failed.run_id}


def test_a_mesh_that_was_told_nothing_keeps_everything(mesh: VirtualMesh) -> None:
    handle = ended(mesh)
    mesh.advance(10_000 * DAY)
    mesh.advance(QUIET)
    assert handle.result() == 2


def test_a_person_prunes_by_the_policy_without_an_age(url: str) -> None:
    with VirtualMesh(url, retention={"completed": DAY}) as mesh:
        ended(mesh)
        mesh.sleep_through(2 * DAY)
        assert mesh.prune(status="failed").runs == 0
        assert mesh.prune().runs == 1


def test_a_sweep_prunes_a_batch_at_most_and_then_rests(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with VirtualMesh(url, retention=DAY) as mesh:
        for n in range(40):
            ended(mesh, n)
        mesh.sleep_through(2 * DAY)
        worker, batches = mesh.worker_now, list[int]()
        store = worker.engine.store
        prune = store.prune
        monkeypatch.setattr(store, "prune", lambda trees: (batches.append(len(trees)), prune(trees))[1])
        worker.sweep()
        worker.sweep()
        assert batches == [16]
        mesh.advance(QUIET)
        mesh.advance(QUIET)
        assert sum(batches) == 40
        assert left(mesh) == set()
