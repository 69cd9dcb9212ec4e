"""A worker process is killed with SIGKILL: wherever it was, what it held goes on elsewhere, under the same keys."""

import random
import time

import pytest

from squidmesh import RunFailed
from squidmesh.events import AttemptLost, AttemptStarted, StepFailed
from tests.processes import flows
from tests.processes.stage import LEASE, SWEEP, Stage, wait_for

SLACK = 6.0  # seconds that a busy machine may take for what is no waiting at all


def test_a_run_goes_on_within_the_lease_and_two_sweeps(stage: Stage) -> None:
    first = stage.worker()
    handle = stage.mesh.start(flows.waits("go"))
    (before,) = stage.begun("chaos_held_up")
    second = stage.worker()
    killed = stage.kill(first)
    _, after = stage.begun("chaos_held_up", times=2)
    took = time.monotonic() - killed
    stage.signal("go")
    assert handle.result(timeout=60) == [second.pid]
    assert (before.attempt, before.pid, after.attempt, after.pid) == (1, first.pid, 2, second.pid)
    assert after.key == before.key
    lost = [event for event in handle.history() if isinstance(event, AttemptLost)]
    assert [(event.position, event.number) for event in lost] == [("1", 1)]
    assert took < LEASE + 2 * SWEEP + SLACK
    stage.check([handle])


@pytest.mark.parametrize("asynchronous", [False, True], ids=["threads", "async"])
def test_fifty_attempts_side_by_side_go_on_elsewhere(stage: Stage, asynchronous: bool) -> None:
    first = stage.worker("--threads", "50")
    handle = stage.mesh.start(flows.wait_together(50, "go", asynchronous))
    step = "chaos_held_up_async" if asynchronous else "chaos_held_up"
    stage.begun(step, times=50)
    second = stage.worker("--threads", "50")
    stage.kill(first)
    stage.begun(step, times=100)
    stage.signal("go")
    assert handle.result(timeout=60) == [second.pid] * 50
    lost = [event for event in handle.history() if isinstance(event, AttemptLost)]
    assert len(lost) == 50
    stage.check([handle])


@pytest.mark.parametrize("place", ["result not told", "result not recorded", "next one not begun"])
def test_between_a_result_and_the_next_step_nothing_is_lost_or_recorded_twice(stage: Stage, place: str) -> None:
    first = stage.worker()
    handle = stage.mesh.start(flows.dies_between(place))
    first.ended()
    stage.worker()
    assert handle.result(timeout=60) == 123
    lost = [event for event in handle.history() if isinstance(event, AttemptLost)]
    assert [(event.position, event.number) for event in lost] == [("2", 1)]
    did = [(effect.position, effect.attempt) for effect in stage.effects()]
    again = [] if place == "next one not begun" else [("2", 1)]
    assert did == [("1", 1), *again, ("2", 2), ("3", 1)]
    stage.check([handle])


@pytest.mark.parametrize("together", [False, True], ids=["in line", "in a group"])
def test_a_step_that_kills_every_worker_fails_and_is_no_loop(stage: Stage, together: bool) -> None:
    stage.worker("--processes", "2", "--threads", "2", ready=2)
    handle = stage.mesh.start(flows.doomed(together))
    with pytest.raises(RunFailed) as failed:
        handle.result(timeout=60)
    assert "chaos_deadly" in str(failed.value)
    assert [effect.attempt for effect in stage.effects("chaos_deadly")] == [1, 2]
    history = handle.history()
    assert sum(isinstance(event, AttemptLost) for event in history) >= 2
    assert sum(isinstance(event, StepFailed) for event in history) == 1
    stage.check([handle])


@pytest.mark.parametrize("seed", [7])
def test_killed_at_any_instant_all_runs_complete(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    workers = stage.two_workers("--threads", "4")
    handles = stage.mesh.start_many([flows.mixed(n) for n in range(30)] + [flows.spread(40)])
    for _ in range(3):
        goal = len(stage.effects()) + chance.randrange(5, 60)
        wait_for("the runs go on", lambda goal=goal: len(stage.effects()) >= goal or _all_ended(stage))
        stage.kill(workers.pop(0))
        workers.append(stage.worker("--threads", "4"))
    results = [handle.result(timeout=60) for handle in handles]
    assert results == [1 + 6 + n + 2 for n in range(30)] + [sum(range(40))]
    for handle in handles:
        starts = [event for event in handle.history() if isinstance(event, AttemptStarted)]
        assert len({(event.position, event.number) for event in starts}) == len(starts)
    stage.check(handles)


def _all_ended(stage: Stage) -> bool:
    return not stage.mesh.list(status=["pending", "running", "waiting"], limit=1).items
