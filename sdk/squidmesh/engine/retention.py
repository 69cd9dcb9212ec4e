"""The policy that the sweep keeps: what a mesh's ``retention`` says may go goes, a little at a time.

The rule of this file: at most one small batch a sweep, then a rest. Every worker does so; what one is at, others pass
over.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from squidmesh.engine.pruning import Stride, Walk, wanted

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

PACE = 0.05  # part of a worker's time
QUIET = 60.0  # seconds from the end of one pass to the next


class Retention:
    """What a worker knows of the pass that it is on."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._walk: Walk | None = None
        self._stride = Stride(PACE)
        self._next_at = 0

    def keep(self) -> None:
        """Prune a batch, if it is time for one."""
        engine = self._worker.engine
        now = engine.clock.now()
        if not engine.settings.retention or now < self._next_at:
            return
        if self._walk is None:
            self._walk = Walk(engine, wanted(now, engine.settings.retention))
        began = time.perf_counter()
        trees = self._walk.next(self._stride.trees)
        if trees is None:
            self._walk = None
            pause = QUIET * random.uniform(0.5, 1.0)  # noqa: S311  # so that not all workers look at once
        else:
            if trees:
                engine.store.prune(trees)
            pause = self._stride.took(time.perf_counter() - began)
        self._next_at = now + round(pause * 1e6)
