"""Runs in lists: one line each, and pages of them.

The rule of this file: a summary is made of the run's row alone; no history is read for a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from squidmesh.core.deterministic import instant
from squidmesh.core.payloads import mask
from squidmesh.core.status import ENDED, RunStatus
from squidmesh.ports import RunRow

T = TypeVar("T")


class RunSummary(BaseModel, frozen=True):
    """One run of a list. ``rollback`` is the outcome of its newest rollback, or walking; ``orphans`` counts the effects
    that its rollbacks have left and nobody has answered for.
    """

    schema_version: int = 1
    run_id: str
    workflow: str
    version: int
    key: str | None = None
    status: RunStatus
    reason: str | None = None
    rollback: str | None = None
    orphans: int = 0
    parent: str | None = None
    attributes: dict[str, Any] = {}
    created_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None

    def __str__(self) -> str:
        told = f"{self.workflow} ({self.key})" if self.key else self.workflow
        return f"{self.run_id}  {self.status:<9}  {told}"


class Page(BaseModel, Generic[T], frozen=True):
    """Some items of a longer list; ``next`` is the ``after=`` of the page that follows, None at the end."""

    schema_version: int = 1
    items: tuple[T, ...] = ()
    next: str | None = None

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]  # a page is its items, not its fields
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class Counts(BaseModel, frozen=True):
    """How many runs there are; ``workflows`` has the same for each, by name. What there is none of is not in it."""

    schema_version: int = 1
    total: int = 0
    statuses: dict[RunStatus, int] = {}
    workflows: dict[str, dict[RunStatus, int]] = {}


def counted(rows: Iterable[tuple[str, str, int]]) -> Counts:
    """The counts of ``(workflow, status, count)``."""
    statuses: dict[RunStatus, int] = {}
    workflows: dict[str, dict[RunStatus, int]] = {}
    for workflow, name, count in rows:
        status = RunStatus(name)
        statuses[status] = statuses.get(status, 0) + count
        workflows.setdefault(workflow, {})[status] = count
    ordered = {status: statuses[status] for status in RunStatus if status in statuses}
    return Counts(total=sum(statuses.values()), statuses=ordered, workflows=workflows)


def summarise(row: RunRow) -> RunSummary:
    """The summary of a run's row."""
    status = RunStatus(row.status)
    return RunSummary(
        run_id=row.run_id,
        workflow=row.workflow,
        version=row.version,
        key=row.key,
        status=status,
        reason=row.reason or (status.value if status in ENDED else None),
        rollback=row.rollback,
        orphans=row.orphans,
        parent=row.parent,
        attributes=mask(dict(row.attributes or {})),
        created_at=instant(row.created_at),
        ended_at=None if row.ended_at is None else instant(row.ended_at),
        deadline=None if row.deadline is None else instant(row.deadline),
    )
