"""The sweep: what is expired, due, or was not rung, found again and again by every worker.

The rule of this file: leaderless and repeatable. It frees and rings, and keeps what the mesh was told to
keep; the work itself is done by whoever hears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from squidmesh.engine.failures import lost_tasks
from squidmesh.engine.ticking import tick
from squidmesh.ports import Bell, BellKind

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker


def sweep(worker: Worker) -> float:
    """One sweep; seconds until the next one is wanted."""
    engine = worker.engine
    worker.returns.flush()
    for dead in engine.store.expired():
        take_over(worker, dead)
    worker.triggers.keep()
    worker.retention.keep()
    engine.store.unblock(worker.can, worker.fingerprints(), limit=100)
    due = engine.store.due(worker.can, max(1, worker.idle))
    bells = [
        Bell(BellKind.DRAIN, queue)
        for found in (due.runs, due.tasks)
        for queue, count in found.items()
        for _ in range(min(count, worker.idle))
    ]
    if bells:
        engine.doorbell.ring(bells)
    if tick(engine, due.schedules):
        return 0.0  # more may be due; if not, the next look says when
    if due.next_at is None:
        return engine.settings.sweep
    return max(0.0, min(engine.settings.sweep, (due.next_at - engine.clock.now()) / 1e6))


def take_over(worker: Worker, dead: str) -> int:
    """Free what an expired worker holds: its runs go on from their history, its attempts are lost."""
    store = worker.engine.store
    return store.take_over(dead, lost_tasks(worker.engine.clock.now(), store.tasks_of(dead), dead))
