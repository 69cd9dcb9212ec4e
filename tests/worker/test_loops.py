"""The loops keep going whatever the database does, come when they are needed, and end when told."""

import time

from squidmesh_worker.loops import Loops
from tests.worker.standin import StandInWorker, stand_in_engine


def _loops(worker: StandInWorker, *, lease: float = 15.0, sweep: float = 60.0) -> Loops:
    loops = Loops(stand_in_engine(lease=lease, sweep=sweep), worker)  # type: ignore[arg-type]
    loops.start()
    return loops


def test_the_first_sweep_comes_at_once() -> None:
    worker = StandInWorker()
    loops = _loops(worker)
    worker.wait_until(lambda: worker.sweeps == 1)
    loops.stop_heartbeat()


def test_the_next_sweep_comes_when_the_last_one_said() -> None:
    worker = StandInWorker()
    worker.next_due = 0.05
    loops = _loops(worker)
    worker.wait_until(lambda: worker.sweeps >= 3)
    loops.stop_heartbeat()


def test_a_sweep_comes_at_least_once_in_an_interval() -> None:
    worker = StandInWorker()
    loops = _loops(worker, sweep=0.05)
    worker.wait_until(lambda: worker.sweeps >= 3)
    loops.stop_heartbeat()


def test_a_due_time_that_is_sooner_wakes_the_sweep() -> None:
    worker = StandInWorker()
    loops = _loops(worker)
    worker.wait_until(lambda: worker.sweeps == 1)
    begun = time.monotonic()
    assert worker.on_due is not None
    worker.on_due((time.time_ns() // 1000) + 200_000)
    worker.wait_until(lambda: worker.sweeps == 2)
    assert 0.15 < time.monotonic() - begun < 30
    loops.stop_heartbeat()


def test_what_stays_due_does_not_make_the_sweep_spin() -> None:
    worker = StandInWorker()
    worker.next_due = 0.0
    begun = time.monotonic()
    loops = _loops(worker)
    worker.wait_until(lambda: worker.sweeps >= 20)
    seconds = time.monotonic() - begun
    loops.stop_heartbeat()
    assert seconds > 0.15


def test_a_sweep_and_a_heartbeat_that_fail_are_tried_again() -> None:
    worker = StandInWorker()
    worker.fail_with = RuntimeError("the database is away")
    loops = _loops(worker, lease=0.3, sweep=0.05)
    worker.wait_until(lambda: worker.sweeps >= 3 and worker.heartbeats >= 3)
    worker.fail_with = None
    seen = worker.heartbeats
    worker.wait_until(lambda: worker.heartbeats >= seen + 2)
    loops.stop_heartbeat()


def test_the_heartbeat_outlives_the_sweep() -> None:
    worker = StandInWorker()
    loops = _loops(worker, lease=0.06, sweep=0.01)
    worker.wait_until(lambda: worker.sweeps >= 1)
    loops.stop_sweep()
    seen = worker.heartbeats
    worker.wait_until(lambda: worker.heartbeats >= seen + 3)
    loops.stop_heartbeat()
    assert not any(thread.is_alive() for thread in loops._threads)
