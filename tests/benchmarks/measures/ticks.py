"""Ticks: how late the run of a schedule's tick begins its first step, by the nominal time of the tick."""

from __future__ import annotations

import time
from typing import cast

from squidmesh import Every
from tests.benchmarks import workflows
from tests.benchmarks.measures.measure import Figures, Measure, at, warm_up
from tests.benchmarks.systems.system import Meshed, Session

SCHEDULES = 10
INTERVAL = 1.0  # seconds


def perform(session: Session, ticks: int) -> Figures:
    mesh = cast(Meshed, session).mesh
    seconds = max(1.0, ticks / SCHEDULES * INTERVAL)
    schedules = [mesh.schedule(f"{n} of {time.time()}", Every(INTERVAL), workflows.ticked()) for n in range(SCHEDULES)]
    time.sleep(seconds + INTERVAL)
    runs = []
    for schedule in schedules:
        runs += [tick.run_id for tick in schedule.ticks() if tick.run_id is not None]
        schedule.delete()
    late = sorted(mesh.handle(run_id, workflows.ticked).result(60) for run_id in runs)
    return {
        "n": len(late), "steps": len(late),
        "p50_ms": at(late, 0.5) * 1e3, "p99_ms": at(late, 0.99) * 1e3, "max_ms": late[-1] * 1e3,
    }  # fmt: skip


MEASURES = (
    Measure(
        "ticks", "", perform, warm_up, full=300, quick=10, counted=0, leading="max_ms", more_is_better=False,
    ),
)  # fmt: skip
