"""Schedules and their ticks, as people look at them.

The rule of this file: a view is made of rows alone; times are aware and in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from squidmesh.core.deterministic import instant
from squidmesh.core.payloads import mask
from squidmesh.core.schedule import Definition
from squidmesh.core.ticks import Outcome
from squidmesh.ports import ScheduleRow, TickRow


class Tick(BaseModel, frozen=True):
    """One due time of a schedule, and what became of it: ``started`` (with its run), ``skipped``, ``queued`` or
    ``missed``. ``at`` is its nominal time.
    """

    at: datetime
    outcome: Outcome
    run_id: str | None = None


class ScheduleView(BaseModel, frozen=True):
    """A schedule as it stands; ``jitter`` is in seconds, ``trigger`` the workflow whose trigger it is."""

    name: str
    workflow: str
    version: int
    when: str
    input: dict[str, Any]
    catch_up: str
    overlap: str
    jitter: float
    start: datetime | None = None
    end: datetime | None = None
    attributes: dict[str, Any] = {}
    trigger: str | None = None
    created_at: datetime
    next_at: datetime | None = None
    queued: datetime | None = None
    paused_at: datetime | None = None
    actor: str | None = None
    note: str | None = None


def tick_view(row: TickRow) -> Tick:
    return Tick(at=instant(row.at), outcome=Outcome(row.outcome), run_id=row.run_id)


def schedule_view(row: ScheduleRow) -> ScheduleView:
    """``next_at`` is None while it is paused, and once it is over."""
    said = Definition.from_json(row.definition)
    return ScheduleView(
        name=row.name,
        workflow=row.workflow,
        version=row.version,
        when=str(said.when),
        input=mask(said.input),
        catch_up=said.catch_up,
        overlap=said.overlap,
        jitter=said.jitter / 1e6,
        start=_instant(said.start),
        end=_instant(said.end),
        attributes=mask(said.attributes or {}),
        trigger=row.origin,
        created_at=instant(row.created_at),
        next_at=_instant(row.due_at) if row.paused_at is None else None,
        queued=_instant(row.queued_at),
        paused_at=_instant(row.paused_at),
        actor=row.actor,
        note=row.note,
    )


def _instant(at: int | None) -> datetime | None:
    return None if at is None else instant(at)
