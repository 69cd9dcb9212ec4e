"""People and messages meet a rollback: at the same instant, late, again; and a deploy that has lost its undo."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from squidmesh import Flow, Handle, IllegalState, Mesh, NoSuchEntry, RunCancelled, RunFailed, workflow
from squidmesh.core.status import ENDED
from squidmesh.events import StepCompleted, UndoFailed, UndoRetried, UndoSkipped
from squidmesh.ports import Bell, BellKind
from tests.processes import bells
from tests.processes import saga_flows as flows
from tests.processes.stage import Stage, wait_for

more_on_postgres = pytest.mark.parametrize(
    "stage", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True
)
"""In the suite on SQLite; on PostgreSQL, where it is decided in the same way, with ``-m slow``."""

SAGAS = "tests.processes.saga_flows"


def _halted(stage: Stage, name: str) -> Handle[Any]:
    handle = stage.mesh.start(flows.halts(name))
    wait_for("it halts", lambda: handle.explain().reason == "undo_failed")
    return handle


def _at_once(*presses: Callable[[], Any]) -> list[str]:
    """All of them are pressed at the same instant; what came of each."""
    ready, said = threading.Barrier(len(presses)), [""] * len(presses)

    def press(n: int) -> None:
        ready.wait(30)
        try:
            said[n] = str(presses[n]())
        except (IllegalState, NoSuchEntry) as refused:
            said[n] = type(refused).__name__

    people = [threading.Thread(target=press, args=(n,)) for n in range(len(presses))]
    for one in people:
        one.start()
    for one in people:
        one.join(30)
    return said


def test_of_two_people_who_press_at_the_same_instant_one_decides(stage: Stage) -> None:
    """One has it tried again, the other skips it; whoever comes second is refused, or what he said is of no use."""
    stage.worker("--threads", "4", module=SAGAS)
    handles = [_halted(stage, f"it {n}") for n in range(6)]
    with Mesh(stage.database, broker=stage.broker, lease=stage.lease) as elsewhere:
        for n, handle in enumerate(handles):
            stage.signal(f"it {n} is well")
            other = elsewhere.handle(handle.run_id)
            said = _at_once(
                lambda handle=handle: handle.undo_retry("chaos_stubborn", actor="ann", note="it is well"),
                lambda other=other: other.undo_skip("chaos_stubborn", actor="bob", note="never mind"),
            )
            assert any(word not in ("IllegalState", "NoSuchEntry") for word in said), said
            with pytest.raises(RunFailed):
                handle.result(timeout=60, wait_blocked=True)
            wait_for(
                "all of it is heard", lambda handle=handle: not elsewhere.connect_engine().store.inbox(handle.run_id)
            )
            _one_has_decided(stage, handle)
    stage.check_sagas(handles)


def _one_has_decided(stage: Stage, handle: Handle[Any]) -> None:
    taken = [event for event in handle.history() if isinstance(event, UndoRetried | UndoSkipped)]
    report = handle.inspect().rollback
    assert report is not None
    undos = [effect for effect in stage.effects("chaos_stubborn", handle.run_id) if effect.key.endswith(":undo")]
    assert len({effect.key for effect in undos}) == 1
    assert [entry.step for entry in report.undone if entry.step != "chaos_stubborn"] == ["chaos_pick"] * 2
    if len(undos) == 2:  # it was tried again, and that has undone it; who skipped it then came too late, or before
        (of_it,) = (entry for entry in report.undone if entry.step == "chaos_stubborn")
        assert (report.outcome, of_it.by) == ("clean", None)
        assert isinstance(taken[0], UndoRetried)
    else:
        (skipped,) = report.skipped
        assert (report.outcome, skipped.reason, skipped.by) == ("partial", "operator", "bob")


@more_on_postgres
def test_what_is_said_twice_with_one_key_counts_once(stage: Stage) -> None:
    stage.worker(module=SAGAS)
    handle = _halted(stage, "it")
    press = lambda: handle.undo_retry("chaos_stubborn", actor="ann", note="again", key="press 1")  # noqa: E731
    _at_once(*[press] * 4)
    wait_for("it has failed again", lambda: _failures(handle) == 2 and handle.status() == "blocked")
    press()
    assert sum(isinstance(event, UndoRetried) for event in handle.history()) == 1
    handle.undo_mark_done("chaos_stubborn", actor="bob", note="by hand")
    with pytest.raises(RunFailed):
        handle.result(timeout=60, wait_blocked=True)
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "clean"
    assert [(entry.step, entry.by) for entry in report.undone][1] == ("chaos_stubborn", "bob")
    assert _failures(handle) == 2
    stage.check_sagas([handle])


def _failures(handle: Handle[Any]) -> int:
    return sum(isinstance(event, UndoFailed) for event in handle.history())


def test_messages_that_come_late_or_again_during_and_after_a_rollback_change_nothing(stage: Stage) -> None:
    two = stage.two_workers("--threads", "4", module=SAGAS)
    handle = stage.mesh.start(flows.undone_slowly("it"))
    doorbell = stage.mesh.connect_engine().doorbell
    stale = [Bell(kind, "default", run_id) for kind in BellKind for run_id in (handle.run_id, None)] * 3
    for n in range(3):
        stage.signal(f"it {n}")
    for n in (2, 1, 0):
        stage.begun("chaos_slow", times=6 - n)
        doorbell.ring(stale)
        stage.signal(f"it {n} undone")
    with pytest.raises(RunFailed):
        handle.result(timeout=60)
    before = handle.history()
    doorbell.ring(stale)
    other = stage.mesh.start(flows.doubtful("once", "it 0"))
    assert other.result(timeout=60) == "it returned"  # the workers have heard what came before it
    for running in two:
        assert running.stop() == 0
    assert handle.history() == before
    assert [effect.position for effect in stage.effects("chaos_slow")] == ["1", "2", "3", "3", "2", "1"]
    stage.check_sagas([handle, other])


@pytest.mark.parametrize("how", ["wild", pytest.param("lossy", marks=pytest.mark.slow)])
def test_sagas_end_the_same_whatever_becomes_of_messages(
    stage: Stage, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for doorbell in bells.DOORBELLS:
        monkeypatch.setattr(doorbell, "ring", bells.HOW[how](doorbell.ring))
    stage.environ[bells.BELLS] = how
    stage.open_bank()
    stage.two_workers("--threads", "4", module="tests.processes.saga_bells")
    handles = stage.mesh.start_many([flows.whole_saga("nowhere") for _ in range(6)])
    for handle in handles:
        with pytest.raises(RunFailed):
            handle.result(timeout=60)
        report = handle.inspect().rollback
        assert report is not None
        assert (report.outcome, len(report.undone)) == ("clean", 9)
        assert sum(stage.paid(handle.run_id).values()) == 0
    stage.check_sagas(handles)


# ------------------------------------------------------------------------------------------------------- deploys

DEPLOYED = """
from squidmesh import Flow, sleep, step, workflow
from tests.processes.effects import effect

@step(name="chaos_deployed_first")
def first() -> str:
    effect()
    return "first"

@first.undo
def unfirst(done: str) -> None:
    effect()

{step}

@workflow(name="chaos_deployed_saga", on_undo_failure="{policy}")
def deployed_saga() -> Flow[None]:
    yield from first()
    yield from {name}()
    yield from sleep(3600)
"""

BOOK = """
@step(name="chaos_deployed_{name}")
def {name}() -> str:
    effect()
    return "booked"
"""
UNBOOK = """
@{name}.undo
def undo_of_it(done: str) -> None:
    assert done == "booked"
    effect()
"""
AS_EVER = BOOK.format(name="book") + UNBOOK.format(name="book")
RENAMED = BOOK.format(name="reserve") + UNBOOK.format(name="reserve")
WITHOUT = BOOK.format(name="book")


@workflow(name="chaos_deployed_saga")
def deployed_saga() -> Flow[None]:
    """As whoever starts it knows it: workers have their own file with it."""
    raise NotImplementedError
    yield


def _deploy(stage: Stage, step: str, name: str, policy: str = "halt") -> Any:
    code = stage.folder / f"code-{len(list(stage.folder.iterdir()))}"
    code.mkdir()
    Path(code, "app.py").write_text(DEPLOYED.format(step=step, name=name, policy=policy))
    return stage.worker(module="app", cwd=code)


def _booked(handle: Handle[Any]) -> bool:
    return any(isinstance(event, StepCompleted) and event.position == "2" for event in handle.history())


@more_on_postgres
@pytest.mark.parametrize("lost", ["renamed", "without its undo"])
def test_an_undo_that_a_deploy_has_lost_is_never_taken_for_done(stage: Stage, lost: str) -> None:
    """It fails for good as ``handler_missing``; the code as it was, and a person who has it tried again, undo it."""
    running = _deploy(stage, AS_EVER, "book")
    handle = stage.mesh.start(deployed_saga())
    wait_for("it is booked", lambda: _booked(handle))
    stage.kill(running)
    changed = _deploy(stage, *((RENAMED, "reserve") if lost == "renamed" else (WITHOUT, "book")))
    handle.cancel()  # the body has changed, too, if it was renamed: it is not needed to undo what was done
    wait_for("the undo is missing", lambda: handle.inspect().reason == "undo_failed")
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome is None
    assert [(entry.step, entry.reason) for entry in report.failed] == [("chaos_deployed_book", "handler_missing")]
    assert [entry.step for entry in report.pending] == ["chaos_deployed_first"]
    handle.undo_retry("chaos_deployed_book", actor="ann", note="is it there?")
    wait_for("it is missing still", lambda: _failures(handle) == 2 and handle.status() == "blocked")
    assert changed.stop() == 0
    _deploy(stage, AS_EVER, "book")
    handle.undo_retry("chaos_deployed_book", actor="ann", note="it is back")
    wait_for("it ends", lambda: handle.status() in ENDED)
    report = handle.inspect().rollback
    assert report is not None
    assert (report.outcome, [entry.step for entry in report.undone]) == (
        "clean", ["chaos_deployed_book", "chaos_deployed_first"],
    )  # fmt: skip
    assert len(stage.effects("chaos_deployed_book")) == 2
    stage.check_sagas([handle])


@more_on_postgres
def test_a_rollback_that_goes_on_without_a_lost_undo_is_not_clean(stage: Stage) -> None:
    running = _deploy(stage, AS_EVER, "book", "continue")
    handle = stage.mesh.start(deployed_saga())
    wait_for("it is booked", lambda: _booked(handle))
    stage.kill(running)
    _deploy(stage, WITHOUT, "book", "continue")
    handle.cancel()
    wait_for("the undo is missing", lambda: handle.explain().reason == "undo_failed")
    handle.undo_abandon(actor="ann", note="let it be")
    with pytest.raises(RunCancelled) as cancelled:
        handle.result(timeout=60, wait_blocked=True)
    report = cancelled.value.rollback
    assert report is not None
    assert report.outcome == "abandoned"
    assert [(entry.step, entry.reason) for entry in report.failed] == [("chaos_deployed_book", "handler_missing")]
    assert [entry.step for entry in report.undone] == ["chaos_deployed_first"]
    stage.check_sagas([handle])
