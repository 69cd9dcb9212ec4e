"""Steps that somebody must pick up: claim several, run them, report what became of them, in one transaction each.

A task is an attempt of a step, or a call of its check or compensate. What is transactional reports itself, in its own
transaction. What must not be begun twice is begun alone: of several, a worker that dies would leave all in doubt.

The rule of this file: a claim is committed before the first body runs. What is reported late, after the lease, is
refused as a whole and forgotten; the sweep has given the task to another by then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core.calls import Options
from squidmesh.core.chain import Chain
from squidmesh.core.codec import decode_rows, encode
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import dumps, loads
from squidmesh.engine import bodies, transacting, trial
from squidmesh.engine.calling import CallKind, Trial, gone, undoing
from squidmesh.engine.pace import BUDGET
from squidmesh.ports import Bell, BellKind, Outcome, TaskRow, Transaction

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker


@dataclass(slots=True)
class Job:
    """A claimed task and its call; ``end`` is what became of it, still to be reported."""

    task: TaskRow
    spec: dict[str, Any]
    call: Trial
    begun: bool = False
    end: Sequence[Event] = ()
    pinged: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """Of the task: that of an undo is not at the position of its step."""
        return self.task.run_id, self.task.position


def work(worker: Worker, queue: str, run_id: str | None, until: float) -> list[Bell]:
    """Run tasks of a queue (of one run, or of any) until there are none or the time is up; the bells that follow."""
    while not worker.stopping:
        limit = worker.pace.of(queue)
        claimed, follow = _claimed(worker, queue, run_id, limit)
        if not claimed:
            return follow
        if time.monotonic() > until or follow:
            if claimed == limit:
                follow.append(Bell(BellKind.ATTEMPTS, queue, run_id) if run_id else Bell(BellKind.DRAIN, queue))
            return follow
    return []


def some(worker: Worker, queue: str) -> list[Bell] | None:
    """Claim tasks of a queue once, and run them; the bells that follow, or None when there was none."""
    claimed, follow = _claimed(worker, queue, None, worker.pace.of(queue))
    return follow if claimed else None


def _claimed(worker: Worker, queue: str, run_id: str | None, limit: int) -> tuple[int, list[Bell]]:
    """Claim up to so many tasks, and run them; how many there were, and the bells that follow."""
    holder = worker.id
    tasks = worker.engine.store.claim_tasks(holder, queue, worker.can, limit, run_id)
    if not tasks:
        return 0, []
    reported = _attempt(worker, holder, _alone(worker, holder, tasks) or tasks)
    return len(tasks), [Bell(BellKind.ADVANCE, reported[pinged], pinged) for pinged in sorted(reported)]


def _alone(worker: Worker, holder: str, tasks: Sequence[TaskRow]) -> list[TaskRow]:
    """A task that is to be run alone, if there is one; the others are handed back.

    One whose worker was lost may be what killed it. One that is not idempotent is begun when nothing is before it.
    """
    alone = [task for task in tasks if task.lost][:1] or [task for task in tasks if _once(task)][:1]
    if alone and len(tasks) > 1:
        worker.returns.unbegun(holder, [task for task in tasks if task is not alone[0]])
    return alone


def _once(task: TaskRow) -> bool:
    if '"once"' not in task.spec:
        return False
    spec = loads(task.spec)
    return bool(spec.get("once")) and "call" not in spec


def _attempt(worker: Worker, holder: str, tasks: Sequence[TaskRow]) -> dict[str, str]:
    """Run claimed tasks, async ones side by side, and report them; the runs to be advanced, with their queues."""
    jobs: list[Job] = []
    try:
        for task in tasks:
            spec = loads(task.spec)
            jobs.append(Job(task, spec, _call(worker, holder, task, spec)))
        began = time.monotonic()
        _run(worker, holder, jobs)
        beside = all(job.call.is_async for job in jobs)
        worker.pace.learn(tasks[0].queue, len(tasks), time.monotonic() - began, beside)
        outcomes = [_outcome(holder, job, job.end) for job in jobs if job.end]
        pinged = {job.task.run_id for job in jobs if job.pinged}
        if outcomes:
            pinged |= worker.engine.store.report(holder, outcomes).pinged
    except BaseException:
        worker.returns.begun(holder, tasks)
        raise
    finally:
        worker.begun.difference_update(job.place for job in jobs)
    if not all(job.begun for job in jobs):
        worker.returns.unbegun(holder, [job.task for job in jobs if not job.begun])
    return {job.task.run_id: job.spec["run_queue"] for job in jobs if job.task.run_id in pinged}


def _run(worker: Worker, holder: str, jobs: Sequence[Job]) -> None:
    """Run them in order, as far as they are begun.

    Some are not when the worker is stopping, or has lost them with its lease meanwhile; or when those before them took
    unexpectedly long: others may be idle.
    """
    until = time.monotonic() + BUDGET
    aside = [] if worker.stopping else [job for job in jobs if job.call.is_async]
    beside = [
        (job, asyncio.run_coroutine_threadsafe(trial.run_beside(worker.engine, _begin(worker, job)), bodies.loop()))
        for job in aside
    ]
    for job in jobs:
        if not job.begun and not worker.stopping and worker.id == holder and time.monotonic() <= until:
            _begin(worker, job)
            if job.call.transactional:
                _transact(worker, holder, job)
            else:
                job.end = trial.run(worker.engine, job.call)
    for job, outcome in beside:
        job.end = outcome.result()


def _begin(worker: Worker, job: Job) -> Trial:
    job.begun = True
    worker.begun.add(job.place)
    return job.call


def _transact(worker: Worker, holder: str, job: Job) -> None:
    """Run what reports itself; what is left to report is that it failed. Refused: the task is another's by now."""

    def record(transaction: Transaction, events: Sequence[Event]) -> bool:
        reported = transaction.report(holder, [_outcome(holder, job, events)])
        job.pinged = bool(reported.pinged)
        return bool(reported.accepted)

    done = transacting.run(worker.engine, job.call, record)
    if not done.recorded:
        job.pinged, job.end = False, done.events


def _call(worker: Worker, holder: str, task: TaskRow, spec: dict[str, Any]) -> Trial:
    tried, store, now = spec.get("tried", {}), worker.engine.store, worker.engine.clock.now
    failure = spec.get("failure")
    saved: list[Event] = []

    def save(value: Any) -> None:
        if not store.checkpoint(task.run_id, task.position, holder, task.number, dumps(value)):
            raise gone(task.run_id, task.step)
        saved.append(ev.CheckpointSaved(at=now(), position=task.position, value=value))

    def tell(event: Event) -> None:
        if not store.note(task.run_id, task.position, holder, task.number, encode([event])):
            raise gone(task.run_id, task.step)

    if spec.get("call") == CallKind.UNDO:
        return _undo(worker, task, spec, save, tell, saved)
    return Trial(
        run_id=task.run_id, position=task.position, step=worker.engine.code.steps[task.step],
        number=task.number + tried.get("number", 0), input=spec["input"],
        overrides=Options.from_json(spec.get("options", {})),
        progress=loads(task.progress) if task.progress else None,
        failed=task.number - 1 - task.lost + tried.get("failed", 0),
        first_at=tried.get("first_at", 0), scheduled_seq=task.scheduled_seq, save=save, tell=tell,
        kind=CallKind(spec.get("call", CallKind.ATTEMPT)), cycle=spec.get("cycle", 1),
        failure=None if failure is None else Failure.from_json(failure), saved=saved,
        trace=spec.get("trace"),
    )  # fmt: skip


def _undo(
    worker: Worker,
    task: TaskRow,
    spec: dict[str, Any],
    save: Callable[[Any], None],
    tell: Callable[[Event], None],
    saved: list[Event],
) -> Trial:
    """An undo that belongs to this queue: its entry is as the history has it."""
    history = worker.engine.store.history(task.run_id)
    events = decode_rows([(row.seq, row.events) for row in history])
    chain, begun = Chain.of(events), events[0]
    trace = begun.trace if isinstance(begun, ev.RunStarted) else None
    step = worker.engine.code.steps.get(task.step)
    call = undoing(task.run_id, chain.entries[spec["entry"]], chain.active[0], step, save, tell, trace)
    call.number, call.saved = spec["number"], saved
    if task.progress:
        call.progress = loads(task.progress)
    return call


def _outcome(holder: str, job: Job, end: Sequence[Event]) -> Outcome:
    task, call, last = job.task, job.call, end[-1]
    before: list[Event] = []
    match call.kind:
        case CallKind.ATTEMPT:
            before = [ev.AttemptStarted(at=call.begun, position=task.position, number=call.number, worker=holder)]
        case CallKind.COMPENSATE:
            before = [ev.CompensateStarted(at=call.begun, position=task.position, cycle=call.cycle, worker=holder)]
        case CallKind.UNDO:
            before = [ev.UndoStarted(at=call.begun, entry=job.spec["entry"], number=call.number, worker=holder)]
        case CallKind.CHECK:
            pass
    return Outcome(
        run_id=task.run_id, position=task.position, number=task.number, kind=last.kind,
        events=encode([*before, *call.saved, *end]), join_position=task.join_position,
        retry_at=last.retry_at if isinstance(last, ev.AttemptFailed) else None,
        ping=not isinstance(last, ev.StepCompleted),
    )  # fmt: skip
