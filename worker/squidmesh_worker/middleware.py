"""Lets plain ``dramatiq`` processes on a host's own broker serve a mesh.

The rule of this file: the host's application comes first. A database that is away at boot is waited for in
the background; nothing here ends the host's process.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import dramatiq

from squidmesh_worker.actors import queue_of, queue_on_broker
from squidmesh_worker.doorbell import HostDoorbell
from squidmesh_worker.loops import Loops

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker
    from squidmesh.mesh import Mesh

log = logging.getLogger("squidmesh.worker")

#: Seconds between two attempts to begin, when the database is not there at boot.
_AGAIN = 2.0


class SquidMesh(dramatiq.Middleware):
    """Serves ``mesh`` in every Dramatiq worker that boots on the broker it is added to.

    ``Mesh(broker=broker)`` adds it. It serves all queues that the imported code names, of those that the
    Dramatiq worker listens to (``dramatiq -Q squidmesh.default``: what Squid Mesh calls ``default``).
    """

    def __init__(self, mesh: Mesh, doorbell: HostDoorbell) -> None:
        self._mesh = mesh
        self.doorbell = doorbell
        self._worker: Worker | None = None
        self._loops: Loops | None = None
        self._stopped = threading.Event()
        self._changing = threading.Lock()

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if worker in self.doorbell.serving or self._worker is not None:
            return
        self._stopped.clear()
        if not self._begin(broker, worker):
            threading.Thread(
                target=self._begin_later, args=(broker, worker), name="squidmesh-boot", daemon=True
            ).start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if worker in self.doorbell.serving:
            return
        with self._changing:
            self._stopped.set()
        if self._worker is not None and self._loops is not None:
            self._worker.stop()
            self._loops.stop_sweep()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if worker in self.doorbell.serving or self._worker is None or self._loops is None:
            return
        self.doorbell.listeners.remove(self._worker, timeout=60.0)
        self._loops.stop_heartbeat()
        self._worker.leave()
        self._worker = self._loops = None

    def _begin(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> bool:
        """Register and start the loops; False when that has to be tried again."""
        from squidmesh.engine.worker import Worker

        try:
            engine = self._mesh.connect_engine()
            served = _served(Worker(engine, threads=worker.worker_threads).queues, worker)
            if not served:
                log.warning("this process listens to no queue of Squid Mesh; it serves no workflows")
                return True
            ours = Worker(engine, queues=served, threads=worker.worker_threads)
            ours.enter()
        except Exception as error:  # noqa: BLE001 — the host's process goes on whatever it is
            log.warning("workflows are not served yet, it is tried again every %.0f s: %s", _AGAIN, error)
            return False
        with self._changing:
            if self._stopped.is_set():  # the process shut down meanwhile
                ours.leave()
                return True
            self._worker, self._loops = ours, Loops(engine, ours)
            self.doorbell.listeners.add(ours, worker.worker_threads)
            for queue in served:
                broker.declare_queue(queue_on_broker(queue))
            self._loops.start()
        log.info("serving workflows: queues %s, %d threads", ", ".join(served), worker.worker_threads)
        return True

    def _begin_later(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        while not self._stopped.wait(_AGAIN):
            if self._begin(broker, worker):
                return


def _served(queues: tuple[str, ...], worker: dramatiq.Worker) -> list[str]:
    """Those of our queues that this Dramatiq worker listens to; those it was told by name too."""
    listened = worker.consumer_whitelist
    if not listened:
        return list(queues)
    return sorted(ours for queue in listened if (ours := queue_of(queue)) is not None)
