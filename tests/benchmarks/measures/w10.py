"""W10: many workflows of 10 sequential no-op steps with payloads of 100 bytes, from first start to last end."""

from __future__ import annotations

import time

from tests.benchmarks.measures.measure import Figures, Measure, wait_for, warm_up
from tests.benchmarks.systems.system import Session

STEPS = 10


def perform(session: Session, runs: int) -> Figures:
    before = session.finished()
    began = time.perf_counter()
    session.sequences(runs, STEPS)
    wait_for(session, before + runs)
    seconds = time.perf_counter() - began
    return {"n": runs, "steps": runs * STEPS, "seconds": seconds, "steps_per_s": runs * STEPS / seconds}


MEASURE = Measure("w10", "", perform, warm_up, full=1_000, quick=150, counted=50, leading="steps_per_s")
