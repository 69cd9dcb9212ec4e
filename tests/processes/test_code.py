"""A worker takes only what it has the code for, and a deploy that fixes the code lets blocked runs go on."""

from pathlib import Path

import pytest

from squidmesh import RunBlocked
from squidmesh.events import AttemptStarted, RunUnblocked
from squidmesh.events import RunBlocked as Blocked
from tests.processes import flows
from tests.processes.deployed import deployed
from tests.processes.stage import Stage, wait_for

DEPLOYED = """
from squidmesh import Flow, step, workflow
from tests.processes.effects import effect

@step(name="chaos_deployed_step")
def first(n: int) -> int:
    effect()
    return n

@workflow(name="chaos_deployed")
def deployed(n: int) -> Flow[int]:
    once = yield from first(n)
    {line}
    return once + (yield from first(n))
"""


def _deploy(folder: Path, line: str) -> Path:
    """A folder of its own with this make of the code."""
    code = folder / f"code-{len(list(folder.iterdir()))}"
    code.mkdir()
    (code / "app.py").write_text(DEPLOYED.format(line=line))
    return code


def test_a_worker_without_the_code_takes_nothing(stage: Stage) -> None:
    handle = stage.mesh.start(flows.in_line(2))
    assert (handle.status(), handle.explain().reason) == ("pending", "no_worker")
    elsewhere = stage.worker(module="app", cwd=_deploy(stage.folder, "pass"))
    wait_for("it is said that the code is missing", lambda: handle.explain().reason == "no_code")
    assert handle.status() == "pending"
    assert len(handle.history()) == 1
    stage.worker()
    assert handle.result(timeout=60) == 1
    assert elsewhere.stop() == 0
    stage.check([handle])


def test_a_deploy_with_fixed_code_unblocks(stage: Stage) -> None:
    handle = stage.mesh.start(deployed(20))
    broken = stage.worker(module="app", cwd=_deploy(stage.folder, "once += 'two'"))
    with pytest.raises(RunBlocked, match="TypeError"):
        handle.result(timeout=60)
    assert handle.explain().reason == "code_error"
    broken.stop()
    same = stage.worker(module="app", cwd=_deploy(stage.folder, "once += 'two'"))
    other = stage.mesh.start(deployed(1))
    with pytest.raises(RunBlocked):
        other.result(timeout=60)
    assert not any(isinstance(event, RunUnblocked) for event in handle.history())
    same.stop()
    stage.worker(module="app", cwd=_deploy(stage.folder, "once += 2"))
    assert handle.result(timeout=60, wait_blocked=True) == 42
    assert other.result(timeout=60, wait_blocked=True) == 4
    history = handle.history()
    assert sum(isinstance(event, Blocked) for event in history) == 1
    assert sum(isinstance(event, RunUnblocked) for event in history) == 1
    assert sum(isinstance(event, AttemptStarted) for event in history) == 2
    stage.check([handle, other])
