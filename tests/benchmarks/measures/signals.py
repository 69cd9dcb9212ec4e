"""Signals: from before a signal is sent until the next step of its run has begun.

Idle: one after the other, each after half a second in which nothing happened. Busy: while the workers have many runs
of ten steps before them. The step itself says when it began, by the clock that it shares with the sender.
"""

from __future__ import annotations

import time
from functools import partial
from typing import cast

from tests.benchmarks import workflows
from tests.benchmarks.measures.measure import Figures, Measure, at, wait_for, wait_until, warm_up
from tests.benchmarks.systems.system import Meshed, Session

IDLE = 0.5  # seconds
BESIDE = 10  # runs of ten steps for each signal, where the workers are busy


def perform(session: Session, signals: int, *, idle: float, beside: int) -> Figures:
    mesh, took = cast(Meshed, session).mesh, []
    before = session.finished()
    handles = mesh.start_many([workflows.signalled() for _ in range(signals)])
    wait_until("all runs wait", lambda: all(handle.status() == "waiting" for handle in handles))
    if beside:
        session.sequences(signals * beside, 10)
    for handle in handles:
        time.sleep(idle)
        began = time.time()
        handle.signal(workflows.GO)
        took.append(handle.result(60) - began)
    wait_for(session, before + signals * (1 + beside))
    took.sort()
    return {
        "n": signals, "steps": signals * (1 + 10 * beside),
        "p50_ms": at(took, 0.5) * 1e3, "p99_ms": at(took, 0.99) * 1e3, "max_ms": took[-1] * 1e3,
    }  # fmt: skip


MEASURES = (
    Measure(
        "signals", "idle", partial(perform, idle=IDLE, beside=0), warm_up,
        full=60, quick=5, counted=10, leading="p50_ms", more_is_better=False,
    ),
    Measure(
        "signals", "busy", partial(perform, idle=0.0, beside=BESIDE), warm_up,
        full=100, quick=10, counted=0, leading="p50_ms", more_is_better=False,
    ),
)  # fmt: skip
