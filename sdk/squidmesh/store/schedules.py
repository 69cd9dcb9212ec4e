"""Schedules and their ticks.

The rule of this file: a schedule changes in one transaction with all that its change brings about: ticks, the runs
they start, messages to the runs they meet. Who changes it names the revision that it was read with, so of two who have
seen the same tick due one comes too late. Locks are taken in this order: schedule, runs, inbox.
"""

from __future__ import annotations

import json

from squidmesh.ports import Capability, DueSchedule, ScheduleChange, ScheduleRow, TickRow
from squidmesh.store.database import CLIENT_PATIENCE, Database, Statements
from squidmesh.store.messages import LAND, PING, there
from squidmesh.store.rows import SCHEDULE, TICK, schedule_row, tick_row

AT_ONCE = 100  # schedules that one look finds due


def one(database: Database, name: str) -> ScheduleRow | None:
    rows = database.read(f"SELECT {SCHEDULE} FROM squidmesh_schedules WHERE name = :name", name=name)
    return schedule_row(rows[0]) if rows else None


def every(database: Database) -> list[ScheduleRow]:
    rows = database.read(f"SELECT {SCHEDULE} FROM squidmesh_schedules ORDER BY name")
    return [schedule_row(row) for row in rows]


def ticks(database: Database, schedule: str, first: int, last: int, limit: int) -> list[TickRow]:
    rows = database.read(
        f"SELECT {TICK} FROM squidmesh_ticks WHERE schedule = :schedule AND at BETWEEN :first AND :last "
        "ORDER BY at DESC LIMIT :limit",
        schedule=schedule,
        first=first,
        last=last,
        limit=limit,
    )
    return [tick_row(row) for row in reversed(rows)]


def met(database: Database, schedule: str) -> list[str]:
    rows = database.read(
        "SELECT {text:run_id} FROM squidmesh_schedule_runs JOIN squidmesh_runs ON id = run_id "
        "WHERE schedule = :schedule AND ended_at IS NULL ORDER BY run_id",
        schedule=schedule,
    )
    return [row[0] for row in rows]


def due(database: Database, can: Capability) -> tuple[tuple[DueSchedule, ...], int | None]:
    """The schedules that are due, and when the next one is."""
    newest: dict[str, int] = {}
    for workflow, version in can.workflows:
        newest[workflow] = max(version, newest.get(workflow, version))
    if not newest:
        return (), None
    rows = database.read(
        _DUE.replace("#newest#", _NEWEST[database.dialect.name]),
        newest=json.dumps(newest),
        triggers=database.dialect.listed(can.triggers),
        limit=AT_ONCE,
    )
    found, next_at = dict[str, DueSchedule](), None
    for is_due, now, busy, *columns in rows:
        row = schedule_row(columns)
        if is_due:
            found.setdefault(row.name, DueSchedule(row, now, bool(busy)))
        else:
            next_at = row.due_at
    return tuple(found.values()), next_at


def change(database: Database, wanted: ScheduleChange, wait: bool) -> bool:
    def attempt(again: bool) -> bool:
        if again and wanted.runs and there(database, wanted.runs):
            return True  # the answer was lost, not the commit
        try:
            with database.transaction() as statements:
                _make(database, statements, wanted, wait)
        except _Refused:
            return False
        return True

    return database.patiently(attempt, CLIENT_PATIENCE)


def _make(database: Database, statements: Statements, wanted: ScheduleChange, wait: bool) -> None:
    name, row = wanted.name, wanted.row
    if wanted.known is not None and not statements.rows(_WAIT if wait else _LOCK, name=name, known=wanted.known):
        raise _Refused
    if row is None:
        statements.change("DELETE FROM squidmesh_schedule_runs WHERE schedule = :name", name=name)
        statements.change("DELETE FROM squidmesh_schedules WHERE name = :name", name=name)
    elif not statements.change(_INSERT if wanted.known is None else _UPDATE, **{n: getattr(row, n) for n in _COLUMNS}):
        raise _Refused
    if wanted.ticks:
        told = json.dumps([{"at": tick.at, "outcome": tick.outcome, "run_id": tick.run_id} for tick in wanted.ticks])
        if statements.change(_TICKS[database.dialect.name], schedule=name, ticks=told) < len(wanted.ticks):
            raise _Refused
    for run_id, kind, events in sorted(wanted.messages):
        if statements.change(PING, run_id=run_id):
            statements.change(LAND, run_id=run_id, kind=kind, key=None, events=events)
    if wanted.runs:
        database.dialect.start(statements, wanted.runs)
    if wanted.met:
        statements.change(_CLEAR, schedule=name)
        statements.change(_MEET[database.dialect.name], schedule=name, runs=json.dumps(wanted.met))


class _Refused(Exception):
    """Somebody else has changed the schedule: roll back."""


_COLUMNS = ScheduleRow.__slots__
_INSERT = f"""
INSERT INTO squidmesh_schedules ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{name}" for name in _COLUMNS)})
ON CONFLICT DO NOTHING
"""
_UPDATE = f"""
UPDATE squidmesh_schedules SET {", ".join(f"{name} = :{name}" for name in _COLUMNS if name != "name")}
WHERE name = :name
"""
_LOCK = "SELECT 1 FROM squidmesh_schedules WHERE name = :name AND revision = :known {lock}"
_WAIT = _LOCK.replace("{lock}", "{wait}")
_TICK = """
INSERT INTO squidmesh_ticks (schedule, at, outcome, run_id) #ticks#
ON CONFLICT (schedule, at) DO UPDATE SET outcome = excluded.outcome, run_id = excluded.run_id
WHERE squidmesh_ticks.run_id IS NULL
"""
_TICKS = {
    "postgresql": _TICK.replace(
        "#ticks#",
        "SELECT :schedule, at, outcome, run_id FROM json_to_recordset(:ticks::json) AS t(at bigint, outcome text, "
        "run_id uuid)",
    ),
    "sqlite": _TICK.replace(
        "#ticks#",
        "SELECT :schedule, json_extract(value, '$.at'), json_extract(value, '$.outcome'), "
        "json_extract(value, '$.run_id') FROM json_each(:ticks) WHERE true",
    ),
}
_GOES_ON = "EXISTS (SELECT 1 FROM squidmesh_runs WHERE id = run_id AND ended_at IS NULL)"
_CLEAR = f"DELETE FROM squidmesh_schedule_runs WHERE schedule = :schedule AND NOT {_GOES_ON}"
_MET = "INSERT INTO squidmesh_schedule_runs (schedule, run_id) #runs# ON CONFLICT DO NOTHING"
_MEET = {
    "postgresql": _MET.replace("#runs#", "SELECT :schedule, id::uuid FROM json_array_elements_text(:runs::json) AS id"),
    "sqlite": _MET.replace("#runs#", "SELECT :schedule, value FROM json_each(:runs) WHERE true"),
}
_NEWEST = {
    "postgresql": "(:newest::json ->> workflow)::int",
    "sqlite": """json_extract(:newest, '$."' || workflow || '"')""",
}
_MINE = "paused_at IS NULL AND version <= #newest# AND (origin IS NULL OR name {in:triggers})"
_BUSY = f"EXISTS (SELECT 1 FROM squidmesh_schedule_runs WHERE schedule = name AND {_GOES_ON})"
# What is due; ticks that waited for the end of a run; and the next one.
_DUE = f"""
SELECT * FROM (
    SELECT 1 AS due, {{now}} AS now, {_BUSY} AS busy, {SCHEDULE} FROM squidmesh_schedules
    WHERE due_at IS NOT NULL AND due_at <= {{now}} AND {_MINE} ORDER BY due_at LIMIT :limit
) AS d
UNION ALL
SELECT * FROM (
    SELECT 1 AS due, {{now}} AS now, {_BUSY} AS busy, {SCHEDULE} FROM squidmesh_schedules
    WHERE queued_at IS NOT NULL AND queued_at <= {{now}} AND {_MINE} AND NOT {_BUSY} LIMIT :limit
) AS q
UNION ALL
SELECT * FROM (
    SELECT 0, {{now}}, false, {SCHEDULE} FROM squidmesh_schedules
    WHERE due_at IS NOT NULL AND due_at > {{now}} AND {_MINE} ORDER BY due_at LIMIT 1
) AS n
"""
