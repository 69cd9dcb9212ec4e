"""Where a run stands between two decisions: its status and reason, and when somebody must look again.

The rule of this file: read from the live interpreter alone; nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import TimerNode
from squidmesh.core.status import Reason, RunStatus


@dataclass(frozen=True, slots=True)
class Standing:
    status: RunStatus
    reason: Reason | None
    due: int | None  # microseconds since the epoch


def standing(run: Interpreter) -> Standing:
    """What to write into the row of a run that is let go (not ended, not blocked).

    One pass over what is open, whatever its size; due is the earliest of the timers, of the retries that the holder
    of the run drives, and of the run's own deadline.
    """
    queued = running = False
    timer = retry = driven = None
    for leaf in run.open.values():
        if isinstance(leaf, TimerNode):
            timer = _earlier(timer, leaf.due)
        elif leaf.retry_at is None:
            queued, running = True, running or leaf.running
        else:
            retry = _earlier(retry, leaf.retry_at)
            driven = driven if leaf.elsewhere else _earlier(driven, leaf.retry_at)
    due = _earlier(timer, driven)
    if run.ending is not None and run.ending.kind != "completed":
        return Standing(RunStatus.UNDOING, Reason.DRAINING, due)
    due = _earlier(due, run.deadline)
    if queued:
        return Standing(RunStatus.RUNNING, Reason.STEP_RUNNING if running else Reason.STEP_QUEUED, due)
    if retry is not None and (timer is None or retry <= timer):
        return Standing(RunStatus.WAITING, Reason.RETRY_SCHEDULED, due)
    if timer is not None:
        return Standing(RunStatus.WAITING, Reason.SLEEPING, due)
    return Standing(RunStatus.RUNNING, Reason.ADVANCING, due)


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
