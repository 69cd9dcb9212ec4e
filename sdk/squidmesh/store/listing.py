"""Lists of runs, newest first, and how many there are.

A filter that few runs pass must not walk along all the others. So the runs are three sets that do not meet: those over
and those open, each with an index by workflow, version and status; and those that a worker holds just now, which are
few. The groups (workflow, version, status) of a set are found by jumping from one to the next; each that is asked for
gives its newest runs by the same index, and the newest of all these are the page. Rarer things (a reason, a deadline,
attributes, what a rollback left behind) have an index of their own over the runs that have them.

The rule of this file: nothing is changed; each question is one statement, whose cost follows from what it answers with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from squidmesh.core.deadlines import SOON_MOST, SOON_SHARE, DeadlineState
from squidmesh.core.status import ENDED
from squidmesh.ports import RunFilter, RunRow
from squidmesh.store.database import Database
from squidmesh.store.rows import RUN, known_id, run_row

_LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
OVER: Final = "r.ended_at IS NOT NULL"
_OPEN: Final = "r.ended_at IS NULL AND r.worker IS NULL"
_HELD: Final = "r.worker > ''"

_DEADLINES: Final = {
    DeadlineState.OVERDUE: "r.deadline <= {now}",
    DeadlineState.DUE_SOON: (
        f"r.deadline > {{now}} AND r.deadline <= {{now}} + {SOON_MOST} "
        f"AND (r.deadline - {{now}}) * {SOON_SHARE} <= r.deadline - r.created_at"
    ),
    DeadlineState.ON_TIME: (
        f"r.deadline > {{now}} AND (r.deadline > {{now}} + {SOON_MOST} "
        f"OR (r.deadline - {{now}}) * {SOON_SHARE} > r.deadline - r.created_at)"
    ),
}

# A run has the attributes when each one asked for is there with an equal value.
_ATTRIBUTES: Final = {
    "postgresql": """r.attributes IS NOT NULL AND r.attributes::jsonb @> :attributes::jsonb AND NOT EXISTS (
        SELECT FROM json_each(:attributes::json) AS w
        WHERE (r.attributes -> w.key)::jsonb IS DISTINCT FROM w.value::jsonb
    )""",
    "sqlite": """r.attributes IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM json_each(:attributes) AS w WHERE NOT EXISTS (
            SELECT 1 FROM json_each(r.attributes) AS a
            WHERE a.key = w.key AND a.value IS w.value
                AND replace(a.type, 'real', 'integer') = replace(w.type, 'real', 'integer')
        )
    )""",
}


class _Asked:
    """A filter as conditions on a run ``r``: ``group``, what the groups' index knows, and ``rest``, with parameters."""

    def __init__(self, database: Database, wanted: RunFilter) -> None:
        self.parameters: dict[str, Any] = {}
        self.group: list[str] = []
        self.rest: list[str] = []
        self.impossible = False
        self._listed = database.dialect.listed
        self._among(self.group, "status", wanted.status)
        self._among(self.group, "workflow", wanted.workflow)
        self._one(self.group, "r.version = :version", "version", wanted.version)
        self._among(self.rest, "rollback", wanted.rollback)
        self._one(self.rest, "r.key = :key", "key", wanted.key)
        if wanted.parent is not None:
            plain = known_id(wanted.parent)
            self.impossible = plain is None
            self._one(self.rest, "r.parent = :parent", "parent", plain)
        self._one(self.rest, "r.created_at >= :created_after", "created_after", wanted.created_after)
        self._one(self.rest, "r.created_at < :created_before", "created_before", wanted.created_before)
        self._one(self.rest, "r.ended_at >= :ended_after", "ended_after", wanted.ended_after)
        self._one(self.rest, "r.ended_at < :ended_before", "ended_before", wanted.ended_before)
        if wanted.deadline is not None:
            self.rest.append(
                f"r.deadline IS NOT NULL AND r.ended_at IS NULL AND {_DEADLINES[DeadlineState(wanted.deadline)]}"
            )
        if wanted.has_rollback is not None:
            self.rest.append(f"r.rollback IS {'NOT ' if wanted.has_rollback else ''}NULL")
        if wanted.orphaned is not None:
            self.rest.append("r.orphans > 0" if wanted.orphaned else "COALESCE(r.orphans, 0) = 0")
        if wanted.attributes:
            told = json.dumps(dict(wanted.attributes))
            self._one(self.rest, _ATTRIBUTES[database.dialect.name], "attributes", told)
        self.reasons = None if wanted.reason is None else [r for r in wanted.reason if r not in set(ENDED)]
        self.ends = None if wanted.reason is None else [r for r in wanted.reason if r in set(ENDED)]
        if wanted.reason is not None:
            self.parameters |= {"reasons": self._listed(self.reasons or ()), "ends": self._listed(self.ends or ())}

    def where(self, *more: str) -> str:
        """All conditions, and some more."""
        return " AND ".join([*more, *self.group, *self.rest, *self.because]) or "1 = 1"

    @property
    def because(self) -> list[str]:
        """The condition on the reason: an open run's own, or the status of one that is over."""
        if self.reasons is None:
            return []
        return [f"(r.reason {{in:reasons}} OR ({OVER} AND r.status {{in:ends}}))"]

    def _one(self, conditions: list[str], condition: str, name: str, value: Any) -> None:
        if value is not None:
            conditions.append(condition)
            self.parameters[name] = value

    def _among(self, conditions: list[str], column: str, values: Sequence[str] | None) -> None:
        if values is not None:
            conditions.append(f"r.{column} {{in:{column}}}")
            self.parameters[column] = self._listed(values)


def runs(database: Database, wanted: RunFilter, limit: int, before: str | None) -> list[RunRow]:
    """The newest runs of a filter, those with an id below ``before``."""
    asked, plain = _Asked(database, wanted), _LAST_ID if before is None else known_id(before)
    if asked.impossible or plain is None:
        return []
    asked.rest.append("r.id < :before")
    tables, newest = _newest(database.dialect.name, wanted, asked, limit)
    rows = database.read(
        f"{f'WITH RECURSIVE {tables} ' if tables else ''}SELECT {RUN} FROM squidmesh_runs AS r "
        f"WHERE r.id IN ({newest}) ORDER BY id DESC",
        **asked.parameters,
        before=plain,
    )
    return [run_row(row) for row in rows]


def counts(database: Database, wanted: RunFilter) -> list[tuple[str, str, int]]:
    """How many runs a filter finds: ``(workflow, status, count)``."""
    asked = _Asked(database, wanted)
    if asked.impossible:
        return []
    each = " UNION ALL ".join(
        f"SELECT r.workflow, r.status FROM squidmesh_runs AS r WHERE {asked.where(part)}"
        for part in (f"{OVER} AND r.workflow >= ''", f"{_OPEN} AND r.workflow >= ''", _HELD)
    )
    rows = database.read(
        f"SELECT workflow, status, count(*) FROM ({each}) AS r GROUP BY workflow, status ORDER BY workflow, status",
        **asked.parameters,
    )
    return [(workflow, status, count) for workflow, status, count in rows]


_Part = tuple[str, str]
"""Common tables (empty: none), and the select of ids that stands on them; limits are in the text: they make plans."""


def _newest(dialect: str, wanted: RunFilter, asked: _Asked, limit: int) -> _Part:
    """The ids of the newest runs of a filter, found by what it says that is rarest."""
    if wanted.key is not None or wanted.parent is not None or wanted.orphaned or wanted.has_rollback:
        return _walk(asked, limit)
    if wanted.deadline in (DeadlineState.OVERDUE, DeadlineState.DUE_SOON):
        return f"due AS MATERIALIZED (SELECT r.id FROM squidmesh_runs AS r WHERE {asked.where()})", _first("due", limit)
    if wanted.attributes and dialect == "postgresql":
        return _by_attributes(dialect, wanted, asked, limit)
    if wanted.reason is not None or asked.group:
        return _by_group(dialect, wanted, asked, limit)
    return _walk(asked, limit)


def _walk(asked: _Asked, limit: int) -> _Part:
    """Along the primary key, or an index by id over some runs."""
    return "", f"SELECT r.id FROM squidmesh_runs AS r WHERE {asked.where()} ORDER BY r.id DESC LIMIT {limit:d}"


def _first(table: str, limit: int) -> str:
    return f"SELECT id FROM {table} ORDER BY id DESC LIMIT {limit:d}"


_NEAR: Final = 200


def _by_attributes(dialect: str, wanted: RunFilter, asked: _Asked, limit: int) -> _Part:
    """Attributes of many runs are found among the newest of the rest of the filter; those of few by their index."""
    apart = replace(wanted, attributes=None)
    told = asked.rest.pop(asked.rest.index(_ATTRIBUTES[dialect]))
    tables, newest = _newest(dialect, apart, asked, _NEAR)
    asked.rest.append(told)
    these = "SELECT r.* FROM newest AS n JOIN squidmesh_runs AS r ON r.id = n.id OFFSET 0"  # read first, then judged
    near = f"SELECT r.id FROM ({these}) AS r WHERE {told}"
    wanting = f"(SELECT count(*) FROM near) < {limit:d} AND (SELECT count(*) FROM newest) = {_NEAR}"
    parts = [
        *([tables] if tables else []),
        f"newest AS MATERIALIZED ({newest})",
        f"near AS MATERIALIZED ({near})",
        f"far AS MATERIALIZED (SELECT r.id FROM squidmesh_runs AS r WHERE {wanting} AND {asked.where()})",
    ]
    return ", ".join(parts), _first("(SELECT id FROM near UNION SELECT id FROM far) AS found", limit)


# ------------------------------------------------------------------------------------------------ group by group

_KEY: Final = "r.workflow, r.version, r.status"
SAME: Final = "r.workflow = o.workflow AND r.version = o.version AND r.status = o.status"

# One run of each group, found by a jump from the group before.
JUMPS: Final = f"""#name#(id) AS (
    SELECT (SELECT r.id FROM squidmesh_runs AS r WHERE #set# AND r.workflow >= '' ORDER BY {_KEY} LIMIT 1)
    UNION ALL
    SELECT (
        SELECT r.id FROM squidmesh_runs AS r
        WHERE #set# AND ({_KEY}) > (o.workflow, o.version, o.status) ORDER BY {_KEY} LIMIT 1
    ) FROM #name# AS g JOIN squidmesh_runs AS o ON o.id = g.id
)"""
EACH: Final = {
    "postgresql": "SELECT n.id FROM #from# CROSS JOIN LATERAL (#newest#) AS n",
    "sqlite": "SELECT n.id FROM #from# JOIN squidmesh_runs AS n ON n.id IN (#newest#)",
}


def _each(dialect: str, outer: str, where: str, limit: int) -> str:
    """The newest runs for each row of ``outer``."""
    newest = f"SELECT r.id FROM squidmesh_runs AS r WHERE {where} ORDER BY r.id DESC LIMIT {limit:d}"
    return EACH[dialect].replace("#from#", outer).replace("#newest#", newest)


def _groups(dialect: str, name: str, of: str, asked: _Asked, limit: int, *more: str) -> _Part:
    wanted = " AND ".join(condition.replace("r.", "o.") for condition in (*asked.group, *more)) or "1 = 1"
    outer = f"{name} AS g JOIN squidmesh_runs AS o ON o.id = g.id AND {wanted}"
    table = JUMPS.replace("#name#", name).replace("#set#", of)
    return table, _each(dialect, outer, " AND ".join([of, SAME, *asked.rest]), limit)


_REASONS: Final = {
    "postgresql": "unnest(:reasons::text[]) AS o(reason)",
    "sqlite": "(SELECT value AS reason FROM json_each(:reasons)) AS o",
}


def _by_group(dialect: str, wanted: RunFilter, asked: _Asked, limit: int) -> _Part:
    """The newest of each group (or reason) of what is open, of what is held now, and of what is over."""
    over = set(ENDED)
    parts: list[_Part] = []
    if (wanted.status is None or not over.issuperset(wanted.status)) and asked.reasons != []:
        if asked.reasons is None:
            parts.append(_groups(dialect, "idle", _OPEN, asked, limit))
        else:
            where = " AND ".join([_OPEN, "r.reason = o.reason", *asked.group, *asked.rest])
            parts.append(("", _each(dialect, _REASONS[dialect], where, limit)))
        held = f"held AS MATERIALIZED (SELECT r.* FROM squidmesh_runs AS r WHERE {_HELD})"
        parts.append((held, f"SELECT r.id FROM held AS r WHERE {asked.where()}"))
    if (wanted.status is None or not over.isdisjoint(wanted.status)) and asked.ends != []:
        more = () if asked.ends is None else ("r.status {in:ends}",)
        parts.append(_groups(dialect, "done", OVER, asked, limit, *more))
    if not parts:
        return "", "SELECT r.id FROM squidmesh_runs AS r WHERE r.id < :before AND 1 = 0"
    ids = " UNION ALL ".join(select for _, select in parts)
    return ", ".join(table for table, _ in parts if table), _first(f"({ids}) AS found", limit)
