"""Undos that belong to another queue than the one their run is driven on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from squidmesh import Flow, Retry, RunFailed, WorkflowError, context, step, workflow
from squidmesh.core import events as ev
from squidmesh.engine.worker import Worker
from squidmesh.ports import Bell, BellKind
from squidmesh.testing import VirtualMesh

undone: list[tuple[str, int]] = []
trouble: list[Exception] = []


@step(queue="undo_far", undo_retry=Retry(max_attempts=2, initial=1))
def far_away(x: int) -> int:
    return x


@far_away.undo
def far_back(result: int, x: int) -> None:
    undone.append((context().key.rpartition(":")[0].rpartition(":")[2], context().attempt))
    if trouble:
        raise trouble.pop()


@step(undo=None)
def far_near(x: int) -> int:
    return x


@far_near.undo
def far_near_back(result: int, x: int) -> None:
    undone.append((context().key.rpartition(":")[0].rpartition(":")[2], context().attempt))


@workflow
def far_and_near() -> Flow[None]:
    yield from far_near(1)
    yield from far_away(2)
    yield from far_near(3)
    raise WorkflowError("late")


def alone(mesh: VirtualMesh, queue: str) -> Worker:
    worker = Worker(mesh.connect_engine(), queues=[queue], threads=1)
    worker.enter()
    return worker


def until_idle(handle_id: str, here: Worker, there: Worker) -> None:
    for _ in range(10):
        here.serve(Bell(BellKind.ADVANCE, "default", handle_id), float("inf"))
        there.serve(Bell(BellKind.ATTEMPTS, "undo_far", handle_id), float("inf"))


def test_an_undo_goes_to_the_queue_of_its_step_and_the_walk_goes_on_behind_it(mesh: VirtualMesh) -> None:
    undone.clear()
    handle = mesh.start(far_and_near())
    here, there = alone(mesh, "default"), alone(mesh, "undo_far")
    until_idle(handle.run_id, here, there)
    with pytest.raises(RunFailed) as failed:
        handle.result()
    assert failed.value.rollback.outcome == "clean"
    assert undone == [("3", 1), ("2", 1), ("1", 1)]
    started = [event for event in handle.history() if isinstance(event, ev.UndoStarted)]
    assert [event.worker for event in started] == [here.id, there.id, here.id]


def test_an_undo_elsewhere_is_tried_again_there_when_it_failed(mesh: VirtualMesh) -> None:
    undone.clear()
    trouble.append(ValueError("not now"))
    handle = mesh.start(far_and_near())
    here, there = alone(mesh, "default"), alone(mesh, "undo_far")
    until_idle(handle.run_id, here, there)
    assert handle.status() == "undoing"
    mesh._clock.set(mesh._clock.now() + 2_000_000)
    until_idle(handle.run_id, here, there)
    assert handle.status() == "failed"
    assert undone == [("3", 1), ("2", 1), ("2", 2), ("1", 1)]


def test_an_undo_elsewhere_whose_worker_died_is_called_again_under_the_same_key(mesh: VirtualMesh) -> None:
    undone.clear()
    handle = mesh.start(far_and_near())
    here, dead = alone(mesh, "default"), alone(mesh, "undo_far")
    for _ in range(6):
        here.serve(Bell(BellKind.ADVANCE, "default", handle.run_id), float("inf"))
        if not any(isinstance(event, ev.RollbackPlanned) for event in handle.history()):
            dead.serve(Bell(BellKind.ATTEMPTS, "undo_far", handle.run_id), float("inf"))
    store = mesh.connect_engine().store
    (claimed,) = store.claim_tasks(dead.id, "undo_far", dead.can, 1)
    here.cache.clear()  # and the holder of the run is another one by then
    mesh._clock.set(mesh._clock.now() + round(timedelta(seconds=16).total_seconds() * 1e6))
    here, there = alone(mesh, "default"), alone(mesh, "undo_far")
    here.sweep()
    until_idle(handle.run_id, here, there)
    assert handle.status() == "failed"
    assert claimed.position == "2:undo"
    assert undone == [("3", 1), ("2", 2), ("1", 1)]
    lost = [event for event in handle.history() if isinstance(event, ev.UndoFailed)]
    assert [(event.entry, event.reason) for event in lost] == [("2", "lost")]
