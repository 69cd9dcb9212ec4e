"""What a run waits for, one finding for each thing, each with its reason.

The rule of this file: found in the recorded facts alone (row, folded history, tasks, workers); what to say
about it is wording.py's.
"""

from __future__ import annotations

from collections.abc import Iterator

from squidmesh.core.failure import Failure
from squidmesh.core.standing import NEVER
from squidmesh.core.status import REASONS, UNSERVED, Reason, RunStatus, StepStatus, fits
from squidmesh.ports import RunRow, TaskRow
from squidmesh.views.finding import Finding, Kind, Serving
from squidmesh.views.folding import Folded, Step, attempts_of, call_of
from squidmesh.views.kin import find_kin
from squidmesh.views.listening import FROM_OUTSIDE, find_outside
from squidmesh.views.walking import find_walk

_STOPPED = (RunStatus.BLOCKED, RunStatus.PAUSED)
_FOR_A_PERSON = frozenset().union(*(REASONS[status] for status in _STOPPED))
_ORDER = (Reason.ATTEMPT_LOST, Reason.STEP_RUNNING, Reason.STEP_QUEUED, Reason.ADVANCING)
"""Of what is due at once, the most telling first; all else comes after these."""


def find(row: RunRow, run: Folded, serving: Serving) -> list[Finding]:
    """All that a run waits for that has not ended: first what explains it best.

    The first is what needs a person, then what is due earliest; there is always one.
    """
    found = [*_blocked(row, run), *find_walk(run), *find_outside(run), *_steps(row, run, serving), *_timers(run)]
    found += find_kin(row, run)
    idle = FROM_OUTSIDE | {Reason.STEP_QUEUED, Reason.WAITING_FOR_CHILD, Reason.WAITING_FOR_CHILD_ROLLBACK}
    busy = any(finding.until is None and finding.reason not in idle for finding in found)
    found += _run(row, serving, busy)
    status = RunStatus(row.status)
    stands = status in _STOPPED and not any(finding.reason in _FOR_A_PERSON for finding in found)
    if not found or (stands and not run.acted):
        found.append(_unsaid(row, status))
    return sorted(found, key=lambda finding: _rank(finding, status, serving.now))


def _rank(finding: Finding, status: RunStatus, now: int) -> tuple[int, int, bool, int, int]:
    reason = finding.reason
    urgency = 1 if reason in UNSERVED else 2
    if reason in _FOR_A_PERSON:
        urgency = 0 if fits(status, reason) else 3  # something else still goes on
    if reason is Reason.HELD:
        urgency -= 1  # whatever else needs a person, nothing goes on before this
    weight = _ORDER.index(reason) if reason in _ORDER else len(_ORDER)
    due = max(finding.until or (NEVER if finding.kind in ("signal", "gate", "child") else now), now)
    return urgency, due, not fits(status, reason), weight, finding.since or 0


def _blocked(row: RunRow, run: Folded) -> Iterator[Finding]:
    if row.status != RunStatus.BLOCKED:
        return
    if (event := run.blocked) is None:
        return
    reason, at = Reason(event.reason), event.position
    if reason is Reason.PAST_PIVOT:
        step = run.steps.get(at or "")
        name = step.name if step is not None else None
        yield Finding(reason, "person", name or row.workflow, at, since=event.at, step=name)
    else:
        yield Finding(reason, "code", row.workflow, at, since=event.at)


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
        case StepStatus.IN_DOUBT:
            return Finding(
                Reason.STEP_IN_DOUBT, "person", name, at, since=step.doubted_at, step=name, failure=step.failure
            )
        case StepStatus.COMPENSATING | StepStatus.RUNNING if step.spent:
            if step.elsewhere or not serving.alive(row.worker):
                return None  # what was found out is on its way to the holder
            since = latest.ended_at if latest is not None else None
            return _running(step, since or step.scheduled_at, row.worker, call=_asked(step))
        case StepStatus.RUNNING if latest is not None and latest.worker in (None, row.worker):
            if serving.alive(row.worker):
                return _running(step, latest.started_at, row.worker, latest.number)
    if latest is None or step.elsewhere:
        return None
    return _lost(step, latest.worker, latest.number, serving)


def _elsewhere(step: Step, task: TaskRow, serving: Serving) -> Finding:
    """A step that has a task row: whoever serves its queue picks it up."""
    name, at, call = step.name, step.position, call_of(task)
    if task.worker is not None:
        number = attempts_of(task) if call is None else 0
        if serving.alive(task.worker):
            return _running(step, task.claimed_at or task.due_at, task.worker, number, call)
        return _lost(step, task.worker, number, serving, call)
    if task.due_at > serving.now:
        return _retry(step, task.due_at)
    if (lack := serving.lacks(task.queue, name)) is not None:
        return _unserved(lack, name, task.queue, task.due_at, step)
    latest = step.latest
    if latest is not None and latest.outcome == "lost" and call is None:
        return _lost(step, latest.worker, latest.number, serving)
    return Finding(Reason.STEP_QUEUED, "step", name, at, since=task.due_at, queue=task.queue, step=name)


def _unserved(lack: Reason, code: str, queue: str, since: int, step: Step | None = None) -> Finding:
    """Due, and nobody serves the queue (a worker is waited for), or nobody there has the code."""
    kind: Kind = "worker" if lack is Reason.NO_WORKER else "code"
    return Finding(
        lack, kind, queue if kind == "worker" else code, step.position if step else None,
        since=since, queue=queue, step=step.name if step else None,
    )  # fmt: skip


def _running(step: Step, since: int, worker: str | None, number: int = 0, call: str | None = None) -> Finding:
    return Finding(
        Reason.STEP_RUNNING, "step", step.name, step.position,
        since=since, step=step.name, worker=worker, attempt=number, call=call, failure=_latest_failure(step),
    )  # fmt: skip


def _lost(step: Step, worker: str | None, number: int, serving: Serving, call: str | None = None) -> Finding:
    latest = step.latest
    ended = latest.ended_at if latest is not None and call is None else None
    return Finding(
        Reason.ATTEMPT_LOST, "attempt", step.name, step.position,
        since=ended or serving.gone_since(worker), step=step.name, worker=worker, attempt=number, call=call,
    )  # fmt: skip


def _asked(step: Step) -> str:
    """Which handler of a step is asked about it, its attempts being spent."""
    return "compensate" if step.status is StepStatus.COMPENSATING else "check"


def _latest_failure(step: Step) -> Failure | None:
    return step.latest.failure if step.latest is not None else None


def _retry(step: Step, due: int) -> Finding:
    latest = step.latest
    return Finding(
        Reason.RETRY_SCHEDULED, "retry", step.name, step.position,
        since=latest.ended_at if latest else None, until=due, step=step.name,
        attempt=latest.number if latest else 0, failure=_latest_failure(step),
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
