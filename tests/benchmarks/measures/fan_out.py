"""Fan-out: one run with 1,000 or 10,000 parallel no-op steps and their join, from its start to its end."""

from __future__ import annotations

import time
from functools import partial

from tests.benchmarks.measures.measure import Figures, Measure, wait_for, warm_up
from tests.benchmarks.systems.system import Session

WARM = 100  # steps


def perform(session: Session, runs: int, *, width: int) -> Figures:
    before = session.finished()
    began = time.perf_counter()
    for done in range(1, runs + 1):
        session.fan_out(width)
        wait_for(session, before + done, 0.005)
    seconds = time.perf_counter() - began
    steps = runs * width
    return {
        "n": width, "runs": runs, "steps": steps, "seconds": seconds,
        "steps_per_s": steps / seconds, "ms_per_step": seconds / steps * 1e3,
    }  # fmt: skip


def _warm(session: Session) -> None:
    warm_up(session)
    before = session.finished()
    session.fan_out(WARM)
    wait_for(session, before + 1)


def _measure(width: int, full: int, quick: int, counted: int) -> Measure:
    return Measure(
        "fan_out", f"{width}", partial(perform, width=width), _warm,
        full=full, quick=quick, counted=counted, leading="steps_per_s",
    )  # fmt: skip


MEASURES = (_measure(1_000, full=2, quick=1, counted=1), _measure(10_000, full=1, quick=0, counted=0))
