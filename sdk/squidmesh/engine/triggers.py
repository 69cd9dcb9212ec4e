"""Triggers of workflows, kept as schedules by the workers whose code has them.

A trigger's schedule is named by what the trigger says: one that is changed in the code is another schedule, and the
old one goes. When two deploys serve side by side, each has its own: a schedule goes only when no worker that lives has
its trigger, and its ticks are fired by workers that have it. So none undoes what the other has done.

The rule of this file: a worker looks when its code is another than at its last look; and, while it has seen triggers
that are only another worker's, again after a lease.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from squidmesh.core.schedule import Definition, Trigger, triggers_of
from squidmesh.engine import schedules
from squidmesh.engine.engine import Engine
from squidmesh.ports import Capability, ScheduleChange, ScheduleRow, WorkerRow

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker


class Triggers:
    """What a worker knows of the triggers that it keeps."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._kept: tuple[str, Capability] | None = None  # for which worker id and code
        self._again_at: int | None = None

    def keep(self) -> None:
        """Look, if that is wanted now."""
        worker, engine = self._worker, self._worker.engine
        can = worker.can
        known = self._kept == (worker.id, can)
        if known and (self._again_at is None or engine.clock.now() < self._again_at):
            return
        if not known and self._kept is not None and self._kept[0] == worker.id:  # modules were imported meanwhile
            engine.store.register(worker.id, socket.gethostname(), os.getpid(), can, engine.settings.lease)
        left = keep(engine, worker.id)
        self._again_at = engine.clock.now() + round(engine.settings.lease * 1e6) if left else None
        self._kept = (worker.id, can)


def keep(engine: Engine, worker: str) -> bool:
    """Bring the schedules of triggers in step with the code at hand; whether any is left to another worker's code."""
    code = engine.code.workflows
    mine, at_hand = triggers_of(list(code.values())), {name for name, _ in list(code)}
    rows = {row.name: row for row in engine.store.schedules() if row.origin is not None}
    theirs = {name for name, row in rows.items() if name not in mine and row.origin in at_hand}
    if not mine and not theirs:
        return False
    now = engine.clock.now()
    others = [other for other in engine.store.workers() if other.worker != worker and other.expires_at > now]
    declared = {name for other in others for name in other.code.get("triggers", ())}
    for name, trigger in mine.items():
        _declare(engine, trigger, rows.get(name), others, name in declared)
    for name in theirs - declared:
        engine.store.change_schedule(ScheduleChange(name, rows[name].revision, None))
    return bool(theirs & declared)


def _declare(
    engine: Engine, trigger: Trigger, row: ScheduleRow | None, others: Sequence[WorkerRow], declared: bool
) -> None:
    now = engine.clock.now()
    if row is None:
        fresh = schedules.new_row(
            trigger.name, trigger.workflow, trigger.version, trigger.definition, now, trigger.workflow
        )
        engine.store.change_schedule(ScheduleChange(trigger.name, None, fresh))
        return
    newer = trigger.version > row.version
    gone = not any([row.workflow, row.version] in other.code.get("workflows", ()) for other in others)
    version = trigger.version if newer or gone else row.version
    forgotten = not declared and any(_has(other, trigger.workflow) for other in others)
    due_at = row.due_at
    if forgotten and due_at is not None and due_at <= now:  # it was out of the code meanwhile: nothing was missed
        due_at = next(Definition.from_json(row.definition).ticks(row.anchor, now), None)
    if (version, due_at) != (row.version, row.due_at):
        fresh = replace(row, version=version, due_at=due_at, revision=row.revision + 1)
        engine.store.change_schedule(ScheduleChange(row.name, row.revision, fresh))


def _has(other: WorkerRow, workflow: str) -> bool:
    return any(name == workflow for name, _ in other.code.get("workflows", ()))
