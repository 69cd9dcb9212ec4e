"""A run that is ending waits for attempts in flight, but not for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest

from squidmesh import Flow, RunCancelled, gather, step, workflow
from squidmesh.ports import Capability
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds


@step(queue="slow", name="drains slowly")
def slow(n: int) -> int:
    return n


@workflow
def slow_together() -> Flow[list[int]]:
    return (yield from gather([slow(1), slow(2)]))


def test_after_the_drain_timeout_what_hangs_is_waited_for_no_more(mesh: VirtualMesh) -> None:
    store = mesh.connect_engine().store
    can = Capability(("slow",), (("slow_together", 1),), ("drains slowly",))
    store.register("hanging", "elsewhere", 1, can, lease=10_000)
    handle = mesh.start(slow_together())
    mesh.worker_now._queues = ("default",)
    mesh.worker_now._can = None
    mesh.drain()
    (claimed,) = store.claim_tasks("hanging", "slow", can, 1)
    handle.cancel(note="enough")
    mesh.drain()
    assert handle.status() == "undoing"
    assert kinds(handle).count("StepCancelled") == 1  # the one that nobody had begun
    mesh.advance(timedelta(seconds=599))
    assert handle.status() == "undoing"
    mesh.advance(2)
    with pytest.raises(RunCancelled):
        handle.result()
    told = kinds(handle)
    assert told[told.index("AttemptLost") :][:2] == ["AttemptLost", "StepFailed"]
    assert told[-1] == "RunCancelled"
    rollback = handle.inspect().rollback
    assert rollback is not None
    assert [entry.position for entry in rollback.unaccounted] == [claimed.position]
    assert not store.checkpoint(handle.run_id, claimed.position, "hanging", claimed.number, "1")


def test_what_was_under_way_when_a_run_was_terminated_is_accounted_for_by_a_later_rollback(mesh: VirtualMesh) -> None:
    store = mesh.connect_engine().store
    can = Capability(("slow",), (("slow_together", 1),), ("drains slowly",))
    store.register("hanging", "elsewhere", 1, can, lease=10_000)
    handle = mesh.start(slow_together())
    mesh.worker_now._queues = ("default",)
    mesh.worker_now._can = None
    mesh.drain()
    (claimed,) = store.claim_tasks("hanging", "slow", can, 1)
    handle.terminate(actor="ann", note="enough")
    mesh.drain()
    assert handle.status() == "terminated"
    steps = {step.position: step.status for step in handle.inspect().steps}
    assert steps.pop(claimed.position) == "failed"  # what it did is not known
    assert "failed" not in steps.values()  # nobody had begun the other
    handle.rollback(actor="ann", note="after all")
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "partial"
    assert [entry.position for entry in report.unaccounted] == [claimed.position]
    assert handle.status() == "terminated"
    mesh.check(handle)
