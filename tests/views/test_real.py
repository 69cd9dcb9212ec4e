"""Views of runs that the engine has driven, on a clock that moves only when told."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from squidmesh import (
    Applied,
    Failure,
    Flow,
    PartialEffect,
    Retry,
    WorkflowError,
    context,
    fan_out,
    gather,
    publish,
    sleep,
    step,
    workflow,
)
from squidmesh.testing import VirtualMesh


class Rejected(WorkflowError): ...


@step(name="views.flaky", retry=Retry(max_attempts=3, initial=10, jitter=0))
def flaky(n: int) -> int:
    if context().attempt == 1:
        raise ValueError("down")
    return n


@step(name="views.plain")
def plain(n: int) -> int:
    return n


@step(name="views.render", queue="gpu")
def render(n: int) -> int:
    return n


@workflow(name="views.order")
def order(n: int) -> Flow[int]:
    first = yield from flaky(n)
    yield from sleep(60)
    many = yield from fan_out(plain, [1, 2, 3], limit=2)
    yield from publish("total", sum(many.values()))
    return first + sum(many.values())


@workflow(name="views.picture")
def picture(n: int) -> Flow[int]:
    both = yield from gather(render(n), flaky(n))
    return sum(both)


@workflow(name="views.broken")
def broken(n: int) -> Flow[int]:
    value = yield from plain(n)
    return int(value["nothing"])  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


@workflow(name="views.rejected")
def rejected() -> Flow[int]:
    yield from plain(1)
    raise Rejected("not today")


@step(name="views.half")
def half(n: int) -> int:
    raise PartialEffect({"done": n})


@half.compensate
def other_half(failure: Failure, n: int) -> int:
    return n + 1


@step(name="views.lost")
def lost(n: int) -> int:
    raise TimeoutError("no answer")


@lost.check
def found(n: int) -> Applied[int]:
    return Applied(n)


@step(name="views.wrecked")
def wrecked(n: int) -> int:
    raise TimeoutError("no answer")


@wrecked.compensate
def wrecked_more(failure: Failure, n: int) -> int:
    raise OSError("no disk")


@workflow(name="views.handled")
def handled(n: int) -> Flow[int]:
    yield from half(n)
    yield from lost(n)
    return (yield from wrecked(n))


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    mesh = VirtualMesh(workflows=[order, picture, broken, rejected, handled])
    yield mesh
    mesh.close()


def test_a_run_is_explained_and_shown_all_the_way_to_its_end(mesh: VirtualMesh) -> None:
    handle = mesh.start(order(5))
    mesh.drain()
    retrying = handle.explain()
    assert (retrying.status, retrying.reason) == ("waiting", "retry_scheduled")
    assert "failed (ValueError: down)" in retrying.summary
    assert retrying.waiting_on[0].until == mesh.now + timedelta(seconds=10)
    assert handle.inspect().steps[0].status == "retrying"

    mesh.advance(11)
    assert (handle.explain().reason, handle.inspect().reason) == ("sleeping", "sleeping")

    mesh.advance(60)
    view = handle.inspect()
    assert (view.status, view.result, view.input) == ("completed", 11, {"n": 5})
    assert [(s.name, s.status, s.result) for s in view.steps] == [
        ("views.flaky", "completed", 5),
        *(("views.plain", "completed", n) for n in (1, 2, 3)),
    ]
    assert [a.outcome for a in view.steps[0].attempts] == ["failed", "completed"]
    assert all(a.worker and a.ended_at and a.ended_at >= a.started_at for s in view.steps for a in s.attempts)
    assert handle.explain().reason == "completed"


def test_a_step_on_another_queue_is_shown_by_its_own_task_until_it_is_done(mesh: VirtualMesh) -> None:
    handle = mesh.start(picture(5))
    mesh.drain()
    found = handle.explain()
    assert [(s.name, s.status) for s in handle.inspect().steps] == [
        ("views.render", "completed"),
        ("views.flaky", "retrying"),
    ]
    assert (found.reason, found.waiting_on[0].position) == ("retry_scheduled", "1.2")
    mesh.advance(10)
    (_, tried) = handle.inspect().steps
    assert [(a.number, a.outcome) for a in tried.attempts] == [(1, "failed"), (2, "completed")]


def test_a_lost_attempt_is_shown_and_the_next_one_after_it(mesh: VirtualMesh) -> None:
    handle = mesh.start(rejected())
    mesh.restart(lose="outcome")
    mesh.drain()
    (only,) = handle.inspect().steps
    assert [(a.number, a.outcome) for a in only.attempts] == [(1, "lost"), (2, "completed")]


def test_a_run_that_broken_code_blocked_points_at_its_line(mesh: VirtualMesh) -> None:
    handle = mesh.start(broken(1))
    mesh.drain()
    found = handle.explain()
    assert (found.status, found.reason, handle.inspect().status) == ("blocked", "code_error", "blocked")
    assert found.code is not None
    assert (found.code.file, found.code.function) == (__file__, "broken")
    assert "TypeError" in found.summary


def test_a_run_that_failed_shows_what_it_let_out(mesh: VirtualMesh) -> None:
    handle = mesh.start(rejected())
    mesh.drain()
    view = handle.inspect()
    assert view.failure is not None
    assert view.failure.matches(Rejected)
    assert "Rejected: not today" in handle.explain().summary


def test_what_handlers_made_of_a_failure_is_shown_beside_it(mesh: VirtualMesh) -> None:
    handle = mesh.start(handled(1))
    mesh.drain()
    view = handle.inspect()
    assert [(s.name, s.status, s.result, s.effect) for s in view.steps] == [
        ("views.half", "completed", 2, None),
        ("views.lost", "completed", 1, None),
        ("views.wrecked", "failed", None, "unknown"),
    ]
    (finished,), (), (broke,) = (s.compensations for s in view.steps)
    assert (finished.outcome, broke.outcome) == ("completed", "failed")
    assert (str(view.steps[2].failure), str(broke.failure)) == ("TimeoutError: no answer", "OSError: no disk")
    assert view.rollback is not None
    assert [entry.step for entry in view.rollback.unaccounted] == ["views.wrecked"]
    assert "'views.wrecked' at position 3 (nobody knows whether it happened)" in handle.explain().summary
    mesh.check(handle)


def test_what_was_published_is_the_latest_of_the_history(mesh: VirtualMesh) -> None:
    handle = mesh.start(order(5))
    mesh.advance(100)
    assert (handle.published("total"), handle.published("nothing")) == (6, None)


def test_lists_have_the_reason_of_each_run(mesh: VirtualMesh) -> None:
    mesh.start(order(5))
    mesh.advance(1)
    mesh.start(broken(1))
    mesh.drain()
    assert [(s.workflow, s.status, s.reason) for s in mesh.list()] == [
        ("views.broken", "blocked", "code_error"),
        ("views.order", "waiting", "retry_scheduled"),
    ]
