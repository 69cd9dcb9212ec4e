"""Why a run is where it is, and what to do about it.

The rule of this file: the reason is of the closed set, and fits the status beside it. Waits are read
from what is recorded, never by running code again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from squidmesh.core.events import Event
from squidmesh.core.report import Action
from squidmesh.core.status import CODE_REASONS, ENDED, REASONS, UNSERVED, Reason, RunStatus, fits
from squidmesh.ports import RunRow, TaskRow, WorkerRow
from squidmesh.views import kin, wording
from squidmesh.views.deadlines import DeadlineView, deadlines
from squidmesh.views.finding import Finding, Kind, Serving
from squidmesh.views.findings import find
from squidmesh.views.folding import Folded, folded
from squidmesh.views.prospects import Prospects, prospects
from squidmesh.views.run import standing, when
from squidmesh.views.walking import walking

__all__ = ["Action", "Explanation", "Place", "Waiting", "explain"]


class Waiting(BaseModel, frozen=True):
    """One thing that a run waits for.

    ``kind`` says what it is: a ``worker`` for the queue ``name``; ``code`` for the workflow or step ``name``;
    the ``start`` or the next turn of the ``run``; a ``step``, a lost ``attempt`` of it, or its ``retry``; a
    ``timer``; a ``signal``; a ``gate``, where people decide; a ``child``, a run that this one has started; the
    ``undo`` of a step; a ``person``, who must decide about a step or an undo, or who holds the run.
    """

    kind: Kind
    name: str
    position: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Place(BaseModel, frozen=True):
    """A line of the workflow's code."""

    file: str
    line: int
    function: str | None = None


class Explanation(BaseModel, frozen=True):
    """Why a run is where it is. ``waiting_on`` has all that it waits for, what ``reason`` names first.

    ``blockers`` will not go by themselves; ``code`` is where broken code is; ``deadlines`` are those that are open, the
    run's own first; ``prospects`` say what undoing it, or running it again, would meet; ``evidence`` has the recorded
    facts that this rests on. What each reason means is in ``docs/reasons.md``.
    """

    schema_version: int = 1
    status: RunStatus
    reason: Reason
    summary: str
    waiting_on: list[Waiting] = []
    blockers: list[str] = []
    code: Place | None = None
    deadlines: list[DeadlineView] = []
    prospects: Prospects = Prospects()
    next_actions: list[Action] = []
    evidence: dict[str, Any] = {}


def explain(
    row: RunRow,
    events: Sequence[Event],
    tasks: Sequence[TaskRow],
    workers: Sequence[WorkerRow],
    now: int,
    *,
    inbox: int = 0,
    stuck: Collection[str] = (),
    ask: kin.Ask | None = None,
) -> Explanation:
    """Explain a run.

    :param row: the run's row.
    :param events: its history, followed by the events that wait in its inbox.
    :param tasks: its task rows.
    :param workers: all workers; those whose lease is over count as gone.
    :param now: microseconds since the epoch, by the clock that rules the leases.
    :param inbox: how many rows wait in its inbox.
    :param stuck: ids of children that do not go on by themselves.
    :param ask: gives the explanation of a child, of which one is told.

    The parts may be read one after the other, as for ``fold``: the history last.
    """
    run = folded(events, tasks)
    status, _, ended_at = standing(row, run)
    if status in ENDED:
        return _ended(row, run, status, ended_at, inbox)
    serving = Serving(workers, now)
    found = kin.worst_first(find(row, run, serving), stuck)
    reason = _reason(status, run, found[0])
    child = found[0].child
    told = None if child is None or ask is None else ask(child)
    return Explanation(
        status=_status(status, reason),
        reason=reason,
        summary=wording.of_a_fork(
            run, wording.summary(row, run, reason, found, serving) if child is None else kin.summary(found[0], told)
        ),
        waiting_on=[_waiting(finding) for finding in found],
        blockers=wording.blockers(row, run, found, serving) + kin.blockers(found[0], told),
        code=_place(run, reason),
        deadlines=[deadline for deadline in deadlines(row, run, now, None) if deadline.open],
        prospects=prospects(run, status),
        next_actions=wording.actions(row, run, reason, found) if child is None else kin.actions(row, told),
        evidence=_evidence(row, run, inbox) | {"workers": serving.count(found[0].queue or row.queue)},
    )


def _ended(row: RunRow, run: Folded, status: RunStatus, at: int | None, inbox: int) -> Explanation:
    reason = Reason(status.value)
    return Explanation(
        status=status,
        reason=reason,
        summary=wording.of_a_fork(run, wording.ended(row, run, status, at)),
        prospects=prospects(run, status),
        next_actions=wording.actions(row, run, reason, [Finding(reason, "run", row.workflow)]),
        evidence=_evidence(row, run, inbox),
    )


def _reason(status: RunStatus, run: Folded, main: Finding) -> Reason:
    """The reason of what comes first; of a run that drains or is undone only if it needs a person."""
    told = UNSERVED | REASONS[RunStatus.UNDOING] | REASONS[RunStatus.BLOCKED]
    if status is not RunStatus.UNDOING or main.reason in told - {Reason.DRAINING}:
        return main.reason
    return Reason.UNDOING if run.reopened or walking(run) is not None else Reason.DRAINING


_FITTING = (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED, RunStatus.UNDOING, RunStatus.BLOCKED)


def _status(status: RunStatus, reason: Reason) -> RunStatus:
    """The status that fits the reason: something may have happened since the row was written."""
    return status if fits(status, reason) else next((s for s in _FITTING if reason in REASONS[s]), status)


def _waiting(finding: Finding) -> Waiting:
    return Waiting(
        kind=finding.kind,
        name=finding.name,
        position=finding.position,
        since=when(finding.since),
        until=when(finding.until),
    )


def _place(run: Folded, reason: Reason) -> Place | None:
    blocked = run.blocked
    if reason not in CODE_REASONS or blocked is None or blocked.file is None or blocked.line is None:
        return None
    return Place(file=blocked.file, line=blocked.line, function=blocked.function)


def _evidence(row: RunRow, run: Folded, inbox: int) -> dict[str, Any]:
    """The recorded facts: the row's, and the newest event."""
    last = run.last
    return {
        "run": {
            "status": row.status,
            "reason": row.reason,
            "worker": row.worker,
            "epoch": row.epoch,
            "due_at": _iso(row.due_at),
        },
        "event": None if last is None else {"kind": last.kind, "seq": last.seq or None, "at": _iso(last.at)},
        "inbox": inbox,
    }


def _iso(at: int | None) -> str | None:
    moment = when(at)
    return None if moment is None else moment.isoformat()
