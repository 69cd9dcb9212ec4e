"""What a worker gives back because something broke under it: a run it cannot drive, tasks it cannot report.

The rule of this file: nothing stays claimed by a worker that lives and does not work on it. What cannot be given back
now, because the database is away, is given back at a later sweep; should the lease end before, others free it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from squidmesh.engine.failures import lost_tasks
from squidmesh.errors import StoreUnavailable
from squidmesh.ports import TaskRow

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

logger = logging.getLogger("squidmesh.engine")


class Returns:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._engine = worker.engine
        self._doubt = False
        self._lock = threading.Lock()
        self._later: list[Callable[[], object]] = []

    def run(self, run_id: str, holder: str, epoch: int) -> None:
        """Let a run go that could not be driven; it is due again after a lease, here or elsewhere."""
        due = self._engine.clock.now() + round(self._engine.settings.lease * 1e6)
        self._try(lambda: self._engine.store.let_go(run_id, holder, epoch, due))

    def unbegun(self, holder: str, tasks: Sequence[TaskRow]) -> None:
        """Hand back tasks that were claimed and not begun."""
        claimed = [(task.run_id, task.position, task.number) for task in tasks]
        self._try(lambda: self._engine.store.hand_back(holder, claimed))

    def begun(self, holder: str, tasks: Sequence[TaskRow]) -> None:
        """Give up attempts whose outcome could not be recorded: they are lost."""
        self._try(lambda: self._engine.store.lose(holder, lost_tasks(self._engine.clock.now(), tasks, holder)))

    def doubt(self) -> None:
        """A claim's answer was lost: at the next sweep, look for runs that are held and that nobody drives."""
        self._doubt = True

    def flush(self) -> None:
        """Try again what could not be given back, and find what is held without our knowing."""
        if self._doubt:
            self._doubt = False
            try:
                self._let_go_unknown()
            except BaseException:
                self._doubt = True  # the database is still away
                raise
        with self._lock:
            later, self._later = self._later, []
        for give in later:
            self._try(give)

    def _let_go_unknown(self) -> None:
        holder, now = self._worker.id, self._engine.clock.now()
        for run_id, epoch in self._engine.store.held(holder):
            if (run_id, epoch) not in self._worker.holding:
                self._engine.store.let_go(run_id, holder, epoch, now)

    def _try(self, give: Callable[[], object]) -> None:
        try:
            give()
        except StoreUnavailable as away:
            logger.warning("%s; what is held is given back later", away)
            with self._lock:
                self._later.append(give)
