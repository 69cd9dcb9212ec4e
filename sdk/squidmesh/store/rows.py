"""Rows as values: which columns are read, in which order, and what becomes of them.

The rule of this file: each list of columns stands beside the function that takes such a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from squidmesh.ports import Capability, HistoryRow, InboxRow, RunRow, ScheduleRow, TaskRow, TickRow, WorkerRow

RUN = (
    "{text:id}, workflow, version, key, status, reason, queue, priority, {text:attributes}, {text:parent}, "
    "created_at, ended_at, deadline, due_at, worker, epoch, length, code, rollback, {text:chain}, orphans"
)
TASK = (
    "{text:run_id}, position, step, queue, priority, due_at, worker, number, lost, max_lost, join_position, "
    "{text:spec}, {text:progress}, claimed_at, scheduled_seq"
)
HISTORY = "{text:run_id}, seq, {text:events}"
INBOX = "id, {text:run_id}, {text:events}, at"
SCHEDULE = (
    "name, workflow, version, {text:definition}, origin, created_at, anchor, revision, due_at, queued_at, paused_at, "
    "actor, note"
)
TICK = "schedule, at, outcome, {text:run_id}"
WORKER = "id, host, pid, {text:queues}, {text:code}, started_at, expires_at"


def run_row(row: Any) -> RunRow:
    (run_id, workflow, version, key, status, reason, queue, priority, attributes, parent, *rest) = row
    created_at, ended_at, deadline, due_at, worker, epoch, length, code, rollback, chain, orphans = rest
    return RunRow(
        run_id=run_id,
        workflow=workflow,
        version=version,
        key=key,
        status=status,
        reason=reason,
        queue=queue,
        priority=priority,
        attributes=None if attributes is None else json.loads(attributes),
        parent=parent,
        created_at=created_at,
        ended_at=ended_at,
        deadline=deadline,
        due_at=due_at,
        worker=worker,
        epoch=epoch,
        length=length,
        code=code,
        rollback=rollback,
        chain=chain,
        orphans=orphans or 0,
    )


def task_row(row: Any) -> TaskRow:
    return TaskRow(*row)


def history_row(row: Any) -> HistoryRow:
    return HistoryRow(*row)


def inbox_row(row: Any) -> InboxRow:
    return InboxRow(*row)


def schedule_row(row: Any) -> ScheduleRow:
    return ScheduleRow(*row)


def tick_row(row: Any) -> TickRow:
    return TickRow(*row)


def worker_row(row: Any) -> WorkerRow:
    worker, host, pid, queues, code, started_at, expires_at = row
    return WorkerRow(worker, host, pid, json.loads(queues), json.loads(code), started_at, expires_at)


# What a run's definition is called in statements: one text for a workflow and its version.
CODE = "(CAST(version AS text) || '@' || workflow)"


def codes(can: Capability) -> list[str]:
    return [f"{version}@{workflow}" for workflow, version in can.workflows]


def known_ids(run_ids: Iterable[str]) -> list[str]:
    """The ids in the one form they are stored in; malformed ones, which no run can have, are left out."""
    return [plain for run_id in run_ids if (plain := known_id(run_id)) is not None]


def known_id(run_id: str) -> str | None:
    try:
        return str(UUID(run_id))
    except (ValueError, AttributeError, TypeError):
        return None
