"""The database is the truth, messages are a doorbell: doubled, late, lost, senseless ones change latency only."""

import uuid
from typing import Any

import pytest
import redis

from squidmesh import Handle
from squidmesh.events import AttemptLost
from squidmesh.ports import Bell, BellKind
from tests.processes import bells, flows
from tests.processes.stage import LONG, Stage, wait_for


@pytest.mark.parametrize("how", ["wild", "lossy"])
def test_all_runs_complete_whatever_becomes_of_messages(
    stage: Stage, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for doorbell in bells.DOORBELLS:
        monkeypatch.setattr(doorbell, "ring", bells.HOW[how](doorbell.ring))
    stage.environ[bells.BELLS] = how
    stage.lease = LONG
    stage.two_workers("--threads", "4", module="tests.processes.bells")
    handles: list[Handle[Any]] = [stage.mesh.start(flows.mixed(n)) for n in range(15)]
    handles += stage.mesh.start_many([flows.spread(30), flows.in_line(10)])
    for handle in handles:
        handle.result(timeout=60)
    _all_done_once(stage, handles)


def test_two_workers_race_for_one_run_and_each_step_is_done_once(stage: Stage) -> None:
    stage.lease = LONG
    stage.two_workers("--threads", "4")
    handles: list[Handle[Any]] = [stage.mesh.start(flows.in_line(20)), stage.mesh.start(flows.spread(20))]
    doorbell = stage.mesh.connect_engine().doorbell
    crowd = [
        Bell(kind, "default", handle.run_id) for handle in handles for kind in (BellKind.ADVANCE, BellKind.ATTEMPTS)
    ]

    def ended() -> bool:
        doorbell.ring(crowd)
        return all(handle.status() == "completed" for handle in handles)

    wait_for("both have ended", ended)
    assert [handle.result() for handle in handles] == [sum(range(20)), sum(range(20))]
    _all_done_once(stage, handles)


def test_senseless_messages_are_put_aside(many_machines: Stage) -> None:
    stage = many_machines
    stage.lease = LONG
    running = stage.worker("--threads", "2")
    doorbell = stage.mesh.connect_engine().doorbell
    for run_id in (str(uuid.uuid4()), "nonsense", None, ""):
        doorbell.ring([Bell(kind, "default", run_id) for kind in BellKind])
    assert stage.broker is not None
    with redis.Redis.from_url(stage.broker) as client:
        client.rpush("squidmesh.default", b"\x00", b"{}", b"[1]", b'{"queue_name": 1}')
    handles = [stage.mesh.start(flows.in_line(3)), stage.mesh.start(flows.spread(10))]
    for handle in handles:
        handle.result(timeout=60)
    _all_done_once(stage, handles)
    assert running.stop() == 0


def _all_done_once(stage: Stage, handles: list[Handle[Any]]) -> None:
    """No worker was lost: every attempt was made once, and none was given up."""
    stage.check(handles)
    for handle in handles:
        assert not any(isinstance(event, AttemptLost) for event in handle.history())
    did = [(effect.run, effect.position, effect.attempt) for effect in stage.effects()]
    assert len(did) == len(set(did))
    again = [effect for effect in stage.effects() if effect.attempt > 1 and effect.step != "chaos_shaky"]
    assert again == []
