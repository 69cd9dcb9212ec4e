"""One run as people read it: where it stands, its steps and their attempts.

The rule of this file: what is shown is what is recorded; secrets are masked, times are aware datetimes (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import mask
from squidmesh.core.status import ENDED, RunStatus, StepStatus
from squidmesh.ports import RunRow, TaskRow
from squidmesh.views.folding import Attempt, AttemptOutcome, Folded, Step, folded


class AttemptView(BaseModel, frozen=True):
    """One try of a step. ``outcome`` and ``ended_at`` are None while it runs."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    failure: Failure | None = None
    worker: str | None = None


class StepView(BaseModel, frozen=True):
    """One step of a run. ``failure`` says why it failed for good; ``attempts`` have those of each try."""

    name: str
    position: str
    status: StepStatus
    attempts: list[AttemptView] = []
    result: Any = None
    failure: Failure | None = None
    input: dict[str, Any] = {}
    progress: Any = None


class RunView(BaseModel, frozen=True):
    """One run. ``steps`` are in the order in which they were scheduled."""

    run_id: str
    workflow: str
    version: int
    key: str | None = None
    status: RunStatus
    reason: str | None = None
    queue: str
    priority: int
    input: dict[str, Any] = {}
    result: Any = None
    failure: Failure | None = None
    steps: tuple[StepView, ...] = ()
    children: tuple[()] = ()
    rollback: None = None
    rollbacks: tuple[()] = ()
    parent: str | None = None
    attributes: dict[str, Any] = {}
    created_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None


def fold(row: RunRow, events: Sequence[Event], tasks: Sequence[TaskRow] = (), waiting: Sequence[Event] = ()) -> RunView:
    """The view of a run.

    :param row: the run's row.
    :param events: its whole history, in order.
    :param tasks: its task rows: attempts that run elsewhere now, and those that wait to be picked up.
    :param waiting: events of its inbox that its holder has not folded in yet.

    The parts may be read one after the other: row, tasks and inbox first, the history last, then nothing is
    missed. An end that the row does not have yet counts.
    """
    run = folded([*events, *waiting], tasks)
    status, reason, ended_at = standing(row, run)
    return RunView(
        run_id=row.run_id,
        workflow=row.workflow,
        version=row.version,
        key=row.key,
        status=status,
        reason=reason,
        queue=row.queue,
        priority=row.priority,
        input=mask(run.started.input) if run.started is not None else {},
        result=mask(run.end.result) if isinstance(run.end, ev.RunCompleted) else None,
        failure=run.end.failure if isinstance(run.end, ev.RunFailed) else None,
        steps=tuple(_step(step) for step in run.steps.values()),
        parent=row.parent,
        attributes=_attributes(row.attributes),
        created_at=instant(row.created_at),
        ended_at=when(ended_at),
        deadline=when(row.deadline),
    )


def standing(row: RunRow, run: Folded) -> tuple[RunStatus, str | None, int | None]:
    """Status, reason and time of the end: the row's, unless the history has an end that the row lacks."""
    status, reason, ended_at = RunStatus(row.status), row.reason, row.ended_at
    if run.end is not None and ended_at is None and status not in ENDED:
        status, reason, ended_at = _status_of(run.end), None, run.end.at
    return status, reason or (status.value if status in ENDED else None), ended_at


def when(at: int | None) -> datetime | None:
    """Microseconds since the epoch as an aware datetime; None stays None."""
    return None if at is None else instant(at)


def _status_of(end: ev.RunCompleted | ev.RunFailed | ev.RunCancelled) -> RunStatus:
    match end:
        case ev.RunCompleted():
            return RunStatus.COMPLETED
        case ev.RunFailed():
            return RunStatus.FAILED
        case ev.RunCancelled():
            return RunStatus.CANCELLED


def _attributes(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    shown: dict[str, Any] = mask(dict(stored or {}))
    return shown


def _step(step: Step) -> StepView:
    return StepView(
        name=step.name,
        position=step.position,
        status=step.status,
        attempts=[_attempt(step.attempts[number]) for number in sorted(step.attempts)],
        result=mask(step.result),
        failure=step.failure,
        input=mask(step.input),
        progress=mask(step.progress),
    )


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        started_at=instant(attempt.started_at),
        ended_at=when(attempt.ended_at),
        outcome=attempt.outcome,
        failure=attempt.failure,
        worker=attempt.worker,
    )
