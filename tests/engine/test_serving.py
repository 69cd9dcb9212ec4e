"""Real threads: a worker in this process, versions side by side, fairness, sleeping runs by the thousand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import Flow, Mesh, Retry, RunFailed, context, fan_out, gather, publish, sleep, step, workflow
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds

order: list[int] = []
together = threading.Barrier(3, timeout=30)


@step
def note(n: int) -> int:
    order.append(n)
    return n


@step
def meets() -> bool:
    together.wait()
    return True


@step
async def waits(n: int) -> int:
    await asyncio.sleep(0.05)
    return n


@step(retry=Retry(max_attempts=3, initial=0.05))
def shaky() -> int:
    if context().attempt < 3:
        raise ConnectionError("again")
    return context().attempt


@workflow
def one_note(n: int) -> Flow[int]:
    return (yield from note(n))


@workflow(name="greeting", version=1)
def greeting_1(name: str) -> Flow[str]:
    yield from sleep(60)
    return f"hello {name}"


@workflow(name="greeting", version=2)
def greeting_2(name: str) -> Flow[dict[str, str]]:
    yield from note(2)
    return {"hello": name}


@workflow
def meeting() -> Flow[list[bool]]:
    return (yield from gather([meets(), meets(), meets()]))


@workflow
def many(count: int) -> Flow[int]:
    out = yield from fan_out(waits, range(count))
    yield from publish("done", len(out))
    return sum(out.values())


@workflow
def mixed() -> Flow[list[Any]]:
    first = yield from shaky()
    yield from sleep(0.05)
    return [first, (yield from waits(3))]


@workflow
def naps(seconds: float) -> Flow[None]:
    yield from sleep(seconds)


@pytest.fixture
def mesh(database_url: str) -> Iterator[Mesh]:
    with Mesh(database_url, sweep=0.2) as made:
        yield made


@pytest.fixture(autouse=True)
def _fresh() -> None:
    order.clear()
    together.reset()


def test_run_starts_serves_and_returns(mesh: Mesh) -> None:
    assert mesh.run(mixed(), timeout=20) == [3, 3]


def test_parallel_steps_run_on_several_threads_at_once(mesh: Mesh) -> None:
    with mesh.worker(threads=3):
        assert mesh.start(meeting()).result(timeout=60) == [True] * 3


def test_async_steps_run_side_by_side_on_few_threads(mesh: Mesh) -> None:
    with mesh.worker(threads=2):
        handle = mesh.start(many(60))
        assert handle.result(timeout=60) == sum(range(60))
        assert handle.published("done", int) == 60


def test_a_handle_can_be_awaited(mesh: Mesh) -> None:
    async def main() -> list[int]:
        return list(await asyncio.gather(*(wait(handle) for handle in handles)))

    async def wait(handle: Any) -> int:
        return int(await handle)

    with mesh.worker():
        handles = [mesh.start(one_note(n)) for n in range(5)]
        assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_fifty_runs_on_four_threads_all_end_with_whole_histories(mesh: Mesh) -> None:
    with mesh.worker(threads=4):
        handles = mesh.start_many([mixed() for _ in range(50)])
        assert [handle.result(timeout=60) for handle in handles] == [[3, 3]] * 50
    for handle in handles:
        assert [event.seq for event in handle.history()] == list(range(1, len(handle.history()) + 1))
        assert kinds(handle).count("StepCompleted") == 2


def test_waiting_longer_than_the_timeout_says_what_the_run_waits_for(mesh: Mesh) -> None:
    handle = mesh.start(one_note(1))
    with pytest.raises(TimeoutError, match="nobody alive serves"):
        handle.result(timeout=0.05)


def test_a_run_that_fails_raises_where_it_is_waited_for(mesh: Mesh) -> None:
    with mesh.worker(), pytest.raises(RunFailed, match="again"):
        mesh.start(shaky_once()).result(timeout=60)


@workflow
def shaky_once() -> Flow[int]:
    return (yield from shaky().options(retry=Retry(max_attempts=1)))


def test_versions_stand_side_by_side_and_runs_stay_on_theirs() -> None:
    with VirtualMesh() as mesh:
        old = mesh.start(greeting_1("ann"))
        mesh.drain()
        new = mesh.start(greeting_2("bob"))
        assert new.result() == {"hello": "bob"}
        mesh.restart()
        assert old.result() == "hello ann"
        assert [mesh.handle(run.run_id).inspect().version for run in mesh.list(workflow="greeting")] == [2, 1]


def test_a_run_whose_version_is_gone_waits_and_says_so(sqlite_url: str) -> None:
    with VirtualMesh(sqlite_url) as before:
        run_id = before.start(greeting_1("ann")).run_id
        before.drain()
    with VirtualMesh(sqlite_url, workflows=[greeting_2]) as after:
        after.advance(3600)
        handle = after.handle(run_id)
        assert handle.status() == "waiting"
        assert handle.explain().reason == "no_code"
    with VirtualMesh(sqlite_url) as again:
        assert again.handle(run_id).result() == "hello ann"


def test_the_lower_priority_number_goes_first() -> None:
    with VirtualMesh() as mesh:
        for n, priority in enumerate([5, 0, -5, 0]):
            mesh.start(one_note(n), priority=priority)
        mesh.drain()
        assert order == [2, 1, 3, 0]


def test_what_is_evicted_goes_on_from_its_history() -> None:
    with VirtualMesh() as mesh:
        mesh.worker_now.cache._kept = 3
        handles = mesh.start_many([naps(n + 1) for n in range(12)])
        mesh.drain()
        assert len(mesh.worker_now.cache) == 3
        mesh.advance(60)
        assert {handle.status() for handle in handles} == {"completed"}
