"""Many timers at once: fired in order of time, once each, and nobody else has to wait for the last of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squidmesh import Flow, Mesh, fan_out, sleep, sleep_until, step, workflow
from squidmesh.ports import Bell, BellKind
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds

STORM = 60
DRAIN = Bell(BellKind.DRAIN, "default")
order: list[Any] = []


@step(name="fair.note")
def note(what: Any) -> None:
    order.append(what)


@step(name="fair.takes_a_moment")
def takes_a_moment(what: Any) -> None:
    time.sleep(0.01)
    order.append(what)


@workflow(name="fair.wakes")
def wakes(seconds: float) -> Flow[None]:
    yield from sleep(seconds)
    yield from note(seconds)


@workflow(name="fair.wakes_at")
def wakes_at(due: datetime) -> Flow[None]:
    yield from sleep_until(due)
    yield from takes_a_moment("timer")


@workflow(name="fair.begins")
def begins(what: str = "fresh") -> Flow[None]:
    yield from note(what)


@workflow(name="fair.spreads")
def spreads(width: int) -> Flow[None]:
    yield from fan_out(note, [f"task {n}" for n in range(width)])


@pytest.fixture(autouse=True)
def _fresh() -> None:
    order.clear()


def storm(mesh: VirtualMesh, count: int = STORM) -> list[Any]:
    """Runs whose timers are due, the last to be started first; nobody has looked yet."""
    handles = mesh.start_many([wakes(60 + count - n) for n in range(count)])
    mesh.drain()
    mesh.sleep_through(60 + count)
    return handles


def take_turns(mesh: VirtualMesh, turns: int) -> None:
    """Serve a bell of the sweep as a thread whose time is always up: each bell is one turn."""
    todo = [DRAIN]
    for _ in range(turns):
        if todo:
            todo.extend(mesh.worker_now.serve(todo.pop(0), 0.0))


def test_timers_fire_in_order_of_time_and_once_each(mesh: VirtualMesh) -> None:
    handles = storm(mesh)
    mesh.worker_now.serve(DRAIN, float("inf"))
    assert order == sorted(order)
    assert len(order) == STORM
    for handle in handles:
        assert handle.status() == "completed"
        assert kinds(handle).count("TimerFired") == 1


def test_a_run_that_is_started_beside_a_storm_of_timers_begins_at_the_next_turn_but_one(mesh: VirtualMesh) -> None:
    storm(mesh)
    mesh.start_many([begins() for _ in range(5)])  # rung as work that is due, not by name
    take_turns(mesh, 10)
    assert order.count("fresh") == 5
    assert [what for what in order if what != "fresh"] == [61, 62, 63, 64, 65]


def test_starts_do_not_keep_timers_waiting(mesh: VirtualMesh) -> None:
    storm(mesh, 3)
    mesh.start_many([begins() for _ in range(20)])
    take_turns(mesh, 6)
    assert [what for what in order if what != "fresh"] == [61, 62, 63]


def test_runs_that_have_not_begun_are_taken_in_the_order_in_which_they_were_started(mesh: VirtualMesh) -> None:
    for n in range(10):
        mesh.start(begins(f"{n}"))
        mesh._clock.set(mesh._clock.now() + 1)
    take_turns(mesh, 10)
    assert order == [f"{n}" for n in range(10)]


def test_tasks_do_not_wait_for_the_end_of_a_storm_nor_timers_for_that_of_the_tasks(mesh: VirtualMesh) -> None:
    storm(mesh)
    wide = mesh.start(spreads(STORM))
    assert mesh.worker_now.serve(Bell(BellKind.ADVANCE, "default", wide.run_id), float("inf"))
    take_turns(mesh, 6)
    fired = [what for what in order if not isinstance(what, str)]
    assert fired == [61, 62, 63, 64, 65, 66]
    assert len(order) - len(fired) >= 6


def test_work_that_is_due_gives_way_after_each_turn_to_a_bell_for_some_run(mesh: VirtualMesh) -> None:
    storm(mesh)
    mesh.worker_now.called = lambda: True
    assert mesh.worker_now.serve(DRAIN, float("inf")) == [DRAIN]
    assert order == [61]
    mesh.worker_now.called = lambda: False
    assert mesh.worker_now.serve(DRAIN, float("inf")) == []
    assert order == sorted(order)
    assert len(order) == STORM


def test_what_is_urgent_is_fired_before_what_is_due_longer(mesh: VirtualMesh) -> None:
    mesh.start_many([wakes(60 + n) for n in range(3)])
    mesh.start_many([wakes(70 + n) for n in range(3)], priority=-1)
    mesh.drain()
    mesh.sleep_through(100)
    take_turns(mesh, 6)
    assert order == [70, 71, 72, 60, 61, 62]


@pytest.fixture
def real(database_url: str) -> Iterator[Mesh]:
    with Mesh(database_url, sweep=0.2) as made:
        yield made


def test_on_threads_a_run_that_is_started_in_a_storm_ends_long_before_it(real: Mesh) -> None:
    count = 100
    with real.worker(threads=2):
        due = datetime.now(UTC) + timedelta(seconds=2)
        timers = real.start_many([wakes_at(due) for _ in range(count)])
        until = time.monotonic() + 30
        while not order and time.monotonic() < until:
            threading.Event().wait(0.005)
        real.start(begins()).result(30)
        for handle in real.start_many([begins() for _ in range(4)]):
            handle.result(30)
        assert order.count("timer") < count
        for timer in timers:
            timer.result(60)
    assert order.count("timer") == count
