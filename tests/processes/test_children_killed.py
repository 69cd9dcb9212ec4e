"""Worker processes die between a run and its children, its successors and what it has deferred: nothing shows of it."""

from collections.abc import Iterator
from typing import Any

from squidmesh import Handle
from squidmesh.core.status import ENDED
from squidmesh.events import AttemptLost, ChildStarted, RunContinued, StepDeferred
from tests.processes import child_flows as flows
from tests.processes.doomed import KINDS
from tests.processes.stage import Stage, wait_for

DOOMS = (
    "ChildStarted", "ChildEnded", "ChildCancelRequested", "RunJoined", "StepDeferred", "RunContinued", "RunCompleted",
    "RunFailed", "RollbackPlanned", "UndoStarted", "UndoCompleted", "RollbackEnded",
)  # fmt: skip
FAMILY = "tests.processes.child_flows"


def kin(stage: Stage, root: Handle[Any]) -> Iterator[Handle[Any]]:
    """The run, all that it has started, and its successors, in the order in which they were."""
    yield root
    for event in root.history():
        if isinstance(event, (ChildStarted, StepDeferred, RunContinued)) and not getattr(event, "joined", False):
            yield from kin(stage, stage.mesh.handle(event.run_id))


def over(stage: Stage, root: Handle[Any]) -> bool:
    return all(run.status() in ENDED for run in kin(stage, root)) and all(
        child.outcome is not None for run in kin(stage, root) for child in run.inspect().children if not child.detached
    )


def told(stage: Stage, root: Handle[Any]) -> list[Any]:
    """How all of a family came out, attempts, times and ids apart."""
    return [_told(stage, run) for run in kin(stage, root)]


def _told(stage: Stage, run: Handle[Any]) -> Any:
    view = run.inspect()
    report = view.rollback and [
        (
            state,
            sorted((entry.position, entry.kind, entry.step, entry.reason) for entry in getattr(view.rollback, state)),
        )
        for state in ("undone", "irreversible", "failed", "unaccounted", "skipped", "pending")
    ]
    outcome = view.rollback and view.rollback.outcome
    keys = sorted({effect.key.removeprefix(run.run_id) for effect in stage.effects(run=run.run_id)})
    failure = view.failure and view.failure.message.replace(run.run_id, "")
    return view.workflow, view.status, failure, outcome, report, keys


def families(stage: Stage) -> list[Handle[Any]]:
    return [stage.mesh.start(flow) for flow in (flows.tree(), flows.chain(0), flows.later("ready"), flows.never())]


def test_whoever_dies_with_a_link_in_hand_a_family_of_runs_comes_out_as_without(many_machines: Stage) -> None:
    stage = many_machines
    stage.environ["SQUIDMESH_MAX_LOST"] = "50"
    stage.signal("ready")
    calm = families(stage)
    nursery = stage.nursery()
    for family in calm:
        wait_for("a calm family is over", lambda family=family: over(stage, family))
    wanted = [told(stage, family) for family in calm]
    stage.kill(nursery)
    stage.environ[KINDS] = ",".join(DOOMS)
    wild = families(stage)
    nursery = stage.nursery()
    for family in wild:
        wait_for("a family is over", lambda family=family: over(stage, family))
    died = [f"{kind} {place}" for kind in DOOMS for place in ("before", "after")]
    assert [doom for doom in died if not (stage.folder / doom).exists()] == []
    assert [told(stage, family) for family in wild] == wanted
    everybody = [run for family in (*calm, *wild) for run in kin(stage, family)]
    assert len({run.run_id for run in everybody}) == len(everybody)
    assert sum(1 for _ in stage.mesh.list(limit=200)) == len(everybody), "nobody runs of whom nobody knows"
    stage.check_sagas(everybody)


def test_parents_and_children_are_driven_by_different_processes_and_either_may_die(many_machines: Stage) -> None:
    stage = many_machines
    bosses = [stage.worker("--queues", "default", module=FAMILY)]
    workers = [stage.worker("--queues", flows.KIDS, module=FAMILY)]
    handle = stage.mesh.start(flows.boss(8))
    wait_for("all are at work", lambda: len({done.run for done in stage.effects("family_work")}) == 8)
    stage.kill(workers.pop())
    stage.kill(bosses.pop())
    workers.append(stage.worker("--queues", flows.KIDS, module=FAMILY))
    kids = [stage.mesh.handle(run.run_id) for run in stage.mesh.list(parent=handle.run_id)]
    wait_for("the children are over", lambda: all(kid.status() == "completed" for kid in kids))
    assert handle.status() == "waiting", "nobody is there for it"
    bosses.append(stage.worker("--queues", "default", module=FAMILY))
    assert handle.result(timeout=60) == sum(range(8))
    mine, theirs = (
        {done.pid for done in stage.effects("chaos_pick")},
        {done.pid for done in stage.effects("family_work")},
    )
    assert mine.isdisjoint(theirs)
    stage.check_sagas([handle, *kids])


def test_a_worker_that_sleeps_over_the_ends_of_the_children_brings_nothing(many_machines: Stage) -> None:
    stage = many_machines
    asleep = stage.worker("--threads", "1", module=FAMILY)
    handle = stage.mesh.start(flows.holds("go"))
    stage.begun("family_held_up")
    with stage.frozen(asleep):
        stage.worker("--threads", "3", module=FAMILY)
        stage.begun("family_held_up", times=2)
        kids = [stage.mesh.handle(run.run_id) for run in stage.mesh.list(parent=handle.run_id)]
        wait_for("the children are over", lambda: all(kid.status() == "completed" for kid in kids))
        stage.signal("go")
        assert handle.result(timeout=60) >= 2
        before = handle.history()
    asleep.wait_for("went on elsewhere")
    assert handle.history() == before
    assert any(isinstance(event, AttemptLost) for event in before)
    assert len(kids) == 3
    stage.check_sagas([handle, *kids])
