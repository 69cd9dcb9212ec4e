"""What commands answer programs with: one document each, as JSON.

The rule of this file: a document says which version of its form it has. Fields are added; one that is there keeps its
name, type and meaning for as long as ``schema_version`` is the same. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from squidmesh.bulk import BulkReport
from squidmesh.core.report import RollbackReport
from squidmesh.core.status import Reason, RunStatus
from squidmesh.views.checking import CheckReport
from squidmesh.views.explanation import Explanation
from squidmesh.views.graph import Graph
from squidmesh.views.run import RunView
from squidmesh.views.schedules import ScheduleView, Tick
from squidmesh.views.summary import Counts, RunSummary
from squidmesh.views.timeline import TimelineEntry
from squidmesh.views.workers import WorkerView


class Document(BaseModel, frozen=True):
    schema_version: Literal[1] = 1


# ------------------------------------------------------------------------------------------------------ reading


class Runs(Document, frozen=True):
    """``squidmesh runs``. ``next`` is what ``--after`` takes for the page that follows."""

    runs: tuple[RunSummary, ...]
    next: str | None


class Counted(Document, frozen=True):
    """``squidmesh runs --counts``."""

    counts: Counts


class Run(Document, frozen=True):
    """``squidmesh show``, and ``watch`` at its end."""

    run: RunView


class Explained(Document, frozen=True):
    """``squidmesh explain``."""

    run_id: str
    workflow: str
    explanation: Explanation


class History(Document, frozen=True):
    """``squidmesh history``. Each event has ``seq``, ``kind`` and ``at``, and the fields of its kind."""

    run_id: str
    events: list[dict[str, Any]]


class GraphDocument(Document, frozen=True):
    """``squidmesh graph``."""

    graph: Graph


class Timeline(Document, frozen=True):
    """``squidmesh timeline``."""

    run_id: str
    entries: list[TimelineEntry]


class ReasonDocument(BaseModel, frozen=True):
    reason: Reason
    statuses: list[RunStatus]
    meaning: str
    waits_for: str | None = None
    next: str | None = None


class Reasons(Document, frozen=True):
    """``squidmesh reasons``."""

    reasons: list[ReasonDocument]


class Workers(Document, frozen=True):
    """``squidmesh workers``."""

    workers: list[WorkerView]


class ScheduleDocument(BaseModel, frozen=True):
    schedule: ScheduleView
    ticks: list[Tick] = []
    upcoming: list[datetime] = []


class Schedules(Document, frozen=True):
    """``squidmesh schedules list``."""

    schedules: list[ScheduleView]


class Schedule(Document, frozen=True):
    """``squidmesh schedules show``, and what changes a schedule."""

    name: str
    command: str
    schedule: ScheduleView | None
    ticks: list[Tick] = []
    upcoming: list[datetime] = []
    run_ids: list[str] = []


class Finding(BaseModel, frozen=True):
    """Something that the doctor has looked at; ``todo`` says what to do about it."""

    check: str
    level: Literal["ok", "note", "problem"]
    told: str
    todo: str | None = None


class Diagnosis(Document, frozen=True):
    """``squidmesh doctor``. ``healthy``: no finding is a problem."""

    healthy: bool
    findings: list[Finding]


class StatusDocument(Document, frozen=True):
    """``squidmesh status``."""

    database: str
    runs: dict[str, int]
    workers: int
    queues: list[str]
    due: int
    oldest_due: datetime | None
    schedules: int
    paused_schedules: int
    blocked: list[RunSummary]


# ----------------------------------------------------------------------------------------------------- steering


class Steered(Document, frozen=True):
    """What a command that steers a run has come to. ``rollback`` where it is about one."""

    command: str
    run_id: str
    status: RunStatus
    rollback: RollbackReport | None = None


class Started(Document, frozen=True):
    """``squidmesh start`` and ``rerun``. ``result`` with ``--wait``."""

    command: str
    run_id: str
    status: RunStatus
    rerun_of: str | None = None
    result: Any = None


class Bulk(Document, frozen=True):
    """``squidmesh bulk``."""

    report: BulkReport


# ---------------------------------------------------------------------------------------------- keeping, checking


class PrunedDocument(Document, frozen=True):
    """``squidmesh prune``."""

    dry_run: bool
    runs: int
    trees: int
    archived: int
    archive: str | None


class Exported(Document, frozen=True):
    """``squidmesh export``."""

    file: str
    runs: int


class ReplayedFile(BaseModel, frozen=True):
    """``code`` is the line at which history and code part, ``position`` the place in the history."""

    file: str
    ok: bool
    told: str
    workflow: str | None = None
    run_id: str | None = None
    position: str | None = None
    code: str | None = None


class ReplayedDocument(Document, frozen=True):
    """``squidmesh replay``."""

    files: list[ReplayedFile]


class Checked(Document, frozen=True):
    """``squidmesh check``."""

    report: CheckReport
