"""Where a run stands between two decisions: its status and reason, and when somebody must look again.

The rule of this file: read from the live interpreter alone; nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from squidmesh.core.gates import APPROVAL, PAUSE
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import DOUBT, GateNode, SignalNode, StepNode, TimerNode
from squidmesh.core.status import Reason, RunStatus

NEVER = 2**63
"""When a wait without a timeout is due, beside those that have one."""


@dataclass(frozen=True, slots=True)
class Standing:
    status: RunStatus
    reason: Reason | None
    due: int | None  # microseconds since the epoch


def standing(run: Interpreter) -> Standing:
    """What to write into the row of a run that is let go (not ended, not blocked by code).

    One pass over what is open, whatever its size; due is the earliest of the timers, of the retries that the holder
    of the run drives, of the undo that comes next, and of the run's own deadline. What needs a person comes first.
    """
    queued = running = doubt = False
    timer = retry = driven = wait = None
    gate: str | None = None
    for leaf in run.open.values():
        match leaf:
            case TimerNode(due=due):
                timer = _earlier(timer, due)
            case SignalNode(due=due):
                wait, timer = _earlier(wait, NEVER if due is None else due), _earlier(timer, due)
            case GateNode(due=due):
                gate, timer = gate or leaf.gate.kind, _earlier(timer, due)
            case StepNode() if leaf.stage == DOUBT:
                doubt = True
            case StepNode(retry_at=None):
                queued, running = True, running or leaf.running
            case StepNode(retry_at=retry_at):
                retry = _earlier(retry, retry_at)
                driven = driven if leaf.elsewhere else _earlier(driven, retry_at)
            case _:
                queued = True
    undo = None if run.undo is None else run.undo.retry_at
    if run.held is not None:
        return Standing(RunStatus.PAUSED, Reason.HELD, None)  # nothing is due before it is released
    due = _earlier(_earlier(timer, driven), undo)
    halted = next((rollback.halted for rollback in run.ledger.rolling if rollback.halted is not None), None)
    going_on = run.ending is None or run.ending.kind == "completed"
    if going_on and not run.ended:
        due = _earlier(due, run.deadline)
    if halted is not None:
        return Standing(RunStatus.BLOCKED, Reason(halted.reason), due)
    if doubt:
        return Standing(RunStatus.BLOCKED, Reason.STEP_IN_DOUBT, due)
    if run.ledger.rolling:
        return Standing(RunStatus.UNDOING, Reason.UNDOING if undo is None else Reason.UNDO_RETRY_SCHEDULED, due)
    if not going_on:
        return Standing(RunStatus.UNDOING, Reason.DRAINING, due)
    if queued:
        return Standing(RunStatus.RUNNING, Reason.STEP_RUNNING if running else Reason.STEP_QUEUED, due)
    if gate is not None:
        return Standing(RunStatus.PAUSED, _GATES[gate], due)
    if retry is not None and (timer is None or retry <= timer):
        return Standing(RunStatus.WAITING, Reason.RETRY_SCHEDULED, due)
    if wait is not None and (timer is None or wait <= timer):
        return Standing(RunStatus.WAITING, Reason.WAITING_FOR_SIGNAL, due)
    if timer is not None:
        return Standing(RunStatus.WAITING, Reason.SLEEPING, due)
    return Standing(RunStatus.RUNNING, Reason.ADVANCING, due)


_GATES = {APPROVAL: Reason.WAITING_FOR_APPROVAL, PAUSE: Reason.WAITING_FOR_RESUME}


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
