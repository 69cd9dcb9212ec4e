"""The due work of a queue: tasks and runs by turns, for as long as the time of a bell.

    tasks ─▶ a run that is due ─▶ tasks ─▶ a run that has not begun yet ─▶ tasks ─▶ …

The rule of this file: no kind of work waits for the end of another, however much of that is due. Runs are taken in
order of time; but after one that goes on, one that has not begun yet is preferred: 100,000 timers do not keep a start
waiting. And after each turn the thread goes to whoever was called by name meanwhile; what is due is found again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from squidmesh.engine import attempts
from squidmesh.engine.advance import drive
from squidmesh.engine.hold import hold_next
from squidmesh.ports import Bell, BellKind

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

Take = Callable[[], list[Bell] | None]
"""Does some work of one kind; gives the bells that follow, or None when there was none."""


def drain(worker: Worker, queue: str, until: float) -> list[Bell]:
    """Take due work from a queue until there is none, the time is up, or somebody is called by name."""
    follow: list[Bell] = []
    kinds: list[Take] = [partial(attempts.some, worker, queue), _Runs(worker, queue)]
    while kinds:
        for take in tuple(kinds):
            bells = take()
            if bells is None:
                kinds.remove(take)
            else:
                follow.extend(bells)
        if kinds and (time.monotonic() > until or worker.stopping or worker.called()):
            return [*follow, Bell(BellKind.DRAIN, queue)]
    return follow


class _Runs:
    """Takes one run at a time, the most urgent first."""

    def __init__(self, worker: Worker, queue: str) -> None:
        self._worker = worker
        self._queue = queue
        self._left: Iterator[int] | None = None
        self._priority: int | None = None

    def __call__(self) -> list[Bell] | None:
        worker, queue = self._worker, self._queue
        if self._left is None:
            self._left = iter(worker.engine.store.priorities(queue))
            self._priority = next(self._left, None)
        while self._priority is not None:
            fresh = worker.went_on.get(queue, False)
            live = hold_next(worker, queue, self._priority, fresh)
            if live is not None:
                worker.went_on[queue] = not fresh and live.run.epoch > 1
                return drive(worker, live)
            self._priority = next(self._left, None)
        return None
