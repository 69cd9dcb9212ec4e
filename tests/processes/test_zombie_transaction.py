"""A worker is stopped in the middle of a transaction, past its lease, and goes on: nothing of it is committed.

PostgreSQL: another worker does it meanwhile, once. SQLite has one writer, and the zombie is it: everybody waits for
it, and when it goes on its lease is gone, so what it wrote goes with it.
"""

import signal
from typing import Any

import pytest

from squidmesh import Handle
from squidmesh.events import AttemptLost, StepCompleted, TransactionCommitted
from tests.processes import saga_flows as flows
from tests.processes.stage import Stage, wait_for
from tests.worker.processes import Process

SAGAS = "tests.processes.saga_flows"
HOWS = ["in line", "a task", "a group"]
SOME = [pytest.param("in line", marks=pytest.mark.slow), pytest.param("a task", marks=pytest.mark.slow), "a group"]


def _in_the_middle(stage: Stage, how: str) -> tuple[Process, Handle[Any]]:
    stage.open_bank()
    zombie = stage.worker(module=SAGAS)
    handle = stage.mesh.start(flows.zombie(how, "go"))
    wait_for("it has written", (stage.folder / "go has paid").exists)
    return zombie, handle


def _ended_once(stage: Stage, handle: Handle[Any]) -> None:
    assert handle.result(timeout=60) == 30
    paid = stage.paid(handle.run_id)  # each key once
    assert sum(paid.values()) == 30
    history = handle.history()
    assert sum(isinstance(event, AttemptLost) for event in history) == 1
    last = [event for event in history if isinstance(event, StepCompleted | TransactionCommitted)]
    assert len(last) == len({(event.kind, event.position) for event in last})
    stage.check_sagas([handle])


@pytest.mark.parametrize("how", HOWS)
def test_what_a_zombie_has_written_is_not_there_when_it_wakes(many_machines: Stage, how: str) -> None:
    stage = many_machines
    zombie, handle = _in_the_middle(stage, how)
    (stage.folder / "go has paid").unlink()
    with stage.frozen(zombie):
        awake = stage.worker(module=SAGAS)
        wait_for("another has written, too", (stage.folder / "go has paid").exists)
        awake.send(signal.SIGSTOP)
        stage.signal("go")
    try:
        wait_for("the zombie is told", lambda: any("lost" in line for line in zombie.lines))
        assert stage.paid(handle.run_id) == {}
    finally:
        awake.send(signal.SIGCONT)
    _ended_once(stage, handle)


@pytest.mark.parametrize("how", SOME)
def test_a_zombie_that_wakes_when_another_has_done_it_adds_nothing(many_machines: Stage, how: str) -> None:
    stage = many_machines
    zombie, handle = _in_the_middle(stage, how)
    with stage.frozen(zombie):
        stage.signal("go")
        stage.worker(module=SAGAS)
        _ended_once(stage, handle)
        before = stage.paid(handle.run_id), handle.history()
    wait_for("the zombie is told", lambda: any("lost" in line for line in zombie.lines))
    assert zombie.stop() == 0
    assert (stage.paid(handle.run_id), handle.history()) == before


@pytest.mark.parametrize("how", SOME)
def test_on_sqlite_a_zombie_holds_the_file_and_commits_nothing_when_it_wakes(
    request: pytest.FixtureRequest, tmp_path: Any, sqlite_url: str, how: str
) -> None:
    stage = Stage(tmp_path, sqlite_url, None)
    stage.lease = 4.0  # half of it is what the body may take there, and is more than it needs
    request.addfinalizer(stage.close)
    zombie, handle = _in_the_middle(stage, how)
    with stage.frozen(zombie):
        wait_for("its lease is over", stage.mesh.connect_engine().store.expired)
        stage.signal("go")
    _ended_once(stage, handle)
