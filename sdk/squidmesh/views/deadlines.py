"""The deadlines of a run: its own, those of its gates and waits, and those of the attempts under way.

The rule of this file: what is over is judged by when it ended, what is open by the time now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from squidmesh.core.deadlines import DeadlineState, deadline_state
from squidmesh.core.deterministic import instant
from squidmesh.ports import RunRow
from squidmesh.views.folding import Folded, Step

Of = Literal["run", "gate", "signal", "step"]


class DeadlineView(BaseModel, frozen=True):
    """A time by which something must have come. ``kind`` and ``name`` say what: the ``run``, a ``gate``, a wait for a
    ``signal``, or the attempt of a ``step`` (where the workflow gave it a timeout for this use).

    ``state``: on_time; due_soon, when the last tenth of its time has begun and no more than a day is left; overdue.
    Of what is no more ``open``, it is how that came out.
    """

    kind: Of
    name: str
    position: str | None = None
    since: datetime
    due: datetime
    state: DeadlineState
    open: bool


def deadlines(row: RunRow, run: Folded, now: int, ended_at: int | None) -> Iterator[DeadlineView]:
    """All deadlines of a run: its own first, then by position in the order of the workflow."""
    if row.deadline is not None:
        yield _view("run", row.workflow, None, row.created_at, row.deadline, ended_at, now)
    for gate in run.outside.gates.by_position.values():
        if (opened := gate.event).due is not None:
            end = gate.decided or gate.end
            closed = ended_at if end is None else end.at
            yield _view("gate", opened.name, opened.position, opened.at, opened.due, closed, now)
    for wait in run.outside.waits.values():
        if (awaited := wait.event).due is not None:
            closed = ended_at if wait.end is None else wait.end.at
            yield _view("signal", awaited.name, awaited.position, awaited.at, awaited.due, closed, now)
    for step in run.steps.values():
        if step.timeout is not None and not step.settled and ended_at is None:
            yield from _of_step(step, step.timeout, now)


def _of_step(step: Step, timeout: float, now: int) -> Iterator[DeadlineView]:
    latest = step.latest
    if latest is not None and latest.outcome is None:
        due = latest.started_at + round(timeout * 1e6)
        yield _view("step", step.name, step.position, latest.started_at, due, None, now)


def _view(
    kind: Of, name: str, position: str | None, since: int, due: int, closed: int | None, now: int
) -> DeadlineView:
    # what has come at its very deadline was too late: that is when the timer fires
    state = deadline_state(since, due, now) if closed is None else _came_out(due, closed)
    return DeadlineView(
        kind=kind, name=name, position=position, since=instant(since), due=instant(due), state=state,
        open=closed is None,
    )  # fmt: skip


def _came_out(due: int, closed: int) -> DeadlineState:
    return DeadlineState.ON_TIME if closed < due else DeadlineState.OVERDUE
