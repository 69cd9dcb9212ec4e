"""A worker is stopped with SIGSTOP and wakes when its lease is gone: nothing that it brings is recorded."""

import signal

from squidmesh.events import AttemptLost, StepCompleted
from tests.processes import flows
from tests.processes.stage import Stage, wait_for


def test_the_late_result_of_a_step_in_line_is_refused(stage: Stage) -> None:
    asleep = stage.worker()
    handle = stage.mesh.start(flows.waits("go", "go on"))
    stage.begun("chaos_held_up")
    awake = stage.worker()
    with stage.frozen(asleep):
        stage.begun("chaos_held_up", times=2)
        stage.signal("go")
        stage.begun("chaos_held_up", times=3)
        before = handle.history()
    asleep.wait_for("went on elsewhere")
    assert handle.history() == before
    stage.signal("go on")
    assert handle.result(timeout=60) == [awake.pid, awake.pid]
    assert sum(isinstance(event, AttemptLost) for event in handle.history()) == 1
    stage.check([handle])


def test_the_late_results_of_steps_side_by_side_are_refused(stage: Stage) -> None:
    asleep = stage.worker("--threads", "4")
    handle = stage.mesh.start(flows.wait_together(4, "go"))
    stage.begun("chaos_held_up", times=4)
    awake = stage.worker("--threads", "4")
    with stage.frozen(asleep):
        stage.begun("chaos_held_up", times=8)
        stage.signal("go")
        assert handle.result(timeout=60) == [awake.pid] * 4
        before = handle.history()
    asleep.wait_for("lost its lease")
    assert asleep.stop() == 0  # after its attempts have come back, and were refused
    assert handle.history() == before
    assert sum(isinstance(event, StepCompleted) for event in before) == 5
    stage.check([handle])


def test_results_of_steps_side_by_side_that_come_before_the_others_are_refused_too(stage: Stage) -> None:
    """The one that wakes brings its results while the attempts that replaced them are still at work."""
    asleep = stage.worker("--threads", "3")
    handle = stage.mesh.start(flows.wait_together(3, "go"))
    stage.begun("chaos_held_up", times=3)
    awake = stage.worker("--threads", "3")
    with stage.frozen(asleep):
        stage.begun("chaos_held_up", times=6)
        awake.send(signal.SIGSTOP)
        stage.signal("go")
    try:
        wait_for("the one that slept enters anew", lambda: any("lost its lease" in line for line in asleep.lines))
        assert not any(isinstance(event, StepCompleted) for event in handle.history())
    finally:
        awake.send(signal.SIGCONT)
    pids = handle.result(timeout=60)
    assert set(pids) <= {asleep.pid, awake.pid}
    stage.check([handle])


def test_a_worker_that_nobody_replaced_tries_again_itself(stage: Stage) -> None:
    alone = stage.worker()
    handle = stage.mesh.start(flows.waits("go"))
    stage.begun("chaos_held_up")
    with stage.frozen(alone):
        wait_for("its lease is over", stage.mesh.connect_engine().store.expired)
        stage.signal("go")
    assert handle.result(timeout=60) == [alone.pid]
    assert [effect.attempt for effect in stage.effects("chaos_held_up")] == [1, 2]
    stage.check([handle])
