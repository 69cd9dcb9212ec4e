"""Odd paths through the engine: what breaks, comes late or twice, or meets something else half-way."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from squidmesh import Flow, GatherFailed, Retry, StepFailed, context, gather, sleep, spawn, step, workflow
from squidmesh import events as ev
from squidmesh.engine.worker import Worker
from squidmesh.errors import StoreUnavailable
from squidmesh.ports import Bell, BellKind
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds

broken = True
done: list[Any] = []
late = threading.Event()
was_late = threading.Event()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global broken
    broken = True
    done.clear()
    late.clear()
    was_late.clear()


@step
def fast(n: int = 0) -> int:
    done.append(n)
    return n


@step(queue="far")
def far(n: int = 0) -> int:
    done.append(n)
    return n


@step(queue="far", retry=Retry(max_attempts=3, initial=10, jitter=0))
def far_flaky() -> str:
    done.append(context().attempt)
    if len(done) == 1:
        raise ConnectionError("away")
    return "there"


@workflow
def breaks_beside_a_spawned_step() -> Flow[int]:
    pending = yield from spawn(far(7))
    yield from fast(1)
    if broken:
        raise TypeError("broken code")
    return (yield from pending)


@workflow
def breaks_in_the_turn_that_asks() -> Flow[int]:
    pending = yield from spawn(fast(7))
    if broken:
        raise TypeError("broken code")
    return (yield from pending)


@workflow
def child() -> Flow[None]:
    yield from sleep(1)


@workflow
def asks_for_what_is_not_there() -> Flow[None]:
    yield from gather(sleep(0), child().options(retry=Retry()))  # which a workflow cannot have


@workflow
def flaky_far_away() -> Flow[str]:
    return (yield from far_flaky())


def other(mesh: VirtualMesh, *queues: str) -> Worker:
    worker = Worker(mesh.connect_engine(), queues=queues, threads=1)
    worker.enter()
    return worker


def drain(worker: Worker, queue: str = "default") -> None:
    for bell in worker.serve(Bell(BellKind.DRAIN, queue), float("inf")):
        if worker.serves(bell.queue):
            worker.serve(bell, float("inf"))


def ends(handle: Any) -> Counter[tuple[str, str]]:
    return Counter(
        (event.position, event.kind)
        for event in handle.history()
        if isinstance(event, (ev.StepCompleted, ev.StepFailed, ev.StepCancelled))
    )


def test_a_step_that_was_moved_to_a_task_meanwhile_is_known_to_who_held_it_before(mesh: VirtualMesh) -> None:
    handle = mesh.start(flaky_far_away())
    both, near = other(mesh, "default", "far"), other(mesh, "default")
    drain(both)
    mesh._clock.set(mesh._clock.now() + 11_000_000)
    drain(near)
    drain(both, "far")
    drain(both)
    assert handle.status() == "completed"
    assert handle.result() == "there"


def test_what_completed_while_its_run_was_blocked_has_one_outcome_when_that_is_cancelled(mesh: VirtualMesh) -> None:
    handle = mesh.start(breaks_beside_a_spawned_step())
    near, away = other(mesh, "default"), other(mesh, "far")
    drain(near)
    assert handle.status() == "blocked"
    drain(away, "far")
    handle.cancel()
    drain(near)
    assert handle.status() == "cancelled"
    assert ends(handle) == {("1", "StepCompleted"): 1, ("2", "StepCompleted"): 1}


def test_what_a_broken_turn_asked_for_is_not_cancelled_for_it_never_was(mesh: VirtualMesh) -> None:
    handle = mesh.start(breaks_in_the_turn_that_asks())
    mesh.drain()
    assert kinds(handle) == ["RunStarted", "RunBlocked"]
    handle.cancel()
    mesh.drain()
    assert kinds(handle) == ["RunStarted", "RunBlocked", "CancelRequested", "RunCancelled"]


def test_timers_of_a_broken_turn_do_not_fire(mesh: VirtualMesh) -> None:
    handle = mesh.start(asks_for_what_is_not_there())
    mesh.drain()
    assert kinds(handle) == ["RunStarted", "RunBlocked"]


@step(timeout=0.5, retry=Retry(max_attempts=2, initial=0, jitter=0))
def comes_back_late() -> str:
    if context().attempt == 1:
        late.wait(30)
        try:
            context().checkpoint("too late")
        finally:
            was_late.set()
    late.set()
    return str(context().progress)


@step
def waits_for_the_late_one() -> None:
    late.set()
    assert was_late.wait(30)


@workflow
def outlives_its_attempt() -> Flow[str]:
    got = yield from comes_back_late()
    yield from waits_for_the_late_one()
    return got


def test_a_body_that_comes_back_too_late_saves_no_checkpoint(mesh: VirtualMesh) -> None:
    handle = mesh.start(outlives_its_attempt())
    assert handle.result() == "None"
    assert "CheckpointSaved" not in kinds(handle)
    history = handle.history()
    assert [event.seq for event in history] == list(range(1, len(history) + 1))


@step
def beats() -> str:
    context()._attempt._looked = 0.0  # type: ignore[attr-defined]
    context().heartbeat()
    return "alive"


@workflow
def beating() -> Flow[str]:
    return (yield from beats())


def test_a_heartbeat_does_not_fail_its_step_when_the_database_is_away(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = mesh.start(beating())
    store = mesh.connect_engine().store
    real = store.inbox

    def away(run_id: str) -> Any:
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(store, "inbox", away)
    mesh.drain()
    monkeypatch.setattr(store, "inbox", real)
    assert handle.result() == "alive"


seen: list[str] = []


@step
def looks_at_its_run() -> None:
    mesh = context().mesh
    seen.append(mesh.handle(context().run_id).status())


@workflow
def goes_on_when_mended() -> Flow[None]:
    yield from fast()
    if broken:
        raise TypeError("broken code")
    yield from looks_at_its_run()


def test_a_mended_run_is_running_as_soon_as_it_goes_on(mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    global broken
    seen.clear()
    handle = mesh.start(goes_on_when_mended())
    mesh.drain()
    assert handle.status() == "blocked"
    broken = False
    monkeypatch.setattr("squidmesh.engine.hold.fingerprint", lambda workflow: "other")
    monkeypatch.setattr("squidmesh.engine.worker.fingerprints", lambda code: dict.fromkeys(code.workflows, "other"))
    mesh.drain()
    assert seen == ["running"]


def test_two_builds_that_are_both_broken_do_not_try_a_run_in_turns(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = mesh.start(goes_on_when_mended())
    for code in "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa":
        monkeypatch.setattr("squidmesh.engine.hold.fingerprint", lambda workflow, code=code: code)
        found = lambda code_, code=code: dict.fromkeys(code_.workflows, code)  # noqa: E731
        monkeypatch.setattr("squidmesh.engine.worker.fingerprints", found)
        mesh.drain()
    assert kinds(handle).count("RunBlocked") == 2


@step(max_lost=1)
def member(n: int) -> int:
    done.append(n)
    return n


@workflow
def several() -> Flow[int]:
    results = yield from gather([member(n) for n in range(6)])
    return len(results)


def test_who_is_lost_with_another_is_tried_alone(mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that kills its worker takes those that were claimed with it down once, not until they have failed."""
    from squidmesh.engine import trial

    class Killed(BaseException): ...

    real = trial.run

    def deadly(engine: Any, one: Any) -> Any:
        if one.position == "1.2":
            raise Killed
        return real(engine, one)

    handle = mesh.start(several())
    first = other(mesh, "default")
    drain_only_runs = Bell(BellKind.ADVANCE, "default", handle.run_id)
    first.serve(drain_only_runs, float("inf"))
    monkeypatch.setattr(trial, "run", deadly)
    store = mesh.connect_engine().store
    for _ in range(8):
        worker = other(mesh, "default")
        worker.pace._next["default"] = 4
        monkeypatch.setattr(worker.returns, "begun", lambda *args: None)  # dead men do not give back
        try:
            while store.due(worker.can, 1).tasks:
                worker.serve(Bell(BellKind.ATTEMPTS, "default", handle.run_id), float("inf"))
        except Killed:
            pass
        mesh._clock.set(mesh._clock.now() + 16_000_000)
        mesh.worker_now.heartbeat()
        mesh.worker_now.sweep()
    mesh.worker_now.serve(drain_only_runs, float("inf"))
    failed = {event.position for event in handle.history() if isinstance(event, ev.StepFailed)}
    assert failed == {"1.2"}


@step
def slow() -> None:
    threading.Event().wait(0.03)


@workflow
def several_slow() -> Flow[None]:
    yield from gather([slow() for _ in range(4)])


def test_who_meets_slow_steps_hands_the_others_back(mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squidmesh.engine.attempts.BUDGET", 0.01)
    handle = mesh.start(several_slow())
    worker = other(mesh, "default")
    worker.serve(Bell(BellKind.ADVANCE, "default", handle.run_id), float("inf"))
    worker.pace._next["default"] = 4  # as learnt from quick ones
    worker.serve(Bell(BellKind.ATTEMPTS, "default", handle.run_id), 0)
    left = mesh.connect_engine().store.tasks(handle.run_id)
    assert [(task.worker, task.number) for task in left] == [(None, 0)] * 3
    mesh.drain()
    assert handle.status() == "completed"


def test_a_lost_attempt_of_a_cancelled_run_is_tried_again_for_that_tells_what_it_did(mesh: VirtualMesh) -> None:
    done.clear()
    handle = mesh.start(several())
    first, second = other(mesh, "default"), other(mesh, "default")
    advance = Bell(BellKind.ADVANCE, "default", handle.run_id)
    first.serve(advance, float("inf"))
    store = mesh.connect_engine().store
    assert store.claim_tasks(first.id, "default", first.can, 2)
    handle.cancel()
    second.serve(advance, float("inf"))
    assert handle.status() == "undoing"
    mesh._clock.set(mesh._clock.now() + 10_000_000)
    second.heartbeat()
    mesh._clock.set(mesh._clock.now() + 6_000_000)
    second.sweep()
    second.serve(advance, float("inf"))
    assert handle.status() == "undoing"
    second.serve(Bell(BellKind.ATTEMPTS, "default", handle.run_id), float("inf"))
    second.serve(advance, float("inf"))
    assert handle.status() == "cancelled"
    assert sorted(done) == [0, 1]
    rollback = handle.inspect().rollback
    assert rollback is not None
    assert [entry.reason for entry in rollback.skipped] == ["no_undo", "no_undo"]


@step
def odd_text(how: str) -> str:
    if how == "raises":
        raise FileNotFoundError("caf\udce9")
    return "caf\udce9" if how == "surrogate" else "a\x00b"


@workflow
def odd(how: str) -> Flow[str]:
    try:
        return (yield from odd_text(how))
    except StepFailed as failed:
        return failed.failure.type


@workflow
def odd_beside(how: str) -> Flow[str]:
    try:
        (found,) = yield from gather([odd_text(how)])
    except GatherFailed as failed:
        return failed.failures[0].type
    return str(found)


@pytest.mark.parametrize("flow", [odd, odd_beside])
def test_text_that_is_no_unicode_fails_its_step_or_is_told_otherwise(mesh: VirtualMesh, flow: Any) -> None:
    assert mesh.run(flow("raises"), timeout=60) == "builtins.FileNotFoundError"
    assert mesh.run(flow("surrogate"), timeout=60) == "squidmesh.errors.PayloadError"
    assert mesh.run(flow("nul"), timeout=60) == "a\x00b"


@workflow
def returns_before_what_it_spawned() -> Flow[str]:
    yield from spawn(never())
    return "early"


@step(retry=Retry(max_attempts=None, initial=10, factor=1, jitter=0))
def never() -> None:
    raise ConnectionError("away")


def test_a_deadline_counts_until_what_was_spawned_has_ended(mesh: VirtualMesh) -> None:
    handle = mesh.start(returns_before_what_it_spawned(), deadline=60)
    mesh.advance(120)
    assert handle.status() == "failed"
