"""What people do with schedules: make, pause, resume, delete, trigger, backfill.

The rule of this file: each use case is one change of a schedule as it stands, made anew if somebody else was faster.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from squidmesh.core.calls import Call, seconds
from squidmesh.core.commands import micros
from squidmesh.core.payloads import size_check
from squidmesh.core.schedule import CatchUp, Cron, Definition, Every, Overlap
from squidmesh.core.ticks import Outcome
from squidmesh.core.workflow import Workflow
from squidmesh.engine.engine import Engine
from squidmesh.engine.post import person
from squidmesh.engine.start import tell
from squidmesh.engine.ticking import BATCH, at_hand, run_of
from squidmesh.engine.wish import LONGEST_KEY, storable
from squidmesh.errors import DefinitionError, ScheduleNotFound, StoreUnavailable
from squidmesh.ports import ScheduleChange, ScheduleRow, TickRow

logger = logging.getLogger("squidmesh.engine")

TRIES = 100
MOST = 10_000
"""Ticks of one backfill."""


def define(
    engine: Engine,
    when: Cron | Every,
    call: Call[Any],
    *,
    catch_up: CatchUp,
    overlap: Overlap,
    jitter: float | timedelta,
    start: datetime | None,
    end: datetime | None,
    attributes: Mapping[str, Any] | None,
) -> Definition:
    """What ``mesh.schedule(…)`` says, checked.

    :raises DefinitionError: what a schedule cannot be made of. ``InvalidPayload``: attributes that cannot be stored.
    """
    workflow, overrides = call.definition, call.overrides
    if not isinstance(workflow, Workflow):
        raise DefinitionError(f"{call.told()} is a step: schedule a workflow, which yields it")
    if not isinstance(when, (Cron, Every)):
        raise DefinitionError(f"schedule: when is Cron(…) or Every(…), not {when!r}")
    if when.input is not None:
        raise DefinitionError(f"schedule: the input stands in the call, {call.told()}, not in {when} (for triggers)")
    if overrides.key is not None:
        raise DefinitionError("schedule: each tick is a run of its own: leave options(key=…) away")
    size_check(call.input, engine.settings.max_payload, f"the input of workflow {workflow.name!r}")
    return Definition(
        when, call.input, catch_up, overlap, jitter=round(seconds("jitter", jitter) * 1e6),
        start=None if start is None else micros("start", start), end=None if end is None else micros("end", end),
        attributes=None if attributes is None else storable("attributes=", attributes),
        queue=overrides.queue or workflow.queue or "default", priority=overrides.priority or 0,
    )  # fmt: skip


def put(engine: Engine, name: str, workflow: Any, definition: Definition) -> ScheduleRow:
    """Make a schedule, or replace what is ahead of one; the same again changes nothing.

    :raises DefinitionError: a name that is none, or that is taken by a trigger.
    """
    name, text = _checked_name(name), definition.to_json()

    def change(row: ScheduleRow | None) -> ScheduleChange | None:
        if row is None:
            fresh = new_row(name, workflow.name, workflow.version, definition, engine.clock.now())
            return ScheduleChange(name, None, fresh)
        if row.origin is not None:
            raise DefinitionError(
                f"schedule {name!r} is that of a trigger of workflow {row.origin!r}: take another name"
            )
        if (row.workflow, row.version, row.definition) == (workflow.name, workflow.version, text):
            return None
        fresh = _redefined(engine, row, definition)
        return _changed(row, replace(fresh, workflow=workflow.name, version=workflow.version))

    put = _alter(engine, name, change).row
    assert put is not None
    return put


def new_row(
    name: str, workflow: str, version: int, definition: Definition, now: int, origin: str | None = None
) -> ScheduleRow:
    """A schedule that begins now. ``origin``: the workflow whose trigger it is."""
    anchor = definition.anchor(now)
    return ScheduleRow(
        name=name, workflow=workflow, version=version, definition=definition.to_json(), origin=origin, created_at=now,
        anchor=anchor, revision=now, due_at=definition.first(anchor, now),
    )  # fmt: skip


def _redefined(engine: Engine, row: ScheduleRow, definition: Definition) -> ScheduleRow:
    """Its ticks go on, if it is due at the same times as before; else the first is ahead of now."""
    before, now = Definition.from_json(row.definition), engine.clock.now()
    fresh = replace(row, definition=definition.to_json())
    if (before.when, before.start) != (definition.when, definition.start):
        anchor = definition.anchor(now)
        return replace(fresh, anchor=anchor, due_at=definition.first(anchor, now))
    begins = now if row.due_at is None else row.due_at - 1
    return replace(fresh, due_at=next(definition.ticks(row.anchor, begins), None))


def pause(engine: Engine, name: str, actor: str | None, note: str | None) -> None:
    """No tick fires, and none is recorded, until it is resumed."""
    by, why = person("pause", actor, note, needed=False)

    def change(row: ScheduleRow) -> ScheduleChange | None:
        if row.paused_at is not None:
            return None
        return _changed(row, replace(row, paused_at=engine.clock.now(), actor=by or None, note=why or None))

    _alter(engine, name, _there(name, change))


def resume(engine: Engine, name: str, actor: str | None, note: str | None) -> None:
    """Ticks fire again from now on; those of the pause are not caught up."""
    by, why = person("resume", actor, note, needed=False)

    def change(row: ScheduleRow) -> ScheduleChange | None:
        if row.paused_at is None:
            return None
        following = next(Definition.from_json(row.definition).ticks(row.anchor, engine.clock.now()), None)
        fresh = replace(row, paused_at=None, due_at=following, actor=by or None, note=why or None)
        return _changed(row, fresh)

    _alter(engine, name, _there(name, change))


def delete(engine: Engine, name: str, actor: str | None, note: str | None) -> None:
    """It is gone, if it was there; its runs and the record of its ticks stay."""
    by, why = person("delete", actor, note, needed=False)

    def change(row: ScheduleRow | None) -> ScheduleChange | None:
        return None if row is None else ScheduleChange(name, row.revision, None)

    if _alter(engine, name, change).made is not None:
        logger.info("schedule %r was deleted%s%s", name, f" by {by}" if by else "", f": {why}" if why else "")


def trigger(engine: Engine, name: str, actor: str | None, note: str | None) -> str:
    """Start a run of a schedule now, which is no tick of it; the run's id."""
    by, why = person("trigger", actor, note, needed=False)

    def change(row: ScheduleRow) -> ScheduleChange:
        definition = Definition.from_json(row.definition)
        run = run_of(at_hand(engine, row), definition, engine.clock.now(), actor=by or None, note=why or None)
        met = () if definition.overlap == "allow" else (run.run_id,)
        return replace(_changed(row, row), runs=(run,), met=met)

    made = _alter(engine, name, _there(name, change)).made
    assert made is not None
    return made.runs[0].run_id


def backfill(
    engine: Engine, name: str, start: datetime, end: datetime, actor: str | None, note: str | None
) -> list[str]:
    """Run the ticks of a past range that have no run; ids of the runs of all of them, in order.

    :raises ValueError: the range is too long, or ends before it begins.
    """
    by, why = person("backfill", actor, note, needed=False)
    first, last = micros("start", start), min(micros("end", end), engine.clock.now())
    if micros("end", end) < first:
        raise ValueError("backfill: end is before start")
    row = engine.store.schedule(name)
    if row is None:
        raise ScheduleNotFound(name)
    ticks = Definition.from_json(row.definition).ticks(row.anchor, first - 1)
    wanted = []
    for at in islice(ticks, MOST + 1):
        if at > last:
            break
        wanted.append(at)
    if len(wanted) > MOST:
        raise ValueError(f"backfill: the range has more than {MOST:,} ticks: ask for parts of it")
    ids: list[str] = []
    for n in range(0, len(wanted), BATCH):
        ids += _backfill(engine, name, wanted[n : n + BATCH], by or None, why or None)
    return ids


def _backfill(engine: Engine, name: str, wanted: list[int], actor: str | None, note: str | None) -> list[str]:
    ids: dict[int, str] = {}

    def change(row: ScheduleRow) -> ScheduleChange | None:
        ids.clear()
        recorded = engine.store.ticks(name, wanted[0], wanted[-1], MOST)
        ids.update({tick.at: tick.run_id for tick in recorded if tick.run_id is not None})
        definition, now, code = Definition.from_json(row.definition), engine.clock.now(), at_hand(engine, row)
        runs = {
            at: run_of(code, definition, now, tick=at, delayed=False, actor=actor, note=note)
            for at in wanted
            if at not in ids
        }
        ids.update({at: run.run_id for at, run in runs.items()})
        if not runs:
            return None
        started = tuple(TickRow(name, at, Outcome.STARTED, run.run_id) for at, run in runs.items())
        fresh = replace(row, queued_at=None) if row.queued_at in runs else row
        return replace(_changed(row, fresh), ticks=started, runs=tuple(runs.values()))

    _alter(engine, name, _there(name, change))
    return [ids[at] for at in wanted if at in ids]


# --------------------------------------------------------------------------------------------------------- within


@dataclass(frozen=True, slots=True)
class _Altered:
    row: ScheduleRow | None  # as it is now
    made: ScheduleChange | None  # None: nothing was to be changed


def _alter(engine: Engine, name: str, change: Callable[[ScheduleRow | None], ScheduleChange | None]) -> _Altered:
    """Make a change of a schedule as it stands; again, if somebody else has changed it since it was read."""
    for _ in range(TRIES):
        row = engine.store.schedule(name)
        wanted = change(row)
        if wanted is None:
            return _Altered(row, None)
        if engine.store.change_schedule(wanted):
            if wanted.runs:
                tell(engine, wanted.runs)
            return _Altered(wanted.row, wanted)
    raise StoreUnavailable(f"schedule {name!r} was changed by others {TRIES} times while this waited: try again")


def _there(
    name: str, change: Callable[[ScheduleRow], ScheduleChange | None]
) -> Callable[[ScheduleRow | None], ScheduleChange | None]:
    """The change of a schedule that must be there."""

    def of(row: ScheduleRow | None) -> ScheduleChange | None:
        if row is None:
            raise ScheduleNotFound(name)
        return change(row)

    return of


def _changed(row: ScheduleRow, fresh: ScheduleRow) -> ScheduleChange:
    return ScheduleChange(row.name, row.revision, replace(fresh, revision=row.revision + 1))


def _checked_name(name: object) -> str:
    if (
        isinstance(name, str)
        and name.strip()
        and "\0" not in name
        and len(name.encode("utf-8", "replace")) <= LONGEST_KEY
    ):
        return name
    raise DefinitionError(f"schedule: name is a text that is not empty, not {name!r:.60}")
