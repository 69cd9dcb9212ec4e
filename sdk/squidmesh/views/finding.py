"""One thing that a run waits for, and who is there to serve it.

The rule of this file: values, and lookups among the workers; what a run waits for is found in findings.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from squidmesh.core.failure import Failure
from squidmesh.core.status import Reason
from squidmesh.ports import WorkerRow

Kind = Literal[
    "run", "start", "worker", "code", "step", "attempt", "retry", "timer", "person", "undo", "signal", "gate", "child"
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the run waits for: ``kind`` and ``name`` say what. Times are in microseconds.

    ``call``: the handler of the step that is called, not the step itself. ``entry``: what a rollback stands at, which
    may be something else than a ``what``. ``child``: the run whose end, or rollback, is waited for.
    """

    reason: Reason
    kind: Kind
    name: str
    position: str | None = None
    since: int | None = None
    until: int | None = None
    queue: str | None = None
    step: str | None = None
    worker: str | None = None
    attempt: int = 0
    failure: Failure | None = None
    call: str | None = None
    entry: str | None = None
    what: str = "step"
    child: str | None = None


class Serving:
    """Who is alive, and what they serve."""

    def __init__(self, workers: Sequence[WorkerRow], now: int) -> None:
        self.now = now
        self._leases = {worker.worker: worker.expires_at for worker in workers}
        self._alive = [worker for worker in workers if worker.expires_at > now]
        self._on: dict[str, tuple[int, frozenset[tuple[str, int]], frozenset[str]]] = {}

    def alive(self, worker: str | None) -> bool:
        """Whether the worker holds a lease now."""
        return worker is not None and self._leases.get(worker, 0) > self.now

    def gone_since(self, worker: str | None) -> int | None:
        """When the lease of a worker that is gone ended, as far as that is still known."""
        return None if worker is None else self._leases.get(worker)

    def count(self, queue: str) -> int:
        """How many workers serve the queue."""
        return self._queue(queue)[0]

    def lacks(self, queue: str, code: tuple[str, int] | str) -> Reason | None:
        """Why nobody serves a workflow ``(name, version)`` or a step on this queue; None if somebody does."""
        count, workflows, steps = self._queue(queue)
        if not count:
            return Reason.NO_WORKER
        known = code in steps if isinstance(code, str) else code in workflows
        return None if known else Reason.NO_CODE

    def _queue(self, queue: str) -> tuple[int, frozenset[tuple[str, int]], frozenset[str]]:
        if queue not in self._on:
            there = [worker for worker in self._alive if queue in worker.queues]
            self._on[queue] = (
                len(there),
                frozenset((name, version) for w in there for name, version in w.code.get("workflows", ())),
                frozenset(step for w in there for step in w.code.get("steps", ())),
            )
        return self._on[queue]
