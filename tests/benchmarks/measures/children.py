"""Children: one run that starts many others, of one no-op step each, through a window, until all have ended.

What is counted "a step" is counted a child: its start, its step, its end, and what its parent does about that.
"""

from __future__ import annotations

import time
from typing import cast

from tests.benchmarks import workflows
from tests.benchmarks.measures.measure import Figures, Measure, wait_for, warm_up
from tests.benchmarks.systems.system import Meshed, Session

WINDOW = 100  # children at a time
WARM = 200


def perform(session: Session, children: int) -> Figures:
    before = session.finished()
    began = time.perf_counter()
    cast(Meshed, session).mesh.start(workflows.brood(children, WINDOW))
    wait_for(session, before + children + 1)
    seconds = time.perf_counter() - began
    return {
        "n": children, "steps": children, "seconds": seconds,
        "children_per_s": children / seconds, "ms_per_child": seconds / children * 1e3,
    }  # fmt: skip


def _warm(session: Session) -> None:
    warm_up(session)
    perform(session, WARM)


MEASURES = (Measure("children", "", perform, _warm, full=10_000, quick=200, counted=1_000, leading="children_per_s"),)
