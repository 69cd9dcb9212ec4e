"""Lists: a page of 50 out of 1,000,000 runs (a tenth of that in a quick run), for what an operator asks for."""

from __future__ import annotations

import time
from typing import cast

from tests.benchmarks.measures.measure import Figures, Measure
from tests.benchmarks.systems.system import Looking, Session

FILTERS: dict[str, dict[str, object]] = {
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


def perform(session: Session, runs: int) -> Figures:
    """The best of several looks at each page, in milliseconds; ``slowest_ms`` is the worst of these."""
    looking = cast(Looking, session)
    looking.fill(runs)
    took: dict[str, float] = {}
    for name, filters in FILTERS.items():
        times = []
        for _ in range(LOOKS):
            began = time.perf_counter()
            looking.page(filters)
            times.append(time.perf_counter() - began)
        took[f"{name}_ms"] = min(times) * 1e3
    return {"n": runs, "steps": len(FILTERS) * LOOKS, "slowest_ms": max(took.values()), **took}


MEASURE = Measure(
    "lists", "", perform, lambda _: None,
    full=1_000_000, quick=100_000, counted=0, leading="slowest_ms", workers=0, more_is_better=False,
)  # fmt: skip
