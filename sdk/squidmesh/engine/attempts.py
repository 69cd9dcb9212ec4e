"""Steps that somebody must pick up: claim several, run them, report what became of them, in one transaction each.

The rule of this file: a claim is committed before the first body runs. What is reported late, after the lease, is
refused as a whole and forgotten; the sweep has given the task to another by then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core.calls import Options
from squidmesh.core.codec import encode
from squidmesh.core.events import Event
from squidmesh.core.payloads import dumps, loads
from squidmesh.engine import bodies, trial
from squidmesh.engine.pace import BUDGET
from squidmesh.ports import Bell, BellKind, Outcome, Reported, TaskRow

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker


def work(worker: Worker, queue: str, run_id: str | None, until: float) -> list[Bell]:
    """Run tasks of a queue (of one run, or of any) until there are none or the time is up; the bells that follow."""
    follow: list[Bell] = []
    while not worker.stopping:
        limit, holder = worker.pace.of(queue), worker.id
        tasks = worker.engine.store.claim_tasks(holder, queue, worker.can, limit, run_id)
        if not tasks:
            return follow
        reported = _attempt(worker, holder, _suspect(worker, holder, tasks) or tasks)
        follow.extend(Bell(BellKind.ADVANCE, reported[pinged], pinged) for pinged in sorted(reported))
        if time.monotonic() > until or follow:
            if len(tasks) == limit:
                follow.append(Bell(BellKind.ATTEMPTS, queue, run_id) if run_id else Bell(BellKind.DRAIN, queue))
            return follow
    return follow


def _suspect(worker: Worker, holder: str, tasks: Sequence[TaskRow]) -> list[TaskRow]:
    """A task whose worker was lost is tried alone, for it may be what killed it; the others are handed back."""
    lost = [task for task in tasks if task.lost][:1]
    if lost and len(tasks) > 1:
        worker.returns.unbegun(holder, [task for task in tasks if task is not lost[0]])
    return lost


def _attempt(worker: Worker, holder: str, tasks: Sequence[TaskRow]) -> dict[str, str]:
    """Run claimed tasks, async ones side by side, and report them; the runs to be advanced, with their queues."""
    trials: list[trial.Trial] = []
    try:
        specs = [loads(task.spec) for task in tasks]
        trials += [_trial(worker, holder, task, spec) for task, spec in zip(tasks, specs, strict=True)]
        began = time.monotonic()
        ends = _run(worker, trials)
        beside = all(one.step.is_async for one in trials)
        worker.pace.learn(tasks[0].queue, len(tasks), time.monotonic() - began, beside)
        outcomes = [_outcome(holder, task, one, end) for task, one, end in zip(tasks, trials, ends, strict=True) if end]
        reported = worker.engine.store.report(holder, outcomes) if outcomes else Reported()
    except BaseException:
        worker.returns.begun(holder, tasks)
        raise
    finally:
        worker.begun.difference_update(one.place for one in trials)
    if len(outcomes) < len(tasks):
        worker.returns.unbegun(holder, [task for task, end in zip(tasks, ends, strict=True) if not end])
    queues = {task.run_id: spec["run_queue"] for task, spec in zip(tasks, specs, strict=True)}
    return {run_id: queues[run_id] for run_id in reported.pinged}


def _run(worker: Worker, trials: Sequence[trial.Trial]) -> list[list[Event]]:
    """The outcome of each, in order; nothing for those that were not begun.

    That is when the worker is stopping, or when those before them took unexpectedly long: others may be idle.
    """
    until = time.monotonic() + BUDGET
    ends: list[list[Event]] = [[] for _ in trials]
    aside = {} if worker.stopping else {n: one for n, one in enumerate(trials) if one.step.is_async}
    worker.begun.update(one.place for one in aside.values())
    beside = {
        n: asyncio.run_coroutine_threadsafe(trial.run_beside(worker.engine, one), bodies.loop())
        for n, one in aside.items()
    }
    for n, one in enumerate(trials):
        if n not in beside and not worker.stopping and time.monotonic() <= until:
            worker.begun.add(one.place)
            ends[n] = trial.run(worker.engine, one)
    for n, outcome in beside.items():
        ends[n] = outcome.result()
    return ends


def _trial(worker: Worker, holder: str, task: TaskRow, spec: dict[str, Any]) -> trial.Trial:
    tried = spec.get("tried", {})
    one = trial.Trial(
        run_id=task.run_id, position=task.position, step=worker.engine.code.steps[task.step],
        number=task.number + tried.get("number", 0), input=spec["input"],
        overrides=Options.from_json(spec.get("options", {})),
        progress=loads(task.progress) if task.progress else None,
        failed=task.number - 1 - task.lost + tried.get("failed", 0),
        first_at=tried.get("first_at", 0), scheduled_seq=task.scheduled_seq, save=lambda value: None,
    )  # fmt: skip

    def save(value: Any) -> None:
        kept = worker.engine.store.checkpoint(task.run_id, task.position, holder, task.number, dumps(value))
        if not kept:
            raise trial.gone(task.run_id, task.step)
        one.saved.append(ev.CheckpointSaved(at=worker.engine.clock.now(), position=task.position, value=value))

    one.save = save
    return one


def _outcome(holder: str, task: TaskRow, one: trial.Trial, end: list[Event]) -> Outcome:
    started = ev.AttemptStarted(at=one.begun, position=task.position, number=one.number, worker=holder)
    last = end[-1]
    retry_at = last.retry_at if isinstance(last, ev.AttemptFailed) else None
    return Outcome(
        run_id=task.run_id, position=task.position, number=task.number, kind=last.kind,
        events=encode([started, *one.saved, *end]), retry_at=retry_at, join_position=task.join_position,
        ping=not isinstance(last, ev.StepCompleted),
    )  # fmt: skip
