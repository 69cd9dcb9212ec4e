"""Before a deploy: every open run of the database, replayed against the code at hand.

    a page of open runs ─▶ their histories, in one look ─▶ each rehearsed against today's code ─▶ the next page

The rule of this file: it reads. No run is claimed, no step is called, nothing is sent, and no transaction stays open
while code runs: writers do not notice. What happens to a run meanwhile is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from squidmesh.core.codec import decode_rows
from squidmesh.core.rehearsing import Missing, Rehearsal, rehearse
from squidmesh.core.status import ENDED, RunStatus
from squidmesh.engine.engine import Engine
from squidmesh.errors import PayloadError
from squidmesh.ports import HistoryRow, RunFilter, RunRow

OPEN = tuple(status.value for status in RunStatus if status not in ENDED)


def open_runs(
    engine: Engine, *, batch: int = 100, limit: int | None = None, after: str | None = None
) -> Iterator[tuple[RunRow, Rehearsal | Missing]]:
    """Rehearse the open runs, newest first.

    :param batch: runs that are read at once.
    :param limit: at most so many runs.
    :param after: go on behind the run with this id.
    """
    left = limit
    while left is None or left > 0:
        wanted = batch if left is None else min(batch, left)
        rows = engine.store.runs(RunFilter(status=OPEN), wanted, after)
        histories = engine.store.histories([row.run_id for row in rows])
        for row in rows:
            yield row, _rehearsed(engine, row, histories.get(row.run_id, ()))
        if len(rows) < wanted:
            return
        after, left = rows[-1].run_id, None if left is None else left - len(rows)


def _rehearsed(engine: Engine, row: RunRow, rows: Sequence[HistoryRow]) -> Rehearsal | Missing:
    workflow = engine.code.workflows.get((row.workflow, row.version))
    if workflow is None:
        there = sorted(version for name, version in engine.code.workflows if name == row.workflow)
        told = f"only version {', '.join(map(str, there))} is" if there else "no version is"
        why = f"workflow {row.workflow!r} version {row.version} is not among the code: {told}"
        return Missing(why, elsewhere=not there)
    try:
        history = decode_rows([(found.seq, found.events) for found in rows])
    except PayloadError as unknown:
        return Missing(str(unknown))
    most, now = engine.settings.max_payload, engine.clock.now()
    return rehearse(workflow, history, row.run_id, engine.code.steps, most, now)
