"""What people ask lists of runs for: checked and translated, before anything is read.

The rule of this file: what there cannot be is refused by name, so that a mistyped status is no empty list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from squidmesh.core.calls import whole_number
from squidmesh.core.commands import micros
from squidmesh.core.deadlines import DeadlineState
from squidmesh.core.status import Reason, RunStatus
from squidmesh.engine.naming import names
from squidmesh.engine.wish import checked_key, storable
from squidmesh.ports import RunFilter


class Filters(TypedDict, total=False):
    """What ``mesh.list`` and ``mesh.counts`` narrow down by; a run must fit all that is given."""

    status: str | Sequence[str] | None
    reason: str | Sequence[str] | None
    workflow: Any
    version: int | None
    key: str | None
    parent: str | None
    attributes: Mapping[str, Any] | None
    created_after: datetime | None
    created_before: datetime | None
    ended_after: datetime | None
    ended_before: datetime | None
    deadline: str | None
    has_rollback: bool | None
    orphaned: bool | None


def asked(filters: Filters) -> RunFilter:
    """The filter that the store takes.

    :raises ValueError: a status, reason, deadline or time that there cannot be. ``TypeError``: no such filter.
    """
    if unknown := [name for name in filters if name not in Filters.__annotations__]:
        raise TypeError(f"list and counts know no filter {unknown[0]!r}, but {', '.join(Filters.__annotations__)}")
    attributes = filters.get("attributes")
    deadline = names("deadline", filters.get("deadline"), tuple(DeadlineState))
    if deadline is not None and len(deadline) != 1:
        raise ValueError(f"deadline takes one of {', '.join(DeadlineState)}, not {deadline!r}")
    return RunFilter(
        status=names("status", filters.get("status"), tuple(RunStatus)),
        reason=names("reason", filters.get("reason"), tuple(Reason)),
        workflow=names("workflow", filters.get("workflow")),
        version=whole_number("list: version", filters.get("version")),
        key=checked_key(filters.get("key")),
        parent=filters.get("parent"),
        attributes=None if attributes is None else storable("attributes=", attributes),
        created_after=_instant(filters.get("created_after")),
        created_before=_instant(filters.get("created_before")),
        ended_after=_instant(filters.get("ended_after")),
        ended_before=_instant(filters.get("ended_before")),
        deadline=None if deadline is None else deadline[0],
        has_rollback=_flag("has_rollback", filters.get("has_rollback")),
        orphaned=_flag("orphaned", filters.get("orphaned")),
    )


def _flag(what: str, wanted: object) -> bool | None:
    if wanted is None or isinstance(wanted, bool):
        return wanted
    raise ValueError(f"{what} takes True or False, not {wanted!r}")


def _instant(when: datetime | None) -> int | None:
    return None if when is None else micros("a time", when)
