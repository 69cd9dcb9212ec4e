"""A run is cancelled while its steps are at work on other threads, more than once, and while its worker dies."""

from typing import Any

import pytest

from squidmesh import Handle, RunCancelled
from squidmesh.events import CancelRequested
from tests.processes import flows
from tests.processes.stage import Stage, wait_for


def _cancel(stage: Stage, handle: Handle[Any]) -> None:
    """Cancel it, and wait until its holder has taken notice."""
    handle.cancel()
    store = stage.mesh.connect_engine().store
    wait_for("the request is taken", lambda: not store.inbox(handle.run_id))
    assert any(isinstance(event, CancelRequested) for event in handle.history())


@pytest.mark.parametrize("times", [1, 2])
def test_a_run_that_is_cancelled_again_ends_when_what_is_in_flight_has_settled(stage: Stage, times: int) -> None:
    stage.worker("--threads", "4")
    handle = stage.mesh.start(flows.wait_together(2, "go"))
    stage.begun("chaos_held_up", times=2)
    for _ in range(times):
        _cancel(stage, handle)
    stage.signal("go")
    with pytest.raises(RunCancelled):
        handle.result(timeout=60)
    stage.check([handle])


def test_a_cancelled_run_whose_worker_dies_ends_elsewhere(stage: Stage) -> None:
    first = stage.worker("--threads", "4")
    handle = stage.mesh.start(flows.wait_together(2, "go"))
    stage.begun("chaos_held_up", times=2)
    _cancel(stage, handle)
    stage.worker("--threads", "4")
    stage.kill(first)
    stage.signal("go")
    with pytest.raises(RunCancelled):
        handle.result(timeout=60)
    stage.check([handle])
