"""A worker as the engine knows it: a lease, what it serves, the runs it keeps alive, and the work of one bell.

The rule of this file: who calls ``hear``, ``heartbeat`` and ``sweep``, from which threads and how often, is not its
business. Work that follows from work (tasks just placed, a run whose last task is done) is done here at once, within a
budget that keeps it fair to others; past it, the doorbell takes it. So it does with what else is due on a queue: that
stands in line again after each turn.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from squidmesh.core.schedule import triggers_of
from squidmesh.engine import advance as advancing
from squidmesh.engine import attempts, draining, sweeping
from squidmesh.engine.code import fingerprints
from squidmesh.engine.engine import Engine
from squidmesh.engine.failures import lost_tasks
from squidmesh.engine.ids import worker_id
from squidmesh.engine.live import Cache
from squidmesh.engine.pace import BUDGET, TURN, Pace
from squidmesh.engine.retention import Retention
from squidmesh.engine.returns import Returns
from squidmesh.engine.triggers import Triggers
from squidmesh.ports import Bell, BellKind, Capability

logger = logging.getLogger("squidmesh.worker")


class Worker:
    """One process (or one ``mesh.worker()``) that serves queues."""

    def __init__(self, engine: Engine, *, queues: Sequence[str] | None = None, threads: int = 4) -> None:
        self.engine = engine
        self.threads = threads
        self.id = worker_id()
        self.cache = Cache()
        self.pace = Pace()
        self.returns = Returns(self)
        self.triggers = Triggers(self)
        self.retention = Retention(self)
        self.stopping = False
        self.holding: set[tuple[str, int]] = set()  # runs that a thread here drives, with their epochs
        self.begun: set[tuple[str, str]] = set()  # tasks whose bodies are running here
        self.went_on: dict[str, bool] = {}  # by queue: whether the last run that was due had begun before
        self.on_due: Callable[[int], None] | None = None
        self.called: Callable[[], bool] = lambda: False  # whether a bell for some run waits for a thread here
        self._queues = tuple(queues) if queues is not None else None
        self._busy = 0
        self._lock = threading.Lock()
        self._can: tuple[int, Capability] | None = None

    # ------------------------------------------------------------------------------- what it serves

    @property
    def can(self) -> Capability:
        """Its queues and the code at hand (modules may be imported while it is up)."""
        code = self.engine.code
        size = len(code.workflows) + len(code.steps)
        if self._can is None or self._can[0] != size:
            steps, workflows = dict(code.steps), dict(code.workflows)
            queues = self._queues
            if queues is None:
                named = [step.queue for step in steps.values()] + [flow.queue for flow in workflows.values()]
                queues = ("default", *sorted({name for name in named if name} - {"default"}))
            triggers = tuple(triggers_of(workflows.values()))
            self._can = (size, Capability(queues, tuple(workflows), tuple(steps), triggers))
        return self._can[1]

    @property
    def queues(self) -> tuple[str, ...]:
        return self.can.queues

    def serves(self, queue: str) -> bool:
        return queue in self.can.queues

    @property
    def idle(self) -> int:
        return max(0, self.threads - self._busy)

    # ------------------------------------------------------------------------------------- the lease

    def enter(self) -> None:
        """Take a lease, under a new id."""
        self.id = worker_id()
        self.stopping = False
        settings = self.engine.settings
        self.engine.store.register(self.id, socket.gethostname(), os.getpid(), self.can, settings.lease)

    def heartbeat(self) -> None:
        """Renew the lease. If it is gone, forget all that was held, and take a new one, unless it is about to leave."""
        if self.engine.store.renew(self.id, self.engine.settings.lease):
            return
        self.cache.clear()
        if self.stopping:
            return
        logger.warning("worker %s lost its lease: what it held goes on elsewhere; it enters anew", self.id)
        self.enter()

    def sweep(self) -> float:
        """Look once for what is expired, due or unrung; seconds until the next look."""
        return sweeping.sweep(self)

    def stop(self) -> None:
        """Begin nothing new: runs are let go after the step in flight."""
        self.stopping = True

    def leave(self) -> None:
        """Hand back what is held, and give up the lease."""
        self.stopping = True
        store, begun = self.engine.store, self.begun.copy()
        unfinished = [task for task in store.tasks_of(self.id) if (task.run_id, task.position) in begun]
        store.leave(self.id, lost_tasks(self.engine.clock.now(), unfinished, self.id))
        self.cache.clear()

    # --------------------------------------------------------------------------------------- the work

    def hear(self, bell: Bell) -> None:
        """Do the work of one bell, and what follows from it, on this thread."""
        if self.stopping:
            return
        with self._lock:
            self._busy += 1
        try:
            self._work(bell)
        finally:
            with self._lock:
                self._busy -= 1

    def _work(self, bell: Bell) -> None:
        until = time.monotonic() + (TURN if bell.kind is BellKind.DRAIN else BUDGET)
        todo = deque([bell])
        while todo:
            follow = self.serve(todo.popleft(), until)
            elsewhere = [b for b in follow if b.kind is BellKind.DRAIN or not self.serves(b.queue)]
            todo.extend(b for b in follow if b not in elsewhere)
            if todo and (time.monotonic() > until or self.stopping):
                elsewhere.extend(todo)
                todo.clear()
            if elsewhere:
                self.engine.doorbell.ring(elsewhere)

    def serve(self, bell: Bell, until: float) -> list[Bell]:
        """The work of one bell itself; gives the bells that follow."""
        match bell.kind:
            case BellKind.ADVANCE:
                assert bell.run_id is not None
                return advancing.advance(self, bell.run_id)
            case BellKind.ATTEMPTS:
                return attempts.work(self, bell.queue, bell.run_id, until)
            case BellKind.DRAIN:
                return draining.drain(self, bell.queue, until)

    def fingerprints(self) -> dict[tuple[str, int], str]:
        return fingerprints(self.engine.code)

    def due_soon(self, at: int) -> None:
        """A run was let go that is due at this time: whoever sweeps may want to wake then."""
        if self.on_due is not None:
            self.on_due(at)
