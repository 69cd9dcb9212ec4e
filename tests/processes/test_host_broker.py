"""A host's own broker under plain `dramatiq`, when one of its processes is killed."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from squidmesh.events import AttemptLost
from squidmesh_worker.rabbitmq import BellRabbitmqBroker
from tests.processes import flows
from tests.processes.stage import Stage
from tests.worker.processes import Process

DRAMATIQ = (sys.executable, "-m", "dramatiq", "tests.processes.host", "--processes", "1", "--threads", "4")


@pytest.fixture(params=["redis", "rabbitmq"])
def hosted(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> Iterator[Stage]:
    """A stage on PostgreSQL and a broker that plain Dramatiq processes read."""
    broker: str = request.getfixturevalue(f"{request.param}_url")
    playing = Stage(tmp_path, postgres_url, broker)
    playing.environ |= {"STAGE_DATABASE": postgres_url, "STAGE_BROKER": broker}
    try:
        yield playing
    finally:
        playing.close()
        if request.param == "rabbitmq":
            _delete_queues(broker)


def _delete_queues(url: str) -> None:
    broker = BellRabbitmqBroker(url)
    for queue in ("squidmesh.default", "squidmesh.chaos-there"):
        for suffix in ("", ".DQ", ".XQ"):
            broker.channel.queue_delete(queue + suffix)
    broker.close()


def _dramatiq(stage: Stage) -> Process:
    return stage.process(*DRAMATIQ, says="serving workflows: queues")


def test_what_a_killed_dramatiq_process_held_goes_on_in_another(hosted: Stage) -> None:
    _dramatiq(hosted)
    handle = hosted.mesh.start(flows.waits("go"))
    together = hosted.mesh.start(flows.wait_together(3, "go"))
    pids = {effect.pid for effect in hosted.begun("chaos_held_up", times=4)}
    other = _dramatiq(hosted)
    (killed,) = pids
    os.kill(killed, signal.SIGKILL)
    after = hosted.begun("chaos_held_up", times=8)[4:]
    assert killed not in {effect.pid for effect in after}
    hosted.signal("go")
    handle.result(timeout=60)
    together.result(timeout=60)
    assert any(isinstance(event, AttemptLost) for event in handle.history())
    more = hosted.mesh.start_many([flows.mixed(n) for n in range(10)])
    for run in more:
        run.result(timeout=60)
    hosted.check([handle, together, *more])
    assert other.stop() == 0
