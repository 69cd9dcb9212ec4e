"""The workers of a mesh, as people look at them.

The rule of this file: a view is made of rows alone; whether a worker is alive, its lease says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from squidmesh.core.deterministic import instant
from squidmesh.ports import WorkerRow


class WorkerView(BaseModel, frozen=True):
    """A worker process. ``workflows`` has names and versions of those it has code for, ``steps`` the names of steps.

    ``lease``: ``held`` until ``lease_until``, or ``expired``: it was not heard of, and what it holds is taken over.
    ``runs`` and ``tasks``: how many of each it holds just now.
    """

    schema_version: int = 1
    id: str
    host: str
    pid: int
    queues: tuple[str, ...] = ()
    workflows: tuple[tuple[str, int], ...] = ()
    steps: tuple[str, ...] = ()
    started_at: datetime
    lease: Literal["held", "expired"]
    lease_until: datetime
    runs: int = 0
    tasks: int = 0


def worker_views(rows: Sequence[WorkerRow], holdings: Mapping[str, tuple[int, int]], now: int) -> list[WorkerView]:
    """The workers, the longest at work first.

    :param holdings: how many runs and tasks each holds.
    :param now: microseconds since the epoch, by the clock that rules the leases.
    """
    return [_view(row, *holdings.get(row.worker, (0, 0)), now) for row in rows]


def _view(row: WorkerRow, runs: int, tasks: int, now: int) -> WorkerView:
    return WorkerView(
        id=row.worker,
        host=row.host,
        pid=row.pid,
        queues=tuple(row.queues),
        workflows=tuple((name, version) for name, version in row.code.get("workflows", ())),
        steps=tuple(row.code.get("steps", ())),
        started_at=instant(row.started_at),
        lease="held" if row.expires_at > now else "expired",
        lease_until=instant(row.expires_at),
        runs=runs,
        tasks=tasks,
    )
