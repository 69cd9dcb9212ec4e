"""What a person asks of retention: ``mesh.prune`` and ``mesh.export``.

The rule of this file: it checks and translates what people give, and calls one use case of the engine. Both functions
are methods of ``Mesh``, which has them from here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from squidmesh.core.calls import seconds, whole_number
from squidmesh.core.commands import micros
from squidmesh.core.status import RunStatus
from squidmesh.engine import pruning
from squidmesh.engine.archive import Archive
from squidmesh.engine.naming import names
from squidmesh.engine.pruning import PRUNED, Pruned
from squidmesh.ports import RunFilter

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh

Age: TypeAlias = "float | timedelta | datetime"
Target: TypeAlias = "str | os.PathLike[str] | IO[Any]"

PAGE = 32  # runs that are exported at once


def prune(
    mesh: Mesh,
    *,
    older_than: Age | None = None,
    status: str | Sequence[str] | None = None,
    workflow: Any = None,
    limit: int | None = None,
    dry_run: bool = False,
    archive: Target | None = None,
    secrets: bool = False,
    vacuum: bool = False,
    pace: float = 0.1,
) -> Pruned:
    """Delete runs that have ended, whole trees of them: a run goes with its children, all of which have ended, too.

    It works beside those who write, in batches, and may be interrupted at any time. What is gone is gone: its key may
    be used again, its handle is ``RunNotFound``. Messages that come late change nothing.

    :param older_than: that ended so long ago (seconds or a timedelta), or before an aware datetime, the youngest of the
        tree; by default what the mesh's ``retention`` says.
    :param status: only runs of this status, or these; by default of each in which a run has ended.
    :param workflow: only runs of this workflow (a definition or its name), or these. Of a tree its root counts.
    :param limit: at most so many trees.
    :param dry_run: only count.
    :param archive: a path (appended to) or an open file: each run is written there first, as a line of JSON.
    :param secrets: write secrets as they are; else they are masked, in the archive for ever.
    :param vacuum: in the end, make room of what is gone for new rows, and give the file system what can be given.
    :param pace: the part of the time that it works, from above 0 to 1: the lower, the less others feel it.
    :return: how many went.
    :raises ValueError: a status, time or number that there cannot be; or nothing says how old.
    """
    engine = mesh.connect_engine()
    if limit is not None and (whole_number("prune: limit", limit) or 0) < 1:
        raise ValueError(f"prune: limit is a count of at least 1, not {limit!r}")
    if not 0 < pace <= 1:
        raise ValueError(f"prune: pace is the part of the time that it works, from above 0 to 1, not {pace!r}")
    statuses = _statuses(status)
    now = engine.clock.now()
    ages, ended_before = dict.fromkeys(statuses, 0.0), None
    if isinstance(older_than, datetime):
        ended_before = micros("prune: older_than", older_than)
    elif older_than is not None:
        ages = dict.fromkeys(statuses, _age(older_than))
    elif mesh.settings.retention:
        ages = {name: age for name, age in mesh.settings.retention.items() if name in statuses}
    else:
        raise ValueError("prune(older_than=…) takes an age: this mesh has no retention=… to go by")
    wanted = pruning.wanted(now, ages, names("workflow", workflow), ended_before)
    if archive is None or dry_run:
        done = pruning.prune(engine, wanted, limit=limit, dry_run=dry_run, archive=None, pace=pace)
    else:
        with Archive(archive, secrets=secrets) as opened:
            done = pruning.prune(engine, wanted, limit=limit, dry_run=False, archive=opened, pace=pace)
    if vacuum and not dry_run:
        pruning.reclaim(engine, pace)
    return done


def export(
    mesh: Mesh,
    to: Target,
    *,
    status: str | Sequence[str] | None = None,
    workflow: Any = None,
    older_than: Age | None = None,
    limit: int | None = None,
    secrets: bool = False,
) -> int:
    """Write runs as lines of JSON, as ``prune`` archives them, and delete nothing. Newest first.

    :param to: a path (appended to), or an open file.
    :param status: only runs of this status, or these; by default of every one, ended or not.
    :param workflow: only runs of this workflow (a definition or its name), or these.
    :param older_than: only runs that ended so long ago, or before an aware datetime.
    :param limit: at most so many runs.
    :param secrets: write secrets as they are; else they are masked.
    :return: how many lines were written.
    :raises ValueError: a status, time or limit that there cannot be.
    """
    engine = mesh.connect_engine()
    if limit is not None and (whole_number("export: limit", limit) or 0) < 1:
        raise ValueError(f"export: limit is a count of at least 1, not {limit!r}")
    ended_before = None
    if isinstance(older_than, datetime):
        ended_before = micros("export: older_than", older_than)
    elif older_than is not None:
        ended_before = engine.clock.now() - round(_age(older_than) * 1e6)
    wanted = RunFilter(
        status=names("status", status, tuple(RunStatus)), workflow=names("workflow", workflow),
        ended_before=ended_before,
    )  # fmt: skip
    with Archive(to, secrets=secrets) as opened:
        before = None
        while limit is None or opened.lines < limit:
            rows = engine.store.runs(wanted, PAGE if limit is None else min(PAGE, limit - opened.lines), before)
            if not rows:
                break
            before = rows[-1].run_id
            opened.write(reversed(engine.store.records([row.run_id for row in rows])))
        opened.sync()
        return opened.lines


def _statuses(status: str | Sequence[str] | None) -> list[str]:
    ended = sorted(PRUNED)
    return list(dict.fromkeys(names("status", status, ended) or ended))


def _age(older_than: float | timedelta) -> float:
    age = seconds("older_than", older_than)
    if age < 0:
        raise ValueError(f"older_than is an age of zero or more seconds, or an instant, not {older_than!r}")
    return age
