"""Starts one by one beside so many finished runs, against starts in the same database without them.

200,000 by default; `SQUIDMESH_BENCHMARK_FINISHED` says another number.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import cast

from tests.benchmarks.measures.measure import Figures, Measure
from tests.benchmarks.systems.system import Pruning, Session

RUNS = int(os.environ.get("SQUIDMESH_BENCHMARK_FINISHED", "200000"))
ROUNDS = 5


def perform(session: Session, runs: int) -> Figures:
    starts = 500 if runs >= 50_000 else 50
    without = statistics.median(_starts(session, starts) for _ in range(ROUNDS))
    cast(Pruning, session).finish(runs)
    beside = statistics.median(_starts(session, starts) for _ in range(ROUNDS))
    return {
        "n": runs, "starts": 2 * ROUNDS * starts, "starts_per_s": beside, "alone_starts_per_s": without,
        "lowered_percent": (1 - beside / without) * 100,
    }  # fmt: skip


def _starts(session: Session, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        session.start()
    return count / (time.perf_counter() - began)


def _warm(session: Session) -> None:
    for _ in range(20):
        session.start()


MEASURE = Measure(
    "starts_beside", "", perform, _warm, full=RUNS, quick=2_000, counted=0, leading="starts_per_s", workers=0
)
