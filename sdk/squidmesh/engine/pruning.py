"""Pruning: trees of runs that have ended long enough ago are written away, if asked, and deleted.

Trees are walked status by status, the oldest first: ids are in order of time, so the front of the tables gets free.
A batch is a look, the archive's lines (on disk before anything goes), and one short transaction, in which a tree stays
that is not as it was seen. Then a rest, in proportion to what the batch took: where others make it slow, it gives way.

The rule of this file: whole trees, ended, or nothing. Who is killed between two lines of this loses nothing; at most
the archive tells of a run twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from squidmesh.core.status import ENDED, RunStatus
from squidmesh.engine.archive import Archive
from squidmesh.engine.engine import Engine
from squidmesh.engine.ids import first_id
from squidmesh.ports import Prunable, Tree

PRUNED: frozenset[RunStatus] = ENDED - {RunStatus.CONTINUED}
"""What roots may be in. A run that was continued goes with its successors, the newest of which is the root."""

BATCH = 0.05  # seconds that a batch should take
FIRST, MOST = 16, 1_000  # trees in one
TOGETHER = 32  # runs that are read at once for the archive


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning did, or (``dry_run``) would do.

    ``runs`` are gone, in so many ``trees`` (a run with its children is one). ``left``: trees that were to go, and were
    opened, or just being looked at by somebody who may, at that moment. ``archived``: lines that were written.
    """

    runs: int = 0
    trees: int = 0
    left: int = 0
    archived: int = 0
    dry_run: bool = False


def wanted(
    now: int, ages: Mapping[str, float], workflow: Sequence[str] | None = None, ended_before: int | None = None
) -> list[Prunable]:
    """What may go, status by status: by seconds since the end, or all that ended before an instant."""
    found = []
    for status, age in ages.items():
        if status in PRUNED:
            cutoff = now - round(age * 1e6) if ended_before is None else ended_before
            found.append(Prunable(status, cutoff, first_id(cutoff), workflow))
    return found


class Walk:
    """One pass over the trees that may go."""

    def __init__(self, engine: Engine, wanted: Iterable[Prunable]) -> None:
        self._store = engine.store
        self._left = deque(wanted)
        self._after: str | None = None

    def next(self, limit: int) -> list[Tree] | None:
        """Some more of them (of so many that were looked at: maybe none); None when there are no more."""
        while self._left:
            wanted = self._left[0]
            if found := self._store.trees(wanted, self._after, limit):
                self._after = max(tree.root for tree in found)
                return [tree for tree in found if tree.ended_before(wanted.ended_before)]
            self._left.popleft()
            self._after = None
        return None


class Stride:
    """How many trees make a batch, and how long to rest after it: learnt from what the last one took.

    ``pace`` is the part of the time that is worked, up to 1.
    """

    def __init__(self, pace: float) -> None:
        self.trees = FIRST
        self._rest = 1 / pace - 1

    def took(self, seconds: float) -> float:
        """Learn it; the seconds to rest."""
        fits = MOST if seconds <= 0 else int(self.trees * BATCH / seconds)
        self.trees = max(1, min(MOST, 2 * self.trees, fits))
        return seconds * self._rest


def prune(
    engine: Engine,
    wanted: Iterable[Prunable],
    *,
    limit: int | None,
    dry_run: bool,
    archive: Archive | None,
    pace: float,
    rest: Callable[[float], None] = time.sleep,
) -> Pruned:
    """Prune what is wanted, up to so many trees.

    :param rest: waits for so many seconds.
    """
    walk, stride = Walk(engine, wanted), Stride(pace)
    runs = trees = left = 0
    while limit is None or trees < limit:
        began = time.perf_counter()
        found = walk.next(stride.trees if limit is None else min(stride.trees, limit - trees))
        if found is None:
            break
        if archive is not None and found and not dry_run:
            write(engine, archive, found)
        gone = found if dry_run else _gone(engine, found)
        runs, trees = runs + sum(len(tree.members) for tree in gone), trees + len(gone)
        left += len(found) - len(gone)
        pause = stride.took(time.perf_counter() - began)
        if pause and not dry_run:
            rest(pause)
    return Pruned(runs, trees, left, archive.lines if archive is not None else 0, dry_run)


def _gone(engine: Engine, trees: Sequence[Tree]) -> list[Tree]:
    """Those that could be deleted."""
    roots = engine.store.prune(trees) if trees else frozenset()
    return [tree for tree in trees if tree.root in roots]


def write(engine: Engine, archive: Archive, trees: Iterable[Tree]) -> None:
    """Write all their runs away, tree by tree; they are on disk on return."""
    run_ids = [member.run_id for tree in trees for member in tree.members]
    for some in (run_ids[n : n + TOGETHER] for n in range(0, len(run_ids), TOGETHER)):
        there = {record.run.run_id: record for record in engine.store.records(some)}
        archive.write(there[run_id] for run_id in some if run_id in there)
    archive.sync()


def reclaim(engine: Engine, pace: float, rest: Callable[[float], None] = time.sleep) -> None:
    """Make room of what was deleted, step by step; rests between them."""
    step, again = 0, True
    while again:
        began = time.perf_counter()
        again = engine.store.reclaim(step)
        step += 1
        if again:
            rest((time.perf_counter() - began) * (1 / pace - 1))
