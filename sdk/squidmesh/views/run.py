"""One run as people read it: where it stands, its steps and their attempts.

The rule of this file: what is shown is what is recorded; secrets are masked, times are aware datetimes (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import mask
from squidmesh.core.report import RollbackReport, report
from squidmesh.core.status import ENDED, RunStatus, StepStatus
from squidmesh.ports import RunRow, TaskRow
from squidmesh.views.children import ChildView, child_view
from squidmesh.views.commands import CommandView, commands
from squidmesh.views.deadlines import DeadlineView, deadlines
from squidmesh.views.entries import EntryView, entries
from squidmesh.views.folding import (
    Attempt,
    AttemptOutcome,
    CompensateOutcome,
    Compensation,
    Folded,
    RunEnd,
    Step,
    folded,
)
from squidmesh.views.journal import event_json
from squidmesh.views.making import made
from squidmesh.views.outside import GateView, HeldView, WaitView, gates, held, waits
from squidmesh.views.prospects import Prospects, prospects


class AttemptView(BaseModel, frozen=True):
    """One try of a step. ``outcome`` and ``ended_at`` are None while it runs."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    failure: Failure | None = None
    worker: str | None = None


class CompensationView(BaseModel, frozen=True):
    """One call of a failing step's compensate. ``failure`` is its own; that of the step is the step's."""

    cycle: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: CompensateOutcome | None = None
    failure: Failure | None = None
    note: str | None = None
    worker: str | None = None


class StepView(BaseModel, frozen=True):
    """One step of a run. ``failure`` says why it failed for good; ``attempts`` have those of each try.

    ``effect`` says what may be left of a step that has failed, or is in doubt: none, partial, unknown, applied.
    """

    name: str
    position: str
    status: StepStatus
    attempts: list[AttemptView] = []
    result: Any = None
    failure: Failure | None = None
    input: dict[str, Any] = {}
    progress: Any = None
    effect: str | None = None
    compensations: list[CompensationView] = []


class RunView(BaseModel, frozen=True):
    """One run. ``steps`` are in the order in which they were scheduled, ``rollbacks`` in that of their beginning.

    ``schema_version`` is that of this form, as JSON: it changes when a field goes, or means something else.
    ``waits`` for signals and ``gates`` are those of all its life, ``held`` says who holds it now.
    ``children`` are the runs that it has started, ``entries`` what may have to be undone, ``commands`` what people have
    done to it; ``deadlines`` its own and those of what it waits for; ``prospects`` what could be done about it as a
    whole. ``events`` is its history, where that was asked for. ``continued_as`` is the run that goes on from here.
    ``failure`` says why it failed, or is failing; what became of its effects, ``rollback`` says, which is the newest.
    """

    schema_version: int = 1
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
    waits: tuple[WaitView, ...] = ()
    gates: tuple[GateView, ...] = ()
    held: HeldView | None = None
    children: tuple[ChildView, ...] = ()
    entries: tuple[EntryView, ...] = ()
    rollback: RollbackReport | None = None
    rollbacks: tuple[RollbackReport, ...] = ()
    commands: tuple[CommandView, ...] = ()
    deadlines: tuple[DeadlineView, ...] = ()
    prospects: Prospects = Prospects()
    parent: str | None = None
    continued_as: str | None = None
    rerun_of: str | None = None
    from_position: str | None = None
    attributes: dict[str, Any] = {}
    created_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None
    events: tuple[dict[str, Any], ...] | None = None


def fold(
    row: RunRow,
    events: Sequence[Event],
    tasks: Sequence[TaskRow] = (),
    waiting: Sequence[Event] = (),
    now: int | None = None,
    history: bool = False,
) -> RunView:
    """The view of a run.

    :param row: the run's row.
    :param events: its whole history, in order.
    :param tasks: its task rows: attempts that run elsewhere now, and those that wait to be picked up.
    :param waiting: events of its inbox that its holder has not folded in yet.
    :param now: microseconds since the epoch, which open deadlines are judged by; else the time of the newest event.
    :param history: with all events, as JSON.

    The parts may be read one after the other: row, tasks and inbox first, the history last, then nothing is
    missed. An end that the row does not have yet counts.
    """
    known = [*events, *waiting]
    run = folded(known, tasks)
    status, reason, ended_at = standing(row, run)
    rollbacks, over = reports(run.chain, row), run.end is not None
    if now is None:
        now = row.created_at if run.last is None else run.last.at
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
        failure=_failure(run),
        steps=tuple(map(_step, run.steps.values())),
        waits=waits(run.outside, over),
        gates=gates(run.outside, over),
        held=None if over else held(run.outside),
        children=tuple(map(child_view, run.children.values())),
        entries=entries(run.chain),
        rollback=rollbacks[-1] if rollbacks else None,
        rollbacks=rollbacks,
        commands=tuple(commands(known)),
        deadlines=tuple(deadlines(row, run, now, ended_at)),
        prospects=prospects(run, status),
        parent=row.parent,
        continued_as=run.end.run_id if isinstance(run.end, ev.RunContinued) else None,
        rerun_of=run.started.rerun_of if run.started is not None else None,
        from_position=run.started.from_position if run.started is not None else None,
        attributes=_attributes(row.attributes),
        created_at=instant(row.created_at),
        ended_at=when(ended_at),
        deadline=when(row.deadline),
        events=tuple(map(event_json, known)) if history else None,
    )


def standing(row: RunRow, run: Folded) -> tuple[RunStatus, str | None, int | None]:
    """Status, reason and time of the end: the row's, unless the history has an end that the row lacks."""
    status, reason, ended_at = RunStatus(row.status), row.reason, row.ended_at
    end = run.undone or run.end
    if end is not None and not run.reopened and ended_at is None and status not in ENDED:
        status, reason, ended_at = _status_of(end), None, end.at
    return status, reason or (status.value if status in ENDED else None), ended_at


def reports(chain: Chain, row: RunRow) -> tuple[RollbackReport, ...]:
    """The reports of all rollbacks of a run, as they stand."""
    return tuple(report(chain, rollback, row.run_id, row.workflow) for rollback in chain.rollbacks)


def when(at: int | None) -> datetime | None:
    """Microseconds since the epoch as an aware datetime; None stays None."""
    return None if at is None else instant(at)


def _status_of(end: RunEnd | ev.RunUndone) -> RunStatus:
    match end:
        case ev.RunCompleted():
            return RunStatus.COMPLETED
        case ev.RunFailed():
            return RunStatus.FAILED
        case ev.RunCancelled():
            return RunStatus.CANCELLED
        case ev.RunTerminated():
            return RunStatus.TERMINATED
        case ev.RunUndone():
            return RunStatus.UNDONE
        case ev.RunContinued():
            return RunStatus.CONTINUED


def _failure(run: Folded) -> Failure | None:
    """Why it failed; while what it did is undone, its end is not recorded yet."""
    if isinstance(run.end, ev.RunFailed):
        return run.end.failure
    begun = (rollback.begun for rollback in run.chain.active if run.end is None)
    return next((told.failure for told in begun if told.cause == "failure"), None)


def _attributes(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    shown: dict[str, Any] = mask(dict(stored or {}))
    return shown


def _step(step: Step) -> StepView:
    attempts, calls = step.attempts, step.compensations
    return made(StepView, {
        "name": step.name, "position": step.position, "status": step.status,
        "attempts": [_attempt(attempts[number]) for number in sorted(attempts)], "result": mask(step.result),
        "failure": step.failure, "input": mask(step.input), "progress": mask(step.progress), "effect": step.effect,
        "compensations": [_compensation(calls[cycle]) for cycle in sorted(calls)] if calls else [],
    })  # fmt: skip


def _attempt(attempt: Attempt) -> AttemptView:
    return made(AttemptView, {
        "number": attempt.number, "started_at": instant(attempt.started_at), "ended_at": when(attempt.ended_at),
        "outcome": attempt.outcome, "failure": attempt.failure, "worker": attempt.worker,
    })  # fmt: skip


def _compensation(call: Compensation) -> CompensationView:
    return made(CompensationView, {
        "cycle": call.cycle, "started_at": instant(call.started_at), "ended_at": when(call.ended_at),
        "outcome": call.outcome, "failure": call.failure, "note": call.note, "worker": call.worker,
    })  # fmt: skip
