"""Sequential latency: one run of 100 steps at a time, nothing else going on; milliseconds a step."""

from __future__ import annotations

import statistics
import time

from tests.benchmarks.measures.measure import Figures, Measure, wait_for, warm_up
from tests.benchmarks.systems.system import Session

STEPS = 100
PAUSE = 0.002  # seconds between two looks, small beside 100 steps


def perform(session: Session, runs: int) -> Figures:
    took = []
    for _ in range(runs):
        before = session.finished()
        began = time.perf_counter()
        session.sequences(1, STEPS)
        wait_for(session, before + 1, PAUSE)
        took.append(time.perf_counter() - began)
    each = statistics.median(took) / STEPS
    return {"n": runs, "steps": runs * STEPS, "ms_per_step": each * 1e3, "steps_per_s": 1 / each}


def _warm(session: Session) -> None:
    warm_up(session)
    warm_up(session, 1, STEPS)


MEASURE = Measure(
    "sequential", "", perform, _warm, full=9, quick=2, counted=1, leading="ms_per_step", more_is_better=False
)
