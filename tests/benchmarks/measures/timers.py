"""Timers: 100,000 that fall due within one second, and runs that are started meanwhile.

How many are fired a second, how far from the order of their times (the latest that was fired before its turn, in
milliseconds of due time), how long calls of ``start`` and ``start_many`` take beside it, and how long it takes from
the call until the run's first step has begun.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import cast

from tests.benchmarks import crowd, workflows
from tests.benchmarks.measures.measure import Figures, Measure, at, wait_until, warm_up
from tests.benchmarks.systems.system import Meshed, Session

COPIED = 4_000  # rows a second, at least
PAUSE = 0.1  # seconds between two starts
BULK = 5  # runs in one call of start_many


def perform(session: Session, timers: int) -> Figures:
    mesh, database = cast(Meshed, session).mesh, cast(Meshed, session).looking
    before = session.finished()
    due = datetime.now(UTC) + timedelta(seconds=2 + timers / COPIED)
    original = mesh.start(workflows.timed(due))
    wait_until("it waits", lambda: original.status() == "waiting")
    crowd.copy(database, original.run_id, timers, over=1.0)
    if datetime.now(UTC) > due:
        raise TimeoutError("the rows were not there in time")
    time.sleep((due - datetime.now(UTC)).total_seconds())
    calls, starts = [], []
    while session.finished() - before - len(starts) <= timers:
        for count in (1, BULK):
            began = time.time()
            handles = mesh.start_many([workflows.timestamp() for _ in range(count)])
            calls.append(time.time() - began)
            starts += [handle.result(60) - began for handle in handles]
            time.sleep(PAUSE)
    ends = crowd.ended(database)
    seconds = (ends[-1][1] - ends[0][0]) / 1e6
    calls.sort()
    starts.sort()
    return {
        "n": timers, "steps": timers, "seconds": seconds, "timers_per_s": timers / seconds,
        "disorder_ms": _disorder(ends), "starts": len(starts), "start_call_max_ms": calls[-1] * 1e3,
        "p50_ms": at(starts, 0.5) * 1e3, "p99_ms": at(starts, 0.99) * 1e3, "max_ms": starts[-1] * 1e3,
    }  # fmt: skip


def _disorder(ends: list[tuple[int, int]]) -> float:
    """By how many milliseconds of due time a timer was overtaken, at most."""
    latest, most = 0, 0
    for due, _ in ends:
        latest = max(latest, due)
        most = max(most, latest - due)
    return most / 1e3


MEASURES = (Measure("timers", "", perform, warm_up, full=100_000, quick=500, counted=0, leading="timers_per_s"),)
