"""Worker processes are killed with SIGKILL at every place of a saga: what is undone, and said of it, stays the same."""

from typing import Any

import pytest

from squidmesh import Applied, Handle, NotApplied, RunFailed
from squidmesh.core.status import ENDED
from squidmesh.events import AttemptLost, RollbackPlanned, RollbackStarted, StepCompleted, StepInDoubt, UndoCompleted
from tests.processes import saga_flows as flows
from tests.processes.stage import Stage, wait_for

more_on_postgres = pytest.mark.parametrize(
    "stage", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True
)
"""In the suite on SQLite; on PostgreSQL, where the matrix has run, with ``-m slow``."""

BY = {"actor": "ann", "note": "I have looked"}

PLACES = [f"{call} {place}" for call in flows.CALLS for place in ("before", "after")]
OFTEN_HIT = [
    "decided", "pick before", "unpick before", "unpick after", "release after", "bill after", "unbill after",
    "part 20 after", "unpart 20 before", "unpart 10 after", "side 1 after", "unside 1 after", "rest 1 after",
    "rest 2 after", "probe after", "unvague before",
]  # fmt: skip
"""In the suite; the other places are for ``-m slow``."""


def told(handle: Handle[Any]) -> Any:
    """The report of its rollback, attempts and times apart; branches may have completed in any order."""
    (report,) = handle.inspect().rollbacks
    assert report.pending == [] == report.next_actions
    lists = {
        state: sorted((entry.position, entry.kind, entry.step, entry.reason) for entry in getattr(report, state))
        for state in ("undone", "irreversible", "failed", "unaccounted", "skipped")
    }
    return handle.status(), report.cause, report.outcome, report.failure.message if report.failure else None, lists


def _dies(stage: Stage, places: list[str]) -> None:
    stage.environ["SQUIDMESH_MAX_LOST"] = "50"  # others are killed beside
    stage.open_bank()
    unharmed = stage.mesh.start(flows.whole_saga("nowhere"))
    handles = stage.mesh.start_many([flows.whole_saga(place) for place in places])
    nursery = stage.nursery()
    for handle in [unharmed, *handles]:
        with pytest.raises(RunFailed, match="too late for all that"):
            handle.result(timeout=45)
    nursery.wait_for("worker died")  # a process may meet two of its dooms in one breath
    wanted = told(unharmed)
    assert wanted[:3] == ("failed", "failure", "clean")
    keys = _keys(stage, unharmed)
    for place, handle in zip(places, handles, strict=True):
        assert (stage.folder / f"doom-{handle.run_id}").exists(), f"nobody died at {place!r}"
        assert told(handle) == wanted, place
        assert _keys(stage, handle) == keys, place
        paid = stage.paid(handle.run_id)
        assert sum(paid.values()) == 0, place
        assert sorted(paid.values()) == [-20, -10, -5, 5, 10, 20], place
    stage.check_sagas([unharmed, *handles])


def _keys(stage: Stage, handle: Handle[Any]) -> set[str]:
    return {effect.key.removeprefix(handle.run_id) for effect in stage.effects(run=handle.run_id)}


def test_wherever_a_worker_is_killed_a_saga_is_undone_as_without(stage: Stage) -> None:
    _dies(stage, OFTEN_HIT)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_wherever_else_a_worker_is_killed_too(stage: Stage) -> None:
    _dies(stage, [place for place in PLACES if place not in OFTEN_HIT])


@more_on_postgres
@pytest.mark.parametrize("kind", ["once", "post"])
def test_a_step_that_is_not_idempotent_waits_for_a_person_when_its_worker_is_killed(stage: Stage, kind: str) -> None:
    first = stage.worker(module="tests.processes.saga_flows")
    handle = stage.mesh.start(flows.doubtful(kind, "go"))
    if kind == "once":
        stage.begun("chaos_once")
    else:
        wait_for("it is at work", (stage.folder / "go waits").exists)
    stage.kill(first)
    stage.worker(module="tests.processes.saga_flows")
    wait_for("it is in doubt", lambda: handle.explain().reason == "step_in_doubt")
    stage.signal("go")
    history = handle.history()
    assert sum(isinstance(event, AttemptLost) for event in history) == 1
    assert isinstance(history[-1], StepInDoubt)
    if kind == "once":  # it happened
        handle.resolve_step("chaos_once", Applied("I saw it"), **BY)
        assert handle.result(timeout=60, wait_blocked=True) == "I saw it"
        assert len(stage.effects("chaos_once")) == 1
    else:  # it did not
        handle.resolve_step("chaos_post", NotApplied(), **BY)
        with pytest.raises(RunFailed):
            handle.result(timeout=60, wait_blocked=True)
        assert told(handle)[2] == "clean"
        assert stage.effects("chaos_post") == []
    stage.check_sagas([handle])


@more_on_postgres
@pytest.mark.parametrize("again", [True, False], ids=["idempotent", "once"])
def test_killed_while_draining_what_is_in_flight_is_accounted_for_before_anything_is_undone(
    stage: Stage, again: bool
) -> None:
    first = stage.worker("--threads", "4", module="tests.processes.saga_flows")
    handle = stage.mesh.start(flows.drains("go", again))
    step = "chaos_slow" if again else "chaos_once"
    stage.begun(step)
    stage.signal("go fails")
    wait_for("it drains", lambda: any(event.kind == "StepFailed" for event in handle.history()))
    stage.kill(first)
    stage.signal("go undone")
    stage.worker("--threads", "4", module="tests.processes.saga_flows")
    if again:
        stage.begun(step, times=2)
        stage.signal("go")
    else:
        wait_for("it is in doubt", lambda: handle.explain().reason == "step_in_doubt")
        assert not any(isinstance(event, RollbackStarted) for event in handle.history())
        handle.resolve_step("chaos_once", Applied("it is there"), **BY)
    with pytest.raises(RunFailed):
        handle.result(timeout=60, wait_blocked=True)
    status, cause, outcome, _, lists = told(handle)
    assert (status, cause, outcome) == ("failed", "failure", "clean")
    assert [entry[2] for entry in lists["undone"]] == ["chaos_pick", step]
    history = handle.history()
    planned = next(event for event in history if isinstance(event, RollbackPlanned))
    assert planned.entries == ["2.2", "1"]
    stage.check_sagas([handle])


@more_on_postgres
def test_what_was_planned_is_undone_by_whoever_takes_over(stage: Stage) -> None:
    """The plan stands, and nothing is undone yet; then one is, and then two are: a worker dies each time."""
    workers = [stage.worker(module="tests.processes.saga_flows")]
    handle = stage.mesh.start(flows.undone_slowly("it"))
    for n in range(3):
        stage.signal(f"it {n}")
    for n, entry in enumerate(["it 2", "it 1", "it 0"]):
        wait_for(f"the undo of {entry}", lambda n=n: len(stage.effects("chaos_slow")) >= 4 + 2 * n)
        stage.kill(workers.pop())
        workers.append(stage.worker(module="tests.processes.saga_flows"))
        wait_for(f"the undo of {entry} again", lambda n=n: len(stage.effects("chaos_slow")) >= 5 + 2 * n)
        stage.signal(f"{entry} undone")
    with pytest.raises(RunFailed):
        handle.result(timeout=60)
    assert told(handle)[2] == "clean"
    undone = [effect.position for effect in stage.effects("chaos_slow") if effect.key.endswith(":undo")]
    assert undone == ["3", "3", "2", "2", "1", "1"]
    stage.check_sagas([handle])


def test_steps_that_complete_in_the_same_millisecond_are_undone_in_the_order_of_their_records(stage: Stage) -> None:
    stage.nursery(2, threads=4)
    handles = stage.mesh.start_many([flows.many(20) for _ in range(4)])
    for handle in handles:
        with pytest.raises(RunFailed):
            handle.result(timeout=60)
        done = [event.position for event in handle.history() if isinstance(event, StepCompleted)]
        undone = [event.entry for event in handle.history() if isinstance(event, UndoCompleted)]
        assert undone == done[::-1]
        effects = [effect.position for effect in stage.effects(run=handle.run_id) if effect.key.endswith(":undo")]
        assert effects == undone
    assert all(handle.status() in ENDED for handle in handles)
    stage.check_sagas(handles)
