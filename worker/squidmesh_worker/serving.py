"""Serves a mesh's queues in this process: a Dramatiq worker on the mesh's broker, and the two loops.

The rule of this file: what is begun is ended in the opposite order, and the heartbeat outlives the last
attempt.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from queue import Empty, PriorityQueue
from typing import TYPE_CHECKING, Any, cast

import dramatiq

from squidmesh.ports import Doorbell
from squidmesh_worker.actors import declare_actors, is_named, queue_on_broker
from squidmesh_worker.doorbell import AnyDoorbell, HostDoorbell
from squidmesh_worker.loops import Loops

if TYPE_CHECKING:
    from squidmesh.engine.engine import Engine
    from squidmesh.engine.worker import Worker
    from squidmesh.mesh import Mesh

log = logging.getLogger("squidmesh.worker")

#: Milliseconds until a thread that waits for a message looks whether it should end.
_IDLE_TIMEOUT = 250


def serve(mesh_or_engine: Mesh | Engine, worker: Worker, doorbell: Doorbell, threads: int) -> Serving:
    """Register the worker and serve its queues with ``threads`` threads until ``stop``.

    The doorbell is one that ``doorbell_for`` gave. Raises what ``worker.enter`` raises; then nothing was
    started.
    """
    assert isinstance(doorbell, AnyDoorbell), f"{doorbell!r} was not given by doorbell_for"
    connect = getattr(mesh_or_engine, "connect_engine", None)
    engine = cast("Engine", mesh_or_engine if connect is None else connect())
    worker.enter()
    try:
        return Serving(engine, worker, doorbell, threads)
    except BaseException:
        worker.leave()
        raise


class Serving:
    """A worker at work in this process."""

    def __init__(self, engine: Engine, worker: Worker, doorbell: AnyDoorbell, threads: int) -> None:
        self._worker = worker
        self._doorbell = doorbell
        self._declaring = threading.Lock()
        self._finished = True
        self._broker = broker = doorbell.reading_broker()
        own = None if not isinstance(doorbell, HostDoorbell) else {queue_on_broker(q) for q in worker.queues}
        self._dramatiq = dramatiq.Worker(broker, queues=own, worker_threads=threads, worker_timeout=_IDLE_TIMEOUT)
        # Nothing is taken for which no thread is free: another process may have one.
        self._dramatiq.queue_prefetch = threads
        self._work = self._dramatiq.work_queue = _Line()
        if isinstance(doorbell, HostDoorbell):
            doorbell.listeners.add(worker, threads)
            doorbell.serving.add(self._dramatiq)
        else:
            declare_actors(broker, worker.hear, worker.queues[0])
        self._declare_queues()
        worker.called = self._work.called
        self._loops = Loops(engine, worker, before_sweep=self._declare_queues)
        self._dramatiq.start()
        self._loops.start()

    def stop(self, timeout: float = 30.0) -> bool:
        """Begin nothing new, let attempts in flight finish for ``timeout`` seconds, hand back what is held.

        Returns whether all of them finished. Never raises; a second call does nothing and returns the same.
        """
        if self._work.closed:
            return self._finished
        until = time.monotonic() + timeout
        self._worker.stop()
        self._loops.stop_sweep()
        if not isinstance(self._doorbell, HostDoorbell):
            self._broker.stop_consuming()  # type: ignore[attr-defined]
        with self._declaring:
            self._work.close()
        self._dramatiq.stop(timeout=max(0, int((until - time.monotonic()) * 1000)))
        self._finished = not self._busy()
        if isinstance(self._doorbell, HostDoorbell):
            left = until - time.monotonic()
            self._finished = self._doorbell.listeners.remove(self._worker, left) and self._finished
        self._loops.stop_heartbeat()
        try:
            self._worker.leave()
        except Exception as error:  # noqa: BLE001 — whatever it is, the lease heals it
            log.warning("what was held could not be handed back (%s); the lease will end by itself", error)
        self._let_go_of_broker()
        return self._finished

    def _declare_queues(self) -> None:
        """Read the worker's queues; modules that were imported meanwhile may name new ones."""
        with self._declaring:
            if not self._work.closed:
                for queue in self._worker.queues:
                    for name in self._doorbell.read_on(queue):
                        self._broker.declare_queue(name)

    def _busy(self) -> bool:
        return any(thread.is_alive() for thread in self._dramatiq.workers)

    def _let_go_of_broker(self) -> None:
        doorbell = self._doorbell
        if isinstance(doorbell, HostDoorbell):
            doorbell.serving.discard(self._dramatiq)
            # Dramatiq leaves a worker's middleware behind, which would read queues that are declared later.
            for middleware in list(self._broker.middleware):
                if getattr(middleware, "worker", None) is self._dramatiq:
                    self._broker.middleware.remove(middleware)
            return
        try:
            self._broker.close()
        except Exception as error:  # noqa: BLE001 — drivers differ, and nothing is left to do
            log.debug("closing the broker's connections: %s", error)


class _Line(PriorityQueue[Any]):
    """A Dramatiq worker's queue: first come, first served, and it knows who was called by name.

    Its waiting threads can be woken: without that, stopping takes a second.
    """

    closed = False

    def called(self) -> bool:
        """Whether a bell for some run waits; others only say that work is due."""
        return self._named > 0

    def close(self) -> None:
        with self.mutex:
            self.closed = True
            self.not_empty.notify_all()

    def _init(self, maxsize: int) -> None:
        self._waiting: deque[Any] = deque()
        self._named = 0

    def _qsize(self) -> int:
        return len(self._waiting) or int(self.closed)

    def _put(self, item: Any) -> None:
        self._waiting.append(item)
        self._named += is_named(item.message)

    def _get(self) -> Any:
        if not self._waiting:
            raise Empty
        item = self._waiting.popleft()
        self._named -= is_named(item.message)
        return item
