"""Steps that are told that nobody wants them any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import Cancelled, Flow, Mesh, RunCancelled, RunFailed, context, race, sleep, step, workflow

begun = threading.Event()
heard: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    begun.clear()
    heard.clear()


@step
def works() -> str:
    begun.set()
    try:
        while True:
            context().heartbeat()
            threading.Event().wait(0.01)
    except Cancelled:
        heard.append(context().step)
        raise


@step
def raises_cancelled() -> None:
    raise Cancelled("of my own")


@workflow
def one_step() -> Flow[str]:
    return (yield from works())


@workflow
def loses_its_race() -> Flow[Any]:
    return (yield from race(works(), sleep(0.01)))


@workflow
def cancels_itself() -> Flow[None]:
    yield from raises_cancelled()


@pytest.fixture
def mesh(database_url: str) -> Iterator[Mesh]:
    with Mesh(database_url, sweep=0.1) as made, made.worker():
        yield made


def test_a_cancelled_run_tells_its_step_at_the_next_heartbeat(mesh: Mesh) -> None:
    handle = mesh.start(one_step())
    assert begun.wait(30)
    handle.cancel(note="enough")
    with pytest.raises(RunCancelled, match="enough"):
        handle.result(timeout=60)
    assert heard == ["works"]


def test_a_step_that_lost_its_race_is_told_at_the_next_heartbeat(mesh: Mesh) -> None:
    handle = mesh.start(loses_its_race())
    assert begun.wait(30)
    assert handle.result(timeout=60) == [1, None]
    assert heard == ["works"]


def test_a_step_that_raises_cancelled_by_itself_has_failed(mesh: Mesh) -> None:
    with pytest.raises(RunFailed, match="of my own"):
        mesh.start(cancels_itself()).result(timeout=60)
