"""Starts one by one beside so many finished runs, against starts in the same database without them.

A million by default; `SQUIDMESH_BENCHMARK_FINISHED` says another number.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import cast

from tests.benchmarks.measures.measure import Figures, Measure
from tests.benchmarks.systems.system import Pruning, Session

RUNS = int(os.environ.get("SQUIDMESH_BENCHMARK_FINISHED", "1000000"))
STARTS = 500


def perform(session: Session, runs: int) -> Figures:
    without = statistics.median(_starts(session) for _ in range(5))
    cast(Pruning, session).finish(runs)
    beside = statistics.median(_starts(session) for _ in range(5))
    return {
        "n": runs, "starts": 10 * STARTS, "starts_per_s": beside, "alone_starts_per_s": without,
        "lowered_percent": (1 - beside / without) * 100,
    }  # fmt: skip


def _starts(session: Session) -> float:
    began = time.perf_counter()
    for _ in range(STARTS):
        session.start()
    return STARTS / (time.perf_counter() - began)


def _warm(session: Session) -> None:
    for _ in range(20):
        session.start()


MEASURE = Measure(
    "starts_beside", "", perform, _warm, full=RUNS, quick=2_000, counted=0, leading="starts_per_s", workers=0
)
