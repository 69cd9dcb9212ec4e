"""A worker is told to stop (SIGTERM): what it can finish in its grace is finished, the rest is handed back at once."""

import signal
import time

from squidmesh.events import AttemptLost
from tests.processes import flows
from tests.processes.stage import LONG, Stage, wait_for


def test_a_step_that_is_shorter_than_the_grace_finishes_and_its_run_goes_on_elsewhere(stage: Stage) -> None:
    stage.lease = LONG
    leaving = stage.worker("--grace", "20")
    handle = stage.mesh.start(flows.waits("go", "go on"))
    together = stage.mesh.start(flows.wait_together(2, "go"))
    stage.begun("chaos_held_up", times=3)
    staying = stage.worker()
    leaving.send(signal.SIGTERM)
    leaving.wait_for("squidmesh worker stopping")
    stage.signal("go")
    assert leaving.ended() == 0
    stage.signal("go on")
    assert handle.result(timeout=60) == [leaving.pid, staying.pid]
    assert together.result(timeout=60) == [leaving.pid] * 2
    assert all(effect.attempt == 1 for effect in stage.effects())
    stage.check([handle, together])


def test_a_step_that_is_longer_than_the_grace_is_handed_back(stage: Stage) -> None:
    stage.lease = LONG
    leaving = stage.worker("--grace", "0.3")
    handle = stage.mesh.start(flows.waits("go"))
    together = stage.mesh.start(flows.wait_together(3, "go"))
    stage.begun("chaos_held_up", times=4)
    staying = stage.worker()
    told = time.monotonic()
    assert leaving.stop() == 0
    stage.begun("chaos_held_up", times=8)
    assert time.monotonic() - told < LONG / 2
    stage.signal("go")
    assert handle.result(timeout=60) == [staying.pid]
    assert together.result(timeout=60) == [staying.pid] * 3
    stage.check([handle, together])


def test_one_that_loses_its_lease_while_it_stops_takes_nothing_new(stage: Stage) -> None:
    leaving = stage.worker()
    handle = stage.mesh.start(flows.waits("go", "go on"))
    stage.begun("chaos_held_up")
    leaving.send(signal.SIGTERM)
    leaving.wait_for("squidmesh worker stopping")
    with stage.frozen(leaving):
        staying = stage.worker()
        stage.begun("chaos_held_up", times=2)
    stage.signal("go")
    assert leaving.ended() == 0
    assert [worker.pid for worker in stage.mesh.connect_engine().store.workers()] == [staying.pid]
    stage.signal("go on")
    assert handle.result(timeout=60) == [staying.pid] * 2
    stage.check([handle])


def test_workers_replaced_one_after_the_other_under_load_lose_no_attempt(stage: Stage) -> None:
    stage.lease = LONG
    workers = stage.two_workers("--threads", "4")
    handles = stage.mesh.start_many([flows.mixed(n) for n in range(40)] + [flows.spread(60)])
    for goal in (20, 80):
        wait_for("the load is at work", lambda goal=goal: len(stage.effects()) >= goal)
        workers.append(stage.worker("--threads", "4"))
        assert workers.pop(0).stop() == 0
    for handle in handles:
        handle.result(timeout=60)
        assert not any(isinstance(event, AttemptLost) for event in handle.history())
    stage.check(handles)
