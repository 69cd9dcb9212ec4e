"""Pruning beside writers: what it takes from their throughput, how fast it goes, and what becomes of the room.

So many finished runs are there (200,000; `SQUIDMESH_BENCHMARK_PRUNE` says another number). Then workers drive W10 runs,
by turns with and without a pruning of those beside them, and the ratio of the two is what the pruning costs. The rest
is pruned in one go, without a rest, and as many are made again: the tables should be no larger than before.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from typing import cast

from tests.benchmarks.measures.measure import PATIENCE, Figures, Measure, warm_up
from tests.benchmarks.systems.system import Pruning, Session

RUNS = int(os.environ.get("SQUIDMESH_BENCHMARK_PRUNE", "200000"))
TURNS = 7
STEPS = 10
A_TURN = 300  # runs


def perform(session: Session, runs: int) -> Figures:
    pruning = cast(Pruning, session)
    pruning.finish(runs)
    full, alone, beside = pruning.bytes(), list[float](), list[float]()
    other = _Other(pruning)
    for _ in range(TURNS if runs >= 50_000 else 1):
        alone.append(_turn(pruning))
        with other:
            beside.append(_turn(pruning))
    gone = runs - pruning.prunable()
    took = other.end()
    began = time.perf_counter()
    pruning.reclaim()
    vacuum = time.perf_counter() - began
    after = pruning.bytes()
    pruning.finish(runs)
    lowered = 1 - statistics.median(b / a for a, b in zip(alone, beside, strict=True))
    return {
        "n": runs, "steps": len(alone) * 2 * A_TURN * STEPS,
        "steps_per_s": statistics.median(beside), "alone_steps_per_s": statistics.median(alone),
        "lowered_percent": lowered * 100,
        "pruned_beside": gone, "pruned_per_s_beside": gone / other.seconds, "pruned_per_s": (runs - gone) / took,
        "vacuum_seconds": vacuum, "full_bytes": full, "pruned_bytes": after, "again_bytes": pruning.bytes(),
    }  # fmt: skip


def _turn(session: Pruning) -> float:
    began = time.perf_counter()
    session.sequences(A_TURN, STEPS)
    while session.unfinished():
        if time.perf_counter() - began > PATIENCE:
            raise TimeoutError(f"{A_TURN} runs have not finished in {PATIENCE:g} s")
        time.sleep(0.02)
    return A_TURN * STEPS / (time.perf_counter() - began)


class _Other:
    """One pruning that works while the ``with`` block lasts, and to its end when told to end."""

    def __init__(self, session: Pruning) -> None:
        self.seconds = 0.0
        self._goes, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=session.prune, args=[self._rest], daemon=True)

    def _rest(self, seconds: float) -> None:
        if not self._ends.is_set():
            self._ends.wait(seconds)
            self._goes.wait()

    def __enter__(self) -> None:
        self._began = time.perf_counter()
        self._goes.set()
        if self._thread.ident is None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._goes.clear()
        self.seconds += time.perf_counter() - self._began

    def end(self) -> float:
        """Have it go on without a rest; the seconds that takes."""
        began = time.perf_counter()
        self._ends.set()
        self._goes.set()
        self._thread.join()
        return time.perf_counter() - began


MEASURE = Measure("prune", "", perform, warm_up, full=RUNS, quick=2_000, counted=0, leading="steps_per_s")
