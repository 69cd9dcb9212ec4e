"""A run along time: each attempt, wait, call of an undo, and time it stood still, from its start to its end.

The rule of this file: what began is there, in the order in which it began; what has not ended has no end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.ports import RunRow, TaskRow
from squidmesh.views.folding import Folded, Step, folded
from squidmesh.views.happened import Happened, Span, Undo, happened
from squidmesh.views.outside import gates, waits
from squidmesh.views.run import standing

Kind = Literal[
    "run", "attempt", "compensate", "timer", "signal", "gate", "child", "send", "rollback", "undo", "blocked", "held"
]


class TimelineEntry(BaseModel, frozen=True):
    """One span of a run's life. ``name`` is of the step, signal, gate or workflow; ``number`` counts attempts."""

    schema_version: int = 1
    kind: Kind
    name: str
    position: str = ""
    start: datetime
    end: datetime | None = None
    status: str
    number: int | None = None


def timeline(row: RunRow, events: Sequence[Event], tasks: Sequence[TaskRow] = ()) -> list[TimelineEntry]:
    """The spans of a run by their start, the run itself first.

    :param events: its history, followed by the events that wait in its inbox.
    """
    run, told = folded(events, tasks), happened(events)
    status, _, ended_at = standing(row, run)
    whole = Span(row.workflow, "", row.created_at, status.value, ended_at)
    within = [*_attempts(run), *_outside(run), *_others(run, told)]
    within.sort(key=lambda entry: entry.start)
    return [_entry("run", whole), *within]


def _attempts(run: Folded) -> Iterator[TimelineEntry]:
    for step in run.steps.values():
        for number in sorted(step.attempts):
            tried = step.attempts[number]
            yield _entry("attempt", _span(step, tried.started_at, tried.outcome, tried.ended_at), number)
        for cycle in sorted(step.compensations):
            call = step.compensations[cycle]
            yield _entry("compensate", _span(step, call.started_at, call.outcome, call.ended_at), cycle)


def _span(step: Step, start: int, outcome: str | None, end: int | None) -> Span:
    return Span(step.name, step.position, start, outcome or "running", end)


def _outside(run: Folded) -> Iterator[TimelineEntry]:
    over = run.end is not None
    for wait in waits(run.outside, over):
        yield TimelineEntry(
            kind="signal", name=wait.name, position=wait.position, start=wait.since, end=wait.ended_at,
            status=wait.status,
        )  # fmt: skip
    for gate in gates(run.outside, over):
        yield TimelineEntry(
            kind="gate", name=gate.name, position=gate.position, start=gate.since, end=gate.ended_at,
            status=gate.status,
        )  # fmt: skip


def _others(run: Folded, told: Happened) -> Iterator[TimelineEntry]:
    for timer in told.timers.values():
        yield _entry("timer", timer)
    for child in run.children.values():
        begun = child.begun
        ended = None if child.end is None else child.end.at
        yield _entry("child", Span(begun.workflow, begun.position, begun.at, child.status, ended))
    for sent in told.sent.values():
        yield _entry("send", sent)
    for rollback in told.rollbacks.values():
        yield _entry("rollback", rollback)
    for call in told.undos:
        yield _entry("undo", _named(run, call), call.number)
    for stood in told.stood:
        yield _entry("blocked" if stood.status == "blocked" else "held", stood)


def _named(run: Folded, call: Undo) -> Span:
    entry = run.chain.entries.get(call.entry)
    name = call.entry if entry is None else entry.step
    return Span(name, call.position, call.start, call.status, call.end)


def _entry(kind: Kind, span: Span, number: int | None = None) -> TimelineEntry:
    return TimelineEntry(
        kind=kind, name=span.name, position=span.position, start=instant(span.start),
        end=None if span.end is None else instant(span.end), status=span.status, number=number,
    )  # fmt: skip
