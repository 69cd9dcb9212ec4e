"""Views: how long it takes to explain and to inspect one run of 10,000 events, database included."""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import cast

from tests.benchmarks import workflows
from tests.benchmarks.measures.measure import Figures, Measure, wait_for, warm_up
from tests.benchmarks.systems.system import PAYLOAD, Meshed, Session

STEPS = 3_333  # three events each


def perform(view: str, session: Session, looks: int) -> Figures:
    meshed, before = cast(Meshed, session), session.finished()
    run = meshed.mesh.start(workflows.sequence(STEPS, PAYLOAD))
    wait_for(session, before + 1)
    took = []
    for _ in range(looks):
        began = time.perf_counter()
        getattr(run, view)()
        took.append(time.perf_counter() - began)
    return {"n": looks, "steps": STEPS, "ms": statistics.median(took) * 1e3, "best_ms": min(took) * 1e3}


MEASURES = tuple(
    Measure(
        "views", view, partial(perform, view), warm_up, full=15, quick=5, counted=0, leading="ms", more_is_better=False
    )
    for view in ("explain", "inspect")
)  # fmt: skip
