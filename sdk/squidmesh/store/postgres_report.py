"""What a report of outcomes is in PostgreSQL: one statement, for as many as there are.

The rule of this file: tasks go or are due again, joins count down, what came out lands in the inboxes, and the runs
that somebody must look at are pinged, in this order, which is that of all locks.
"""

from __future__ import annotations

from typing import Final

# Not `worker = :worker`: that would call in the index of all that the worker holds, and lock in the order of that.
_REPORTED = """
WITH o AS MATERIALIZED (
    SELECT * FROM unnest(
        :n::int[], :runs::uuid[], :positions::text[], :numbers::int[], :retries::bigint[], :joins::text[],
        :pings::bool[], :kinds::text[], :events::text[]
    ) AS o(n, run_id, position, number, retry_at, join_position, ping, kind, events)#alive#
), gone AS (
    DELETE FROM squidmesh_tasks AS t USING o
    WHERE t.run_id = o.run_id AND t.position = o.position AND t.number = o.number
        AND COALESCE(t.worker, '') = :worker
        AND o.retry_at IS NULL
    RETURNING o.n
), back AS (
    UPDATE squidmesh_tasks AS t SET worker = NULL, claimed_at = NULL, due_at = o.retry_at FROM o
    WHERE t.run_id = o.run_id AND t.position = o.position AND t.number = o.number
        AND COALESCE(t.worker, '') = :worker
        AND o.retry_at IS NOT NULL
    RETURNING o.n
), done AS MATERIALIZED (
    SELECT o.* FROM (SELECT n FROM gone UNION ALL SELECT n FROM back) AS d JOIN o ON o.n = d.n
), counted AS MATERIALIZED (
    SELECT run_id, join_position, count(*)::int AS outcomes FROM done
    WHERE retry_at IS NULL AND join_position IS NOT NULL
    GROUP BY run_id, join_position
    ORDER BY run_id, join_position COLLATE "C"
), joined AS (
    UPDATE squidmesh_joins AS j SET remaining = j.remaining - c.outcomes FROM counted AS c
    WHERE j.run_id = c.run_id AND j.position = c.join_position
    RETURNING j.run_id, j.position, j.remaining <= j.wake_at AS down
), wanted AS MATERIALIZED (
    SELECT run_id FROM done WHERE ping OR join_position IS NULL
    UNION SELECT run_id FROM joined WHERE down
    UNION SELECT c.run_id FROM counted AS c
        WHERE NOT EXISTS (SELECT FROM joined AS j WHERE j.run_id = c.run_id AND j.position = c.join_position)
), landed AS (
    INSERT INTO squidmesh_inbox (run_id, kind, events, at)
    SELECT run_id, (array_agg(kind ORDER BY n))[1],
        ('[' || string_agg(substr(events, 2, length(events) - 2), ',' ORDER BY n) || ']')::json,
        {now}
    FROM done
    GROUP BY run_id
), pinged AS (
    UPDATE squidmesh_runs AS r
    SET due_at = CASE WHEN r.due_at IS NULL OR r.due_at > {now} THEN {now} ELSE r.due_at END
    WHERE r.id IN (
        SELECT id FROM squidmesh_runs WHERE id IN (SELECT run_id FROM wanted) AND ended_at IS NULL
        ORDER BY id FOR NO KEY UPDATE
    )
    RETURNING r.id
)
SELECT n, NULL AS run_id FROM done UNION ALL SELECT NULL, id::text FROM pinged
"""
_REPORTER_ALIVE = "\n    WHERE EXISTS (SELECT FROM squidmesh_workers WHERE id = :worker AND expires_at > {now})"
# Some tasks go and others are due again: those that go would all be locked before the others, out of order.
_REPORT_MIXED = (
    _REPORTED.replace(
        "), gone AS (",
        """), l AS MATERIALIZED (
    SELECT o.* FROM o JOIN squidmesh_tasks AS t ON t.run_id = o.run_id AND t.position = o.position
    FOR UPDATE OF t
), gone AS (""",
    )
    .replace("USING o\n", "USING l AS o\n")
    .replace("o.retry_at FROM o\n", "o.retry_at FROM l AS o\n")
)
REPORTS: Final = {
    (leased, mixed): text.replace("#alive#", "" if leased else _REPORTER_ALIVE)
    for leased in (False, True)
    for mixed, text in ((False, _REPORTED), (True, _REPORT_MIXED))
}
