"""A step on another queue goes to a worker of that queue, and its run comes back."""

from tests.processes import flows
from tests.processes.stage import Stage


def test_there_and_back(stage: Stage) -> None:
    handle = stage.mesh.start(flows.there_and_back())
    here = stage.worker("--queues", "default")
    there = stage.worker("--queues", "chaos-there")
    assert handle.result(timeout=60) == [here.pid, there.pid, here.pid]
    stage.check([handle])


def test_a_worker_of_the_other_queue_that_is_killed_is_replaced(stage: Stage) -> None:
    stage.worker("--queues", "default")
    stage.kill(stage.worker("--queues", "chaos-there"))
    handle = stage.mesh.start(flows.there_and_back())
    stage.begun("chaos_pid_here")
    there = stage.worker("--queues", "chaos-there")
    assert handle.result(timeout=60)[1] == there.pid
    stage.check([handle])
