"""What is measured of runs."""

from __future__ import annotations

import pytest

from squidmesh import RunFailed
from tests.telemetry.conftest import Traced
from tests.telemetry.shop import PAID, order, simple


def test_runs_attempts_and_rollbacks_are_counted_by_outcome(traced: Traced) -> None:
    for item in range(3):
        traced.mesh.run(simple(item))
    handle = traced.mesh.start(order("o-1"))
    traced.mesh.advance(24 * 3600 + 60)
    handle.signal(PAID)
    traced.mesh.drain()
    handle.approve(actor="eva")
    with pytest.raises(RunFailed):
        handle.result()
    assert traced.measured("squidmesh.runs") == {("simple", "completed"): 3, ("order", "failed"): 1}
    assert traced.measured("squidmesh.rollbacks") == {("order", "failure", "clean"): 1}
    attempts = traced.measured("squidmesh.attempts")
    assert attempts["bill", "failed"] == 2
    assert attempts["send_off", "failed"] == 1
    assert traced.measured("squidmesh.step.duration") == {("set_aside",): 5, ("bill",): 1, ("send_off", "failed"): 1}
    assert traced.measured("squidmesh.sweep.lag") == {("retry",): 2, ("timer",): 1}
    assert traced.measured("squidmesh.queue.wait") == {("run",): 4, ("step",): 2}


def test_open_runs_are_those_of_the_database(traced: Traced) -> None:
    traced.mesh.start(order("o-1"))
    traced.mesh.drain()
    assert traced.measured("squidmesh.runs.open") == {
        ("pending",): 0, ("running",): 0, ("waiting",): 1, ("paused",): 0, ("blocked",): 0, ("undoing",): 0,
    }  # fmt: skip
