"""Ticks: what a sweep does with schedules that are due.

The rule of this file: what becomes of a tick, the run that it starts and the time of the next are one change of the
schedule, which of several workers one makes. Times are those of the look that found it due, by the database's clock.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from squidmesh.core import events as ev
from squidmesh.core.codec import encode
from squidmesh.core.interpreter import INTERPRETER_VERSION
from squidmesh.core.schedule import Definition
from squidmesh.core.ticks import Outcome, decide
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known, look
from squidmesh.engine.start import new_run, tell
from squidmesh.errors import DefinitionError, MeshError, RunNotFound
from squidmesh.ports import Bell, BellKind, DueSchedule, NewRun, ScheduleChange, ScheduleRow, TickRow

logger = logging.getLogger("squidmesh.engine")

BATCH = 500
"""Ticks that are decided in one transaction."""


def tick(engine: Engine, due: Sequence[DueSchedule]) -> bool:
    """Decide what is due; whether any of it was decided here."""
    ticked = [_tick(engine, found) for found in due]
    return any(ticked)


def _tick(engine: Engine, found: DueSchedule) -> bool:
    try:
        begun = _batch(engine, found)
        while begun == []:  # all of them were missed: so go on until something runs
            again = engine.store.schedule(found.row.name)
            if again is None or again.due_at is None or again.due_at > found.now or again.paused_at is not None:
                break
            begun = _batch(engine, replace(found, row=again))
    except DefinitionError as unknown:
        logger.debug("schedule %r is left to other workers: %s", found.row.name, unknown)
        return False
    except MeshError:
        raise
    except Exception:
        logger.exception("schedule %r: its tick could not be decided; it is tried again", found.row.name)
        return False
    return begun is not None


def _batch(engine: Engine, found: DueSchedule) -> list[NewRun] | None:
    """Decide the oldest ticks that are due; the runs begun by them, or None: somebody else was there first."""
    row, now = found.row, found.now
    definition = Definition.from_json(row.definition)
    due, following = _ahead(definition, row, now)
    decided = decide(
        due,
        more=following is not None and following <= now,
        now=now,
        grace=round((engine.settings.lease + 2 * engine.settings.sweep) * 1e6),
        catch_up=definition.catch_up,
        overlap=definition.overlap,
        busy=found.busy,
        waiting=row.queued_at,
        known={tick.at for tick in engine.store.ticks(row.name, due[0], due[-1], BATCH)} if due else (),
    )
    code = at_hand(engine, row)
    begun = {
        at: run_of(code, definition, now, tick=at)
        for at, outcome in decided.outcomes.items()
        if outcome is Outcome.STARTED
    }
    superseded = definition.overlap == "cancel" and decided.waiting not in (None, row.queued_at)
    cancels = _cancels(engine, row, now) if superseded else []
    change = ScheduleChange(
        name=row.name,
        known=row.revision,
        row=replace(row, revision=row.revision + 1, due_at=following, queued_at=decided.waiting),
        ticks=tuple(
            TickRow(row.name, at, outcome, begun[at].run_id if at in begun else None)
            for at, outcome in decided.outcomes.items()
        ),
        runs=tuple(begun.values()),
        met=() if definition.overlap == "allow" else tuple(run.run_id for run in begun.values()),
        messages=tuple((known.row.run_id, event.kind, encode([event])) for known, event in cancels),
    )
    if not engine.store.change_schedule(change, wait=False):
        return None
    tell(engine, change.runs)
    if cancels:
        engine.doorbell.ring([Bell(BellKind.ADVANCE, known.row.queue, known.row.run_id) for known, _ in cancels])
    return list(change.runs)


def _ahead(definition: Definition, row: ScheduleRow, now: int) -> tuple[list[int], int | None]:
    """The oldest ticks that are due, and the one that follows them."""
    due: list[int] = []
    if row.due_at is None:
        return due, None
    for at in definition.ticks(row.anchor, row.due_at - 1):
        if at > now or len(due) == BATCH:
            return due, at
        due.append(at)
    return due, None


def _cancels(engine: Engine, row: ScheduleRow, now: int) -> list[tuple[Known, ev.CancelRequested]]:
    """What asks the runs that a tick meets to end; one that can only go forward, or is on its way, is let be."""
    found: list[tuple[Known, ev.CancelRequested]] = []
    for run_id in engine.store.met(row.name):
        try:
            known = look(engine, run_id)
        except RunNotFound:
            continue
        if not known.ended and not known.closing and known.pivot() is None:
            found.append((known, ev.CancelRequested(at=now, note=f"schedule {row.name!r}: the next tick is due")))
    return found


def at_hand(engine: Engine, row: ScheduleRow) -> ScheduleRow:
    """The schedule with the version that its runs have here: its own, or where that is gone the newest."""
    versions = [version for name, version in list(engine.code.workflows) if name == row.workflow]
    return row if row.version in versions or not versions else replace(row, version=max(versions))


def run_of(
    row: ScheduleRow,
    definition: Definition,
    now: int,
    *,
    tick: int | None = None,
    delayed: bool = True,
    actor: str | None = None,
    note: str | None = None,
) -> NewRun:
    """A run of a schedule. ``delayed``: that of a tick starts as much later as its jitter says."""
    start_at = tick + definition.delay(row.name, tick) if tick is not None and delayed else now
    started = ev.RunStarted(
        at=now, workflow=row.workflow, version=row.version, input=definition.input,
        interpreter_version=INTERPRETER_VERSION, queue=definition.queue, priority=definition.priority,
        attributes=definition.attributes, start_at=start_at if start_at > now else None,
        actor=actor, note=note, tick=tick,
    )  # fmt: skip
    return new_run(started)
