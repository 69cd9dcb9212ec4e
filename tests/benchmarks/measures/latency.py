"""Latency of a run of one step, from before its start until the client sees that it has ended.

Busy: one after the other, so that the workers have just been at work. Idle: after three seconds in which
nothing happened. The client looks every millisecond, the same for every system.
"""

from __future__ import annotations

import time
from functools import partial

from tests.benchmarks.measures.measure import Figures, Measure, at, wait_for, warm_up
from tests.benchmarks.systems.system import Session

PAUSE = 0.001  # seconds between two looks
IDLE = 3.0  # seconds


def perform(session: Session, runs: int, *, idle: float) -> Figures:
    took = []
    for _ in range(runs):
        time.sleep(idle)
        before = session.finished()
        began = time.perf_counter()
        session.sequences(1, 1)
        wait_for(session, before + 1, PAUSE)
        took.append(time.perf_counter() - began)
    took.sort()
    return {"n": runs, "steps": runs, "p50_ms": at(took, 0.50) * 1e3, "p99_ms": at(took, 0.99) * 1e3}


def _warm(session: Session) -> None:
    warm_up(session)
    for _ in range(5):
        warm_up(session, 1, 1)


MEASURES = (
    Measure(
        "latency", "busy", partial(perform, idle=0.0), _warm,
        full=300, quick=40, counted=20, leading="p50_ms", more_is_better=False,
    ),
    Measure(
        "latency", "idle", partial(perform, idle=IDLE), _warm,
        full=10, quick=2, counted=0, leading="p50_ms", more_is_better=False,
    ),
)  # fmt: skip
