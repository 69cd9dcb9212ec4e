"""Lists: a page of 50 out of 1,000,000 runs (a tenth of that in a quick run), for what an operator asks for."""

from __future__ import annotations

import time
from typing import Any, LiteralString, cast

from tests.benchmarks.measures.measure import Figures, Measure
from tests.benchmarks.systems.system import Meshed, Session

FILTERS: dict[str, dict[str, Any]] = {
    "all": {},
    "failed": {"status": "failed"},
    "completed": {"status": "completed"},
    "reason": {"reason": "waiting_for_signal"},
    "reason_none": {"reason": "step_in_doubt"},
    "workflow": {"workflow": "flow3"},
    "workflow_status": {"workflow": "flow3", "status": "completed"},
    "workflow_status_none": {"workflow": "flow3", "status": "blocked"},
    "version_none": {"version": 9},
    "overdue": {"deadline": "overdue"},
    "overdue_workflow": {"deadline": "overdue", "workflow": "flow0"},
    "due_soon": {"deadline": "due_soon"},
    "orphaned": {"orphaned": True},
    "attributes_few": {"attributes": {"customer": 12344}},
    "attributes_many": {"attributes": {"shop": "sofia"}},
    "attributes_none": {"attributes": {"customer": -1}},
}
LOOKS = 9

# A database that has stood for a while: a third of its runs are open, some are of each kind that is asked for.
FILL: LiteralString = """
INSERT INTO squidmesh_runs (
    id, workflow, version, status, reason, queue, priority, attributes, created_at, ended_at, deadline, due_at, epoch,
    length, rollback, orphans
)
SELECT (lpad(to_hex(1780000000000 + n), 12, '0') || '7000800000000000' || lpad(to_hex(n % 10000), 4, '0'))::uuid,
    'flow' || n % 20, 1 + n % 3, s.status,
    CASE WHEN s.status = 'waiting' THEN CASE WHEN n % 1000 = 7 THEN 'waiting_for_signal' ELSE 'sleeping' END
        WHEN s.status = 'blocked' THEN 'code_error' END,
    'default', 0,
    CASE WHEN n % 2 = 0 THEN
        json_build_object('customer', n % 100000, 'shop', CASE WHEN n % 10 < 8 THEN 'sofia' ELSE 'burgas' END) END,
    t.now - 1000000::bigint * (%(runs)s - n),
    CASE WHEN NOT s.open THEN t.now - 1000000::bigint * (%(runs)s - n - 5) END,
    CASE WHEN s.open AND n % 4 = 0 THEN t.now + CASE WHEN n % 400 = 0 THEN -1000000 ELSE 864000000000 END END,
    CASE WHEN s.open THEN t.now + 3600000000 + n END, 1, 5,
    CASE WHEN s.status = 'failed' THEN CASE WHEN n % 50 = 33 THEN 'partial' ELSE 'clean' END END,
    CASE WHEN s.status = 'failed' AND n % 50 = 33 THEN 1 END
FROM generate_series(1, %(runs)s) AS n
CROSS JOIN (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now) AS t
CROSS JOIN LATERAL (
    SELECT CASE WHEN n % 100 < 30 THEN 'waiting' WHEN n % 100 = 31 THEN 'blocked' WHEN n % 100 < 37 THEN 'failed'
        ELSE 'completed' END AS status, n % 100 < 32 AND n % 100 <> 30 AS open
) AS s
""".replace(" % ", " %% ")


def perform(session: Session, runs: int) -> Figures:
    """The best of several looks at each page, in milliseconds; ``slowest_ms`` is the worst of these."""
    meshed = cast(Meshed, session)
    meshed.looking.execute(FILL, {"runs": runs})
    meshed.looking.execute("VACUUM ANALYZE squidmesh_runs")
    took: dict[str, float] = {}
    for name, filters in FILTERS.items():
        times = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            meshed.mesh.list(limit=50, **filters)
            times.append(time.perf_counter() - began)
        took[f"{name}_ms"] = min(times) * 1e3
    return {"n": runs, "steps": len(FILTERS) * LOOKS, "slowest_ms": max(took.values()), **took}


MEASURE = Measure(
    "lists", "", perform, lambda _: None,
    full=1_000_000, quick=100_000, counted=0, leading="slowest_ms", workers=0, more_is_better=False,
)  # fmt: skip
