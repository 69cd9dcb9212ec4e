"""What an append is in PostgreSQL: the statements, and the parameters of the large one.

The rule of this file: each is one statement that writes everything or nothing. PLAIN locks no run: it checks the
fence and inserts, and the unique (run, seq) decides between two holders (no ON CONFLICT: what it costs is paid by
every step, and a place that is taken is as rare as a lost lease). The others lock the run's row first and
write only what follows from it; where letters go to other runs, all rows of runs are locked in the order of their ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from squidmesh.ports import Append, Letter, NewRun

PLAIN_ONE: Final = """
WITH h AS (
    INSERT INTO squidmesh_history (run_id, seq, epoch, events)
    SELECT r.id, :seq::int, r.epoch, :events::json
    FROM squidmesh_runs AS r JOIN squidmesh_workers AS w ON w.id = r.worker
    WHERE r.id = :run_id::uuid AND r.worker = :worker::text AND r.epoch = :epoch::int AND w.expires_at > {now}
    RETURNING run_id
)
SELECT r.due_at IS NOT NULL FROM h JOIN squidmesh_runs AS r ON r.id = h.run_id
"""

PLAIN: Final = """
WITH a AS MATERIALIZED (
    SELECT * FROM unnest(:runs::uuid[], :workers::text[], :epochs::int[], :seqs::int[], :events::text[])
        AS a(run_id, worker, epoch, seq, events)
), h AS (
    INSERT INTO squidmesh_history (run_id, seq, epoch, events)
    SELECT a.run_id, a.seq, a.epoch, a.events::json
    FROM a
    JOIN squidmesh_runs AS r ON r.id = a.run_id AND r.worker = a.worker AND r.epoch = a.epoch
    JOIN squidmesh_workers AS w ON w.id = a.worker AND w.expires_at > {now}
    RETURNING run_id
)
SELECT r.id::text, r.due_at IS NOT NULL FROM h JOIN squidmesh_runs AS r ON r.id = h.run_id
"""

# Several that change their run's row. An end is written here only when nothing is left to remove: whatever arrives
# for a run leaves a task, a join, an inbox row that is seen here, or a due time, even if it commits while this waits
# for the row.
_CHANGE: Final = """
WITH a AS MATERIALIZED (
    SELECT * FROM unnest(
        :n::int[], :runs::uuid[], :workers::text[], :epochs::int[], :seqs::int[], :counts::int[], :events::text[],
        :statuses::text[], :reasons::text[], :codes::text[], :rollbacks::text[], :orphans::int[], :releases::bool[],
        :dues::bigint[], :ends::bigint[]
    ) AS a(
        n, run_id, worker, epoch, seq, count, events, status, reason, code, rollback, orphans, release, due_at, ended_at
    )
), #first#u AS (
    UPDATE squidmesh_runs AS r
    SET status = a.status, reason = a.reason, code = a.code, ended_at = a.ended_at, length = a.seq + a.count - 1,
        rollback = COALESCE(a.rollback, r.rollback), orphans = COALESCE(a.orphans, r.orphans),
        worker = CASE WHEN a.release THEN NULL ELSE r.worker END,
        due_at = CASE WHEN a.ended_at IS NOT NULL THEN NULL
            WHEN a.release THEN COALESCE(r.due_at, a.due_at) ELSE r.due_at END
    FROM a JOIN squidmesh_workers AS w ON w.id = a.worker AND w.expires_at > {now}
    WHERE r.id = a.run_id AND r.worker = a.worker AND r.epoch = a.epoch
        AND (a.ended_at IS NULL OR (
            r.due_at IS NULL
            AND NOT EXISTS (SELECT FROM squidmesh_tasks AS t WHERE t.run_id = a.run_id)
            AND NOT EXISTS (SELECT FROM squidmesh_joins AS j WHERE j.run_id = a.run_id)
            AND NOT EXISTS (SELECT FROM squidmesh_inbox AS i WHERE i.run_id = a.run_id)
        ))#after#
    RETURNING a.n, r.id, a.seq, a.epoch, a.count, a.events,
        CASE WHEN a.ended_at IS NOT NULL THEN false
            WHEN a.release THEN r.due_at IS DISTINCT FROM a.due_at ELSE r.due_at IS NOT NULL END AS pinged
), h AS (
    INSERT INTO squidmesh_history (run_id, seq, epoch, events)
    SELECT id, seq, epoch, events::json FROM u WHERE count > 0
)#told#
SELECT n, pinged, NULL FROM u#answer#
"""
CHANGE: Final = (
    _CHANGE.replace("#first#", "").replace("#after#", "").replace("#told#", "").replace("#answer#", "")
)  # fmt: skip

# The same, where some of them tell of their ends. All rows are locked first, in the order of their ids; what one run is
# told by several is one message.
CHANGE_TOLD: Final = (
    _CHANGE.replace(
        "#first#",
        """m AS MATERIALIZED (
    SELECT * FROM unnest(:senders::int[], :receivers::uuid[], :letter_kinds::text[], :letters::text[])
        WITH ORDINALITY AS m(n, run_id, kind, events, o)
), k AS MATERIALIZED (
    SELECT id, ended_at IS NULL AS open, COALESCE(due_at <= {now}, false) AS due, worker IS NOT NULL AS held
    FROM squidmesh_runs WHERE id = ANY(:runs::uuid[]) OR id = ANY(:receivers::uuid[])
    ORDER BY id FOR NO KEY UPDATE
), """,
    )
    .replace("#after#", "\n        AND (SELECT count(*) FROM k) > 0")
    .replace(
        "#told#",
        """, d AS MATERIALIZED (
    SELECT m.run_id, k.due, (array_agg(m.kind ORDER BY m.o))[1] AS kind,
        '[' || string_agg(substr(m.events, 2, length(m.events) - 2), ',' ORDER BY m.o) || ']' AS events
    FROM m JOIN u ON u.n = m.n JOIN k ON k.id = m.run_id AND k.open
    GROUP BY m.run_id, k.due
), p AS (
    UPDATE squidmesh_runs AS r SET due_at = {now} FROM d WHERE r.id = d.run_id AND NOT d.due
), i AS (
    INSERT INTO squidmesh_inbox (run_id, kind, events, at) SELECT run_id, kind, events::json, {now} FROM d
)""",
    )
    .replace("#answer#", " UNION ALL SELECT NULL, NULL, id::text FROM k WHERE due OR held OR NOT open")
)

# ------------------------------------------------------------------------------- one append, whatever it changes

_HELD_BY = "r.id = :run_id::uuid AND r.worker = :worker::text AND r.epoch = :epoch::int"
_LEASED = """
        AND EXISTS (SELECT FROM squidmesh_workers AS w WHERE w.id = :worker::text AND w.expires_at > {now})"""

_NOTHING_LEFT = """
        AND r.due_at IS NULL
        AND NOT EXISTS (SELECT FROM squidmesh_tasks AS t WHERE t.run_id = r.id)
        AND NOT EXISTS (SELECT FROM squidmesh_joins AS j WHERE j.run_id = r.id)
        AND NOT EXISTS (SELECT FROM squidmesh_inbox AS i WHERE i.run_id = r.id)"""

# What will remain of the joins. Their rows are locked before the run's (which waits for `s`, see _AFTER_JOINS): a
# report that is counting one of them down commits first, and what it left is what is read here.
_DOWN = """l AS MATERIALIZED (
    SELECT position, remaining FROM squidmesh_joins
    WHERE run_id = :run_id::uuid AND position = ANY(:join_positions::text[])
    ORDER BY position FOR UPDATE
), s AS MATERIALIZED (
    SELECT s.position, s.added, s.wake_at, COALESCE(l.remaining, 0) + s.added <= s.wake_at AS down
    FROM unnest(:join_positions::text[], :added::int[], :wake_ats::int[]) AS s(position, added, wake_at)
    LEFT JOIN l ON l.position = s.position
), """
_AFTER_JOINS = """
        AND (SELECT count(*) FROM s) > 0"""

_HELD = """f AS MATERIALIZED (
    SELECT r.id, r.due_at IS NOT NULL#down# AS pinged FROM squidmesh_runs AS r
    WHERE #fence#
    FOR NO KEY UPDATE
)"""

_CHANGED = """f AS (
    UPDATE squidmesh_runs AS r
    SET status = :status::text, reason = :reason::text, code = :code::text, length = :length::int,
        rollback = COALESCE(:rollback::text, r.rollback), orphans = COALESCE(:orphans::int, r.orphans)#more#
    WHERE #fence#
    RETURNING r.id, (#pinged#)#down# AS pinged
)"""
_KEPT = ("", "r.due_at IS NOT NULL")
_RELEASED = (
    ", worker = NULL, due_at = COALESCE(r.due_at, #due#:due_at::bigint)",
    "r.due_at IS DISTINCT FROM :due_at::bigint",
)
_ENDED = (", worker = NULL, due_at = NULL, ended_at = :ended_at::bigint", "false")
# What arrived and was not taken opens the run again: tasks and joins are gone, and the run's row is locked already.
_ARRIVED = """EXISTS (
        SELECT FROM squidmesh_inbox AS i WHERE i.run_id = r.id AND i.id <> ALL(:taken::bigint[])
    )"""
_ENDED_AT_LAST = (
    f""", worker = NULL, due_at = CASE WHEN {_ARRIVED} THEN {{now}} END,
    ended_at = CASE WHEN {_ARRIVED} THEN NULL ELSE :ended_at::bigint END""",
    "r.ended_at IS NULL",
)

_CHAINED = ", chain = :chain::uuid, key = NULL"  # its key is the successor's

# Rows of runs are locked in the order of their ids: what is older than this one's, before it.
_OLDER = """k AS MATERIALIZED (
    SELECT id FROM squidmesh_runs WHERE id = ANY(:receivers::uuid[]) AND id < :run_id::uuid
    ORDER BY id FOR NO KEY UPDATE
), """
_AFTER_OLDER = """
        AND (SELECT count(*) FROM k) >= 0"""

_ANY_DOWN = "EXISTS (SELECT FROM s WHERE s.down)"

_HISTORY = """, h AS (
    INSERT INTO squidmesh_history (run_id, seq, epoch, events)
    SELECT f.id, :seq::int, :epoch::int, :events::json FROM f
)"""

_TAKEN = """, x AS (
    DELETE FROM squidmesh_inbox AS i USING f WHERE i.run_id = f.id AND i.id = ANY(:taken::bigint[])
)"""

_TASKS = """, t AS (
    INSERT INTO squidmesh_tasks (
        run_id, position, step, queue, priority, due_at, number, lost, max_lost, join_position, spec, scheduled_seq
    )
    SELECT f.id, n.position, n.step, n.queue, n.priority, n.due_at, 0, 0, n.max_lost, n.join_position,
        n.spec::json, n.scheduled_seq
    FROM f, unnest(
        :positions::text[], :steps::text[], :queues::text[], :priorities::int[], :dues::bigint[],
        :max_losts::int[], :task_joins::text[], :specs::text[], :scheduled::int[]
    ) AS n(position, step, queue, priority, due_at, max_lost, join_position, spec, scheduled_seq)
    ON CONFLICT (run_id, position) DO UPDATE
    SET worker = NULL, claimed_at = NULL, due_at = excluded.due_at, spec = excluded.spec, lost = 0,
        scheduled_seq = excluded.scheduled_seq, join_position = excluded.join_position
)"""

_JOINS = """, j AS (
    INSERT INTO squidmesh_joins (run_id, position, remaining, wake_at)
    SELECT f.id, s.position, s.added, s.wake_at FROM f, s
    ON CONFLICT (run_id, position) DO UPDATE
    SET remaining = squidmesh_joins.remaining + excluded.remaining, wake_at = excluded.wake_at
)"""


NEW_RUNS: Final = """
    INSERT INTO squidmesh_runs (
        id, workflow, version, key, status, queue, priority, attributes, parent, created_at, due_at, deadline,
        epoch, length, chain
    )
    SELECT a.id, a.workflow, a.version, a.key, 'pending', a.queue, a.priority, a.attributes::json, a.parent,
        a.created_at, a.due_at, a.deadline, 0, a.n, a.chain
    FROM #source#"""
NEW_VALUES: Final = """unnest(
        :ids::uuid[], :workflows::text[], :versions::int[], :keys::text[], :run_queues::text[],
        :run_priorities::int[], :attributes::text[], :parents::uuid[], :created::bigint[], :run_dues::bigint[],
        :deadlines::bigint[], :firsts::text[], :counts::int[], :chains::uuid[]
    ) AS a(
        id, workflow, version, key, queue, priority, attributes, parent, created_at, due_at, deadline, events, n, chain
    )"""

_RUNS = f""", nr AS ({NEW_RUNS.replace("#source#", f"f, {NEW_VALUES}")}
), nh AS (
    INSERT INTO squidmesh_history (run_id, seq, epoch, events)
    SELECT a.id, 1, 0, a.events::json FROM f, unnest(:ids::uuid[], :firsts::text[]) AS a(id, events)
)"""

_MET = """, sr AS (
    UPDATE squidmesh_schedule_runs AS s SET run_id = (:ids::uuid[])[1] FROM f WHERE s.run_id = f.id
)"""

_LETTERS = """, m AS MATERIALIZED (
    SELECT m.* FROM f, unnest(
        :receivers::uuid[], :letter_kinds::text[], :letter_keys::text[], :letters::text[], :opens::text[]
    ) AS m(run_id, kind, key, events, opens)
), ml AS MATERIALIZED (
    SELECT id, worker IS NOT NULL OR COALESCE(due_at <= {now}, false) AS awake
    FROM squidmesh_runs WHERE id IN (SELECT run_id FROM m) ORDER BY id FOR NO KEY UPDATE
), mp AS (
    UPDATE squidmesh_runs AS o
    SET due_at = CASE WHEN o.due_at IS NULL OR o.due_at > {now} THEN {now} ELSE o.due_at END,
        status = CASE WHEN o.ended_at IS NULL OR m.opens = '' THEN o.status ELSE m.opens END,
        reason = CASE WHEN o.ended_at IS NULL THEN o.reason END,
        ended_at = NULL
    FROM m JOIN ml ON ml.id = m.run_id
    WHERE o.id = ml.id AND (o.ended_at IS NULL OR m.opens IS NOT NULL)
    RETURNING o.id
), mi AS (
    INSERT INTO squidmesh_inbox (run_id, kind, key, events, at)
    SELECT m.run_id, m.kind, m.key, m.events::json, {now} FROM m
    WHERE m.run_id IN (SELECT id FROM mp)#born#
    ON CONFLICT DO NOTHING
)"""
# Runs that the statement starts itself are not there yet for it; and they are due.
_BORN = " OR m.run_id = ANY(:ids::uuid[])"

_TOLD = "\nSELECT pinged, ARRAY(SELECT id::text FROM ml WHERE awake), ARRAY(SELECT id::text FROM mp) FROM f"


LOCK_OLDER: Final = """
SELECT 1 FROM squidmesh_runs WHERE id = ANY(:receivers::uuid[]) AND id < :run_id::uuid ORDER BY id FOR NO KEY UPDATE
"""
LOCK_TASKS: Final = "SELECT 1 FROM squidmesh_tasks WHERE run_id = :run_id::uuid ORDER BY position FOR UPDATE"
LOCK_JOINS: Final = """
SELECT 1 FROM squidmesh_joins WHERE run_id = :run_id::uuid AND position = ANY(:positions::text[])
ORDER BY position FOR UPDATE
"""
LOCK_RUN: Final = f"SELECT 1 FROM squidmesh_runs AS r WHERE {_HELD_BY} FOR NO KEY UPDATE"


def whole(append: Append, *, final: bool = False, leased: bool = False) -> str:
    """The statement for one append that may change anything; put together from what it changes.

    Args:
        append: what is to be written.
        final: an end is written although something is left: who asks has locked the run, and removed its tasks and
            joins before.
        leased: who asks has seen that the lease lives.
    """
    down = due = ""
    if append.joins:
        down = f" OR {_ANY_DOWN}"
        due = f"CASE WHEN {_ANY_DOWN} THEN {{now}} END, "
    parts = [
        "WITH ",
        _OLDER if append.letters else "",
        _DOWN if append.joins else "",
        _fenced(append, final, leased).replace("#down#", down).replace("#due#", due),
        _HISTORY if append.count else "",
        _TAKEN if append.taken else "",
        _TASKS if append.tasks else "",
        _JOINS if append.joins else "",
        _RUNS if append.runs else "",
        _MET if append.change is not None and append.change.chain is not None and append.runs else "",
        _LETTERS.replace("#born#", _BORN if append.runs else "") if append.letters else "",
        _TOLD if append.letters else "\nSELECT pinged FROM f",
    ]
    return "".join(parts)


def _fenced(append: Append, final: bool, leased: bool) -> str:
    change = append.change
    fence = _HELD_BY + ("" if leased else _LEASED) + (_AFTER_JOINS if append.joins else "")
    fence += _AFTER_OLDER if append.letters else ""
    if change is None:
        return _HELD.replace("#fence#", fence)
    ends = change.ended_at is not None
    more, pinged = (_ENDED_AT_LAST if final else _ENDED) if ends else _RELEASED if change.release else _KEPT
    if ends and not final:
        fence += _NOTHING_LEFT
    if change.chain is not None:
        more += _CHAINED
    return _CHANGED.replace("#fence#", fence).replace("#more#", more).replace("#pinged#", pinged)


def whole_parameters(append: Append) -> dict[str, Any]:
    """Everything that any form of ``whole`` may name."""
    change, tasks = append.change, append.tasks
    given = {
        "run_id": append.run_id,
        "worker": append.worker,
        "epoch": append.epoch,
        "seq": append.seq,
        "events": append.events,
        "length": append.seq + append.count - 1,
        "status": change.status if change else None,
        "reason": change.reason if change else None,
        "code": change.code if change else None,
        "rollback": change.rollback if change else None,
        "chain": change.chain if change else None,
        "orphans": change.orphans if change else None,
        "due_at": change.due_at if change else None,
        "ended_at": change.ended_at if change else None,
        "taken": list(append.taken),
        "join_positions": [join.position for join in append.joins],
        "added": [join.added for join in append.joins],
        "wake_ats": [join.wake_at for join in append.joins],
        "positions": [t.position for t in tasks],
        "steps": [t.step for t in tasks],
        "queues": [t.queue for t in tasks],
        "priorities": [t.priority for t in tasks],
        "dues": [t.due_at for t in tasks],
        "max_losts": [t.max_lost for t in tasks],
        "task_joins": [t.join_position for t in tasks],
        "specs": [t.spec for t in tasks],
        "scheduled": [t.scheduled_seq for t in tasks],
    }
    if append.letters:
        given |= letter_parameters(append.letters)
    if append.runs:
        given |= run_parameters(append.runs)
    return given


def letter_parameters(letters: Sequence[Letter]) -> dict[str, Any]:
    return {
        "receivers": [letter.run_id for letter in letters],
        "letter_kinds": [letter.kind for letter in letters],
        "letter_keys": [letter.key for letter in letters],
        "letters": [letter.events for letter in letters],
        "opens": [letter.opens for letter in letters],
    }


def run_parameters(runs: Sequence[NewRun]) -> dict[str, Any]:
    return {
        "ids": [r.run_id for r in runs],
        "workflows": [r.workflow for r in runs],
        "versions": [r.version for r in runs],
        "keys": [r.key for r in runs],
        "run_queues": [r.queue for r in runs],
        "run_priorities": [r.priority for r in runs],
        "attributes": [None if r.attributes is None else json.dumps(dict(r.attributes)) for r in runs],
        "parents": [r.parent for r in runs],
        "created": [r.created_at for r in runs],
        "run_dues": [r.due_at for r in runs],
        "deadlines": [r.deadline for r in runs],
        "firsts": [r.events for r in runs],
        "counts": [r.count for r in runs],
        "chains": [r.chain for r in runs],
    }
