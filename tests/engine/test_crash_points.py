"""Whatever happens between two calls of the store, a run ends as it would have ended without it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squidmesh import (
    Flow,
    GatherFailed,
    Retry,
    StepFailed,
    context,
    fan_out,
    gather,
    race,
    sleep,
    spawn,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.core.status import ENDED
from squidmesh.testing import VirtualMesh
from tests.engine.cluster import Cluster, Fate

failures: Counter[str] = Counter()


def _work(name: str, fails: int) -> str:
    key = context().key
    if fails < 0:
        raise ValueError(f"{name} never works")
    if failures[key] < fails:
        failures[key] += 1
        raise ConnectionError(f"{name} is away")
    return name.upper()


@step(retry=Retry(max_attempts=None, initial=2, jitter=0, give_up_on=(ValueError,)), max_lost=10_000)
def here(name: str, fails: int = 0) -> str:
    return _work(name, fails)


@step(retry=Retry(max_attempts=None, initial=2, jitter=0, give_up_on=(ValueError,)), max_lost=10_000, queue="other")
def there(name: str, fails: int = 0) -> str:
    context().checkpoint(name)
    return _work(name, fails)


@step(retry=Retry(max_attempts=None, initial=2, jitter=0, give_up_on=(ValueError,)), max_lost=10_000)
async def beside(name: str, fails: int = 0) -> str:
    return _work(name, fails)


STEPS = {"here": here, "there": there, "beside": beside}


@workflow
def play(program: list[Any]) -> Flow[list[Any]]:
    out: list[Any] = []
    for command in program:
        out.append((yield from _play(command)))  # noqa: PERF401 - a workflow yields
    return out


def _play(command: Any) -> Any:
    match command:
        case ["step", which, name, fails]:
            try:
                return (yield from STEPS[which](name, fails))
            except StepFailed as failed:
                return failed.failure.message
        case ["sleep", seconds]:
            return (yield from sleep(seconds))
        case ["gather", *members]:
            try:
                return list((yield from gather([_call(member) for member in members])))
            except GatherFailed:
                return "failed"
        case ["fan", limit, tolerate, *members]:
            try:
                done = yield from fan_out(_call, members, limit=limit, tolerate=tolerate)
            except GatherFailed:
                return "failed"
            return [sorted(done.results.items()), sorted(done.failures)]
        case ["race", *members]:
            try:
                yield from race(*[_call(member) for member in members])
            except StepFailed:
                return "raced"
            return "raced"
        case ["spawn", first, second]:
            pending = yield from spawn(_call(first))
            other = yield from _play(second)
            try:
                return [other, (yield from pending)]
            except StepFailed:
                return [other, "failed"]


def _call(member: Any) -> Any:
    if member[0] == "sleep":
        return sleep(member[1])
    return STEPS[member[1]](member[2], member[3])


steps = st.tuples(
    st.just("step"), st.sampled_from(sorted(STEPS)), st.sampled_from("abc"), st.sampled_from([0, 0, 0, 1, 2, -1])
).map(list)
leaves = steps | st.tuples(st.just("sleep"), st.sampled_from([0, 1, 30])).map(list)
several = st.lists(leaves, min_size=1, max_size=4)
commands = st.one_of(
    steps, leaves,
    several.map(lambda members: ["gather", *members]),
    st.tuples(st.sampled_from([None, 1, 2]), st.sampled_from([0, 1, 4]), st.lists(steps, min_size=1, max_size=5)).map(
        lambda given: ["fan", given[0], given[1], *given[2]]
    ),
    several.map(lambda members: ["race", *members]),
    st.tuples(steps, steps).map(lambda both: ["spawn", *both]),
)  # fmt: skip
programs = st.lists(commands, min_size=1, max_size=4)
fates = st.lists(st.sampled_from([Fate.GO_ON] * 4 + list(Fate)), max_size=60)
served = st.sampled_from([
    (("default", "other"), ("default", "other")), (("default",), ("default", "other")), (("default",), ("other",)),
])  # fmt: skip


def expected(program: list[Any]) -> Any:
    failures.clear()
    with VirtualMesh() as mesh:
        return mesh.run(play(program))


def check_history(handle: Any) -> None:
    """Numbered without gaps; each step scheduled before anything else of it, and with at most one outcome."""
    history = handle.history()
    assert [event.seq for event in history] == list(range(1, len(history) + 1))
    ends = Counter(
        event.position for event in history if isinstance(event, (ev.StepCompleted, ev.StepFailed, ev.StepCancelled))
    )
    asked = {event.position for event in history if isinstance(event, ev.StepScheduled)}
    assert set(ends) == asked
    assert set(ends.values()) <= {1}
    timers = Counter(e.position for e in history if isinstance(e, (ev.TimerFired, ev.TimerCancelled)))
    assert set(timers.values()) <= {1}


@pytest.fixture(params=["memory", "file", "postgres"])
def database(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.CRITICAL, "squidmesh")
    if request.param == "memory":
        return "sqlite://"
    return request.getfixturevalue("sqlite_url" if request.param == "file" else "postgres_url")


played = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@played
@given(program=programs, course=fates, queues=served)
def test_a_run_ends_as_without_crashes(database: Any, program: list[Any], course: list[Fate], queues: Any) -> None:
    wanted = expected(program)
    failures.clear()
    with VirtualMesh(database) as mesh:
        handle = mesh.start(play(program))
        cluster = Cluster(mesh, course, queues)
        cluster.settle([handle])
        assert handle.result() == wanted
        check_history(handle)
        assert cluster.left_over() == []


@played
@given(program=programs, course=fates, queues=served, after=st.integers(0, 6), late=st.booleans())
def test_a_run_that_is_cancelled_or_late_ends_all_the_same(
    database: Any, program: list[Any], course: list[Fate], queues: Any, after: int, late: bool
) -> None:
    failures.clear()
    with VirtualMesh(database) as mesh:
        handle = mesh.start(play(program), deadline=after if late else None)
        cluster = Cluster(mesh, course, queues)
        for n in range(after):
            cluster.members[n % 2].round()
        if not late and handle.status() not in ENDED:
            handle.cancel()
        cluster.settle([handle])
        check_history(handle)
        assert cluster.left_over() == []
