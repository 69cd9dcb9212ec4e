"""Waiting: what 100,000 runs that wait, half of them for a timer and half for a signal, cost an idle worker.

Its processor time while nothing else happens, in percent of a core, and the time that one sweep takes.
"""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import cast

from squidmesh.engine.worker import Worker
from tests.benchmarks import crowd, workflows
from tests.benchmarks.measures.measure import Figures, Measure, wait_until, warm_up
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.systems.system import Meshed, Session

WATCHED = 20.0  # seconds, at the full size
FULL = 100_000
SWEEPS = 50


def perform(session: Session, runs: int) -> Figures:
    mesh, database = cast(Meshed, session).mesh, cast(Meshed, session).looking
    calls = [workflows.timed(datetime.now(UTC) + timedelta(days=1)), workflows.signalled()]
    originals = mesh.start_many(calls)
    wait_until("both wait", lambda: all(handle.status() == "waiting" for handle in originals))
    for original in originals:
        crowd.copy(database, original.run_id, runs // 2, over=3600.0)
    watched = max(2.0, WATCHED * runs / FULL)
    time.sleep(1.0)
    used = cpu_seconds(session.pids)
    time.sleep(watched)
    used = cpu_seconds(session.pids) - used
    took = _sweeps(Worker(mesh.connect_engine()))
    return {
        "n": runs, "steps": runs, "cpu_percent": 100 * used / watched,
        "p50_ms": statistics.median(took) * 1e3, "max_ms": max(took) * 1e3,
    }  # fmt: skip


def _sweeps(worker: Worker) -> list[float]:
    worker.enter()
    took = []
    for _ in range(SWEEPS):
        began = time.perf_counter()
        worker.sweep()
        took.append(time.perf_counter() - began)
    worker.leave()
    return took


MEASURES = (
    Measure(
        "waiting", "", perform, warm_up, full=FULL, quick=2_000, counted=0, leading="p50_ms", workers=1,
        more_is_better=False,
    ),
)  # fmt: skip
