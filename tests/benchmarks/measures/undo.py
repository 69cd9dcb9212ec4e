"""Undoing: one run whose steps are undone, newest first, one after the other; undos a second of its rollback."""

from __future__ import annotations

import statistics
from functools import partial
from typing import cast

from tests.benchmarks.measures.measure import Figures, Measure, wait_for, warm_up
from tests.benchmarks.systems.system import Session, Undoing

PAUSE = 0.005  # seconds between two looks at whether it is over


def perform(steps: int, session: Session, runs: int) -> Figures:
    undoing, took = cast(Undoing, session), []
    for _ in range(runs):
        before = session.finished()
        undoing.undo(steps)
        wait_for(session, before + 1, PAUSE)
        took.append(undoing.undo_seconds())
    return {"n": runs, "steps": runs * steps, "undos_per_s": steps / statistics.median(took)}


MEASURES = tuple(
    Measure(
        "undo", f"{steps:,}", partial(perform, steps), warm_up, full=3, quick=1, counted=1, leading="undos_per_s",
        more_is_better=True,
    )
    for steps in (100, 1_000, 4_000)
)  # fmt: skip
