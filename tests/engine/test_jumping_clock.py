"""Clocks that jump, forward and back: nothing fires twice, and nothing is lost.

The clock that is given (or, on SQLite, the machine's) may jump; on PostgreSQL the machine's may jump as it likes.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

import pytest

from squidmesh import Every, Flow, Mesh, Retry, Signal, run_info, sleep, step, workflow
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds

HOUR = 3600.0
DAY = 24 * HOUR
NUDGE = Signal("nudge")
done: list[str] = []


@step
def record(what: str) -> None:
    done.append(what)


@step(retry=Retry(max_attempts=3, initial=60))
def fails_twice() -> int:
    done.append("attempt")
    if done.count("attempt") < 3:
        raise ConnectionError("again")
    return done.count("attempt")


@workflow
def three_naps(name: str) -> Flow[None]:
    for n in range(3):
        yield from sleep(HOUR)
        yield from record(f"{name}{n}")


@workflow
def waits_a_day() -> Flow[bool | None]:
    return (yield from NUDGE.wait(timeout=DAY))


@workflow
def retries() -> Flow[int]:
    return (yield from fails_twice())


@workflow
def ticks_off() -> Flow[None]:
    yield from record(str(run_info().tick))


@workflow(name="clock.naps")
def naps(seconds: float) -> Flow[None]:
    yield from sleep(seconds)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    done.clear()


def jump(mesh: VirtualMesh, seconds: float) -> None:
    """The clock is set, under a worker that is up, and notices at its next heartbeat."""
    mesh._clock._now += round(seconds * 1e6)
    mesh.drain()


JUMPS = {
    "an hour back, again and again": [-HOUR] * 5,
    "a day forward": [DAY],
    "forward and back": [2 * HOUR, -2 * HOUR, HOUR, -HOUR],
    "back and forward": [-DAY, DAY, -HOUR, 3 * HOUR],
    "by a little": [-1.0, 0.5, -0.25, 2.0],
}


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
def test_a_timer_fires_once_however_the_clock_jumps(mesh: VirtualMesh, jumps: list[float]) -> None:
    handles = [mesh.start(three_naps(name)) for name in "ab"]
    for seconds in jumps:
        mesh.advance(HOUR / 2)
        jump(mesh, seconds)
    mesh.advance(5 * DAY)
    assert sorted(done) == [f"{name}{n}" for name in "ab" for n in range(3)]
    for handle in handles:
        assert handle.status() == "completed"
        assert kinds(handle).count("TimerFired") == 3


def test_a_timer_that_was_fired_is_not_fired_again_when_its_time_comes_again(mesh: VirtualMesh) -> None:
    handle = mesh.start(three_naps("a"))
    mesh.advance(HOUR)
    jump(mesh, -HOUR / 2)
    assert mesh.advance(HOUR / 2) == 0
    assert done == ["a0"]
    assert kinds(handle).count("TimerFired") == 1


def test_a_wait_that_timed_out_stays_so_when_the_clock_goes_back(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_day())
    mesh.advance(DAY)
    jump(mesh, -DAY)
    assert handle.result() is None
    assert mesh.drain() == 0


def test_a_wait_that_was_signalled_does_not_time_out_when_the_clock_jumps_ahead(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_day())
    mesh.drain()
    handle.signal(NUDGE)
    jump(mesh, 2 * DAY)
    assert handle.result() is True
    assert "TimerFired" not in kinds(handle)


@pytest.mark.parametrize("seconds", [-DAY, DAY])
def test_a_retry_comes_once_after_a_jump(mesh: VirtualMesh, seconds: float) -> None:
    handle = mesh.start(retries())
    mesh.drain()
    jump(mesh, seconds)
    mesh.advance(3 * DAY)
    assert handle.result() == 3
    assert done.count("attempt") == 3


@pytest.mark.parametrize("jumps", JUMPS.values(), ids=JUMPS)
def test_a_tick_starts_one_run_however_the_clock_jumps(mesh: VirtualMesh, jumps: list[float]) -> None:
    schedule = mesh.schedule("by day and night", Every(2 * HOUR), ticks_off(), catch_up="all")
    mesh.drain()
    first = mesh.now
    for seconds in jumps:
        mesh.advance(HOUR / 2)
        jump(mesh, seconds)
    mesh.advance(first + timedelta(days=2))
    assert set(Counter(done).values()) == {1}
    assert sorted(done) == [str(first + timedelta(hours=2 * n)) for n in range(1, 25)]
    assert len({tick.run_id for tick in schedule.ticks()}) == len(list(schedule.ticks()))


def test_a_worker_whose_lease_ended_by_a_jump_goes_on_under_another_name(mesh: VirtualMesh) -> None:
    handle = mesh.start(three_naps("a"))
    mesh.drain()
    before = mesh.worker_now.id
    jump(mesh, DAY)
    assert mesh.worker_now.id != before
    mesh.advance(DAY)
    assert handle.status() == "completed"
    assert kinds(handle).count("TimerFired") == 3


@pytest.mark.parametrize("ahead", [DAY, -DAY])
def test_on_postgres_the_clock_of_the_workers_machine_does_not_matter(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    real, real_ns = time.time, time.time_ns
    with Mesh(postgres_url, sweep=0.2) as mesh, mesh.worker(threads=2):
        long = mesh.start(naps(HOUR))
        monkeypatch.setattr(time, "time", lambda: real() + ahead)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + round(ahead * 1e9))
        short = mesh.start(naps(0.3))
        short.result(30)
        assert mesh.start(naps(0.0)).result(30) is None
        assert long.status() in ("pending", "running", "waiting")
        began, fired = (event.at for event in short.history() if event.kind in ("RunStarted", "TimerFired"))
        assert abs(began / 1e6 - real()) < HOUR
        assert 0.3e6 <= fired - began < HOUR * 1e6
