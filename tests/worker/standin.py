"""Stand-ins for the engine's side: a worker that writes down which bells it heard."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from squidmesh.ports import Bell, BellKind
from squidmesh_worker import Serving, serve


class StandInWorker:
    """Hears bells, and lets a test wait until it has; ``on_hear`` runs on the thread that heard."""

    def __init__(self, *queues: str, on_hear: Callable[[Bell], object] | None = None) -> None:
        self.queues = queues or ("default",)
        self.on_due: Callable[[int], None] | None = None
        self.called: Callable[[], bool] = lambda: False
        self.heard: list[Bell] = []
        self.heard_at: list[float] = []
        self.calls: list[str] = []
        self.hearing = 0
        self.sweeps = 0
        self.heartbeats = 0
        self.next_due = 60.0
        self.fail_with: Exception | None = None
        self.begun = threading.Event()
        self.changed = threading.Condition()
        self._on_hear = on_hear

    def _note(self, call: str) -> None:
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()

    def enter(self) -> None:
        self._note("enter")

    def hear(self, bell: Bell) -> None:
        with self.changed:
            self.hearing += 1
            self.changed.notify_all()
        self.begun.set()
        if self._on_hear is not None:
            self._on_hear(bell)
        with self.changed:
            self.hearing -= 1
            self.heard.append(bell)
            self.heard_at.append(time.perf_counter())
            self.changed.notify_all()

    def heartbeat(self) -> None:
        with self.changed:
            self.heartbeats += 1
            self.changed.notify_all()
        if self.fail_with is not None:
            raise self.fail_with

    def sweep(self) -> float:
        with self.changed:
            self.sweeps += 1
            self.changed.notify_all()
        if self.fail_with is not None:
            raise self.fail_with
        return self.next_due

    def stop(self) -> None:
        self._note("stop")

    def leave(self) -> None:
        self._note("leave")

    def wait_until(self, condition: Callable[[], bool], within: float = 30.0) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, within), f"heard {self.heard}, calls {self.calls}"

    def wait_for(self, count: int, within: float = 30.0) -> None:
        self.wait_until(lambda: len(self.heard) >= count, within)


class RealClock:
    def now(self) -> int:
        return time.time_ns() // 1000


def stand_in_engine(*, lease: float = 15.0, sweep: float = 60.0) -> Any:
    return SimpleNamespace(settings=SimpleNamespace(lease=lease, sweep=sweep), clock=RealClock())


@contextmanager
def serving(
    worker: StandInWorker, doorbell: Any, *, threads: int = 4, lease: float = 15.0, sweep: float = 60.0
) -> Iterator[Serving]:
    running = serve(stand_in_engine(lease=lease, sweep=sweep), worker, doorbell, threads)  # type: ignore[arg-type]
    try:
        yield running
    finally:
        running.stop(5.0)


def advance(run_id: str = "r-1", queue: str = "default") -> Bell:
    return Bell(BellKind.ADVANCE, queue, run_id)
