"""The two loops of a worker: the heartbeat that keeps its lease, and the sweep that finds what nobody rang.

The rule of this file: a loop never ends before it is told to, whatever the database does, and never spins.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squidmesh.engine.engine import Engine
    from squidmesh.engine.worker import Worker

log = logging.getLogger("squidmesh.worker")

#: Seconds between two sweeps at least, however much is due.
_BREATH = 0.01


class Loops:
    """The heartbeat and the sweep of one worker, each on a daemon thread.

    The heartbeat comes every third of a lease and goes on until ``stop_heartbeat``, so that attempts in
    flight keep their lease while a worker shuts down. The sweep comes every ``sweep`` seconds, at once when
    started, and sooner when the worker says that something it let go will be due.
    """

    def __init__(self, engine: Engine, worker: Worker, before_sweep: Callable[[], None] | None = None) -> None:
        self._before_sweep = before_sweep
        self._clock = engine.clock
        self._lease = float(engine.settings.lease)
        self._interval = float(engine.settings.sweep)
        self._worker = worker
        self._no_heartbeat = threading.Event()
        self._wake = threading.Condition()
        self._no_sweep = threading.Event()
        self._due = float("inf")  # monotonic; the earliest due time heard of since the last sweep
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._worker.on_due = self.due
        for name, loop in (("heartbeat", self._heartbeats), ("sweep", self._sweeps)):
            thread = threading.Thread(target=loop, name=f"squidmesh-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def due(self, at: int) -> None:
        """Something will be due ``at`` (microseconds since the epoch): sweep then, if not sooner."""
        due = time.monotonic() + (at - self._clock.now()) / 1_000_000
        with self._wake:
            if due < self._due:
                self._due = due
                self._wake.notify_all()

    def stop_sweep(self) -> None:
        with self._wake:
            self._no_sweep.set()
            self._wake.notify_all()

    def stop_heartbeat(self) -> None:
        """End both loops, and wait a moment for them."""
        self.stop_sweep()
        self._no_heartbeat.set()
        for thread in self._threads:
            thread.join(1.0)

    def _sweeps(self) -> None:
        trouble = _Trouble("sweep")
        while not self._no_sweep.is_set():
            with self._wake:
                self._due = float("inf")
            pause = self._interval
            try:
                if self._before_sweep is not None:
                    self._before_sweep()
                pause = min(pause, self._worker.sweep())
                trouble.over()
            except Exception as error:  # noqa: BLE001 — said below, and tried again
                trouble.seen(error)
            until = time.monotonic() + max(pause, _BREATH)
            with self._wake:
                while not self._no_sweep.is_set() and (left := min(until, self._due) - time.monotonic()) > 0:
                    self._wake.wait(left)

    def _heartbeats(self) -> None:
        trouble = _Trouble("heartbeat")
        while not self._no_heartbeat.wait(self._lease / (15 if trouble.since else 3)):
            try:
                self._worker.heartbeat()
                trouble.over()
            except Exception as error:  # noqa: BLE001 — said below, and tried again
                trouble.seen(error)


class _Trouble:
    """Says once that a loop fails, with the traceback, and once that it works again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.since: float | None = None

    def seen(self, error: Exception) -> None:
        if self.since is None:
            self.since = time.monotonic()
            log.warning("the %s failed and is tried again until it works", self._what, exc_info=error)

    def over(self) -> None:
        if self.since is not None:
            log.warning("the %s works again after %.1f s", self._what, time.monotonic() - self.since)
            self.since = None
