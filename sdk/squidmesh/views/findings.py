"""What a run waits for, one finding for each thing, each with its reason.

The rule of this file: found in the recorded facts alone (row, folded history, tasks, workers); what to say
about it is wording.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from squidmesh.core.failure import Failure
from squidmesh.core.status import REASONS, UNSERVED, Reason, RunStatus, StepStatus, fits
from squidmesh.ports import RunRow, TaskRow, WorkerRow
from squidmesh.views.folding import Folded, Step, attempts_of

Kind = Literal["run", "start", "worker", "code", "step", "attempt", "retry", "timer"]

_STOPPED = (RunStatus.BLOCKED, RunStatus.PAUSED)
_FOR_A_PERSON = frozenset().union(*(REASONS[status] for status in _STOPPED))
_ORDER = (Reason.ATTEMPT_LOST, Reason.STEP_RUNNING, Reason.STEP_QUEUED, Reason.ADVANCING)
"""Of what is due at once, the most telling first; all else comes after these."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the run waits for: ``kind`` and ``name`` say what. Times are in microseconds."""

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


def find(row: RunRow, run: Folded, serving: Serving) -> list[Finding]:
    """All that a run waits for that has not ended: first what explains it best.

    The first is what needs a person, then what is due earliest; there is always one.
    """
    found = [*_blocked(row, run), *_steps(row, run, serving), *_timers(run)]
    busy = any(finding.until is None and finding.reason is not Reason.STEP_QUEUED for finding in found)
    found += _run(row, serving, busy)
    status = RunStatus(row.status)
    if not found or (status in _STOPPED and not any(finding.reason in _FOR_A_PERSON for finding in found)):
        found.append(_unsaid(row, status))
    return sorted(found, key=lambda finding: _rank(finding, status, serving.now))


def _rank(finding: Finding, status: RunStatus, now: int) -> tuple[int, int, bool, int, int]:
    reason = finding.reason
    urgency = 0 if reason in _FOR_A_PERSON else 1 if reason in UNSERVED else 2
    weight = _ORDER.index(reason) if reason in _ORDER else len(_ORDER)
    due = max(finding.until or now, now)
    return urgency, due, not fits(status, reason), weight, finding.since or 0


def _blocked(row: RunRow, run: Folded) -> Iterator[Finding]:
    if row.status != RunStatus.BLOCKED:
        return
    if (event := run.blocked) is not None:
        yield Finding(Reason(event.reason), "code", row.workflow, event.position, since=event.at)


def _run(row: RunRow, serving: Serving, busy: bool) -> Iterator[Finding]:
    """What the run itself waits for: to be picked up, to start, or for its holder to go on."""
    if serving.alive(row.worker):
        if not busy:
            yield Finding(Reason.ADVANCING, "run", row.workflow, queue=row.queue, worker=row.worker)
        return
    due = serving.gone_since(row.worker) or serving.now if row.worker is not None else row.due_at
    pending = row.status == RunStatus.PENDING
    if due is None:
        return
    if due > serving.now:
        if pending:
            yield Finding(Reason.START_DELAYED, "start", row.workflow, since=row.created_at, until=due, queue=row.queue)
        return
    if (lack := serving.lacks(row.queue, (row.workflow, row.version))) is not None:
        yield _unserved(lack, row.workflow, row.queue, due)
    else:
        reason = Reason.QUEUED if pending else Reason.ADVANCING
        yield Finding(reason, "run", row.workflow, since=due, queue=row.queue, worker=row.worker)


def _steps(row: RunRow, run: Folded, serving: Serving) -> Iterator[Finding]:
    for step in run.steps.values():
        if step.settled:
            continue
        found = _here(row, step, serving) if step.task is None else _elsewhere(step, step.task, serving)
        if found is not None:
            yield found


def _here(row: RunRow, step: Step, serving: Serving) -> Finding | None:
    """A step that the run's holder drives itself."""
    latest, name, at = step.latest, step.name, step.position
    match step.status:
        case StepStatus.SCHEDULED if step.elsewhere:
            return None  # its task is gone: its outcome is on its way to the holder
        case StepStatus.SCHEDULED:
            return Finding(Reason.STEP_QUEUED, "step", name, at, since=step.scheduled_at, queue=row.queue, step=name)
        case StepStatus.RETRYING if step.retry_at is not None:
            return _retry(step, step.retry_at)
        case StepStatus.RUNNING if latest is not None and latest.worker in (None, row.worker):
            if serving.alive(row.worker):
                return _running(step, latest.started_at, row.worker, latest.number)
    if latest is None or step.elsewhere:
        return None
    return _lost(step, latest.worker, latest.number, serving)


def _elsewhere(step: Step, task: TaskRow, serving: Serving) -> Finding:
    """A step that has a task row: whoever serves its queue picks it up."""
    name, at = step.name, step.position
    if task.worker is not None:
        if serving.alive(task.worker):
            return _running(step, task.claimed_at or task.due_at, task.worker, attempts_of(task))
        return _lost(step, task.worker, attempts_of(task), serving)
    if task.due_at > serving.now:
        return _retry(step, task.due_at)
    if (lack := serving.lacks(task.queue, name)) is not None:
        return _unserved(lack, name, task.queue, task.due_at, step)
    latest = step.latest
    if latest is not None and latest.outcome == "lost":
        return _lost(step, latest.worker, latest.number, serving)
    return Finding(Reason.STEP_QUEUED, "step", name, at, since=task.due_at, queue=task.queue, step=name)


def _unserved(lack: Reason, code: str, queue: str, since: int, step: Step | None = None) -> Finding:
    """Due, and nobody serves the queue (a worker is waited for), or nobody there has the code."""
    kind: Kind = "worker" if lack is Reason.NO_WORKER else "code"
    return Finding(
        lack, kind, queue if kind == "worker" else code, step.position if step else None,
        since=since, queue=queue, step=step.name if step else None,
    )  # fmt: skip


def _running(step: Step, since: int, worker: str | None, number: int) -> Finding:
    return Finding(
        Reason.STEP_RUNNING, "step", step.name, step.position,
        since=since, step=step.name, worker=worker, attempt=number,
    )  # fmt: skip


def _lost(step: Step, worker: str | None, number: int, serving: Serving) -> Finding:
    latest = step.latest
    ended = latest.ended_at if latest is not None else None
    return Finding(
        Reason.ATTEMPT_LOST, "attempt", step.name, step.position,
        since=ended or serving.gone_since(worker), step=step.name, worker=worker, attempt=number,
    )  # fmt: skip


def _retry(step: Step, due: int) -> Finding:
    latest = step.latest
    return Finding(
        Reason.RETRY_SCHEDULED, "retry", step.name, step.position,
        since=latest.ended_at if latest else None, until=due, step=step.name,
        attempt=latest.number if latest else 0, failure=latest.failure if latest else None,
    )  # fmt: skip


def _timers(run: Folded) -> Iterator[Finding]:
    for timer in run.timers.values():
        yield Finding(Reason.SLEEPING, "timer", "sleep", timer.position, since=timer.at, until=timer.due)


def _unsaid(row: RunRow, status: RunStatus) -> Finding:
    """What the row says, where nothing else was found."""
    if row.reason in set(Reason) and fits(status, Reason(row.reason)):
        return Finding(Reason(row.reason), "run", row.workflow, queue=row.queue)
    match status:
        case RunStatus.PENDING:
            reason = Reason.QUEUED
        case RunStatus.BLOCKED:
            reason = Reason.CODE_ERROR
        case RunStatus.PAUSED:
            reason = Reason.HELD
        case RunStatus.UNDOING:
            reason = Reason.DRAINING
        case _:
            reason = Reason.ADVANCING
    return Finding(reason, "run", row.workflow, queue=row.queue)
