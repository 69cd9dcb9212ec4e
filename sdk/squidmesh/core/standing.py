"""Where a run stands between two decisions: its status and reason, and when somebody must look again.

The rule of this file: read from the live interpreter alone; nothing is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

from squidmesh.core.gates import APPROVAL, PAUSE
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import DOUBT, ChildNode, GateNode, SignalNode, StepNode, TimerNode
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
    out = _open(run)
    undo = None if run.undo is None else run.undo.retry_at
    if run.held is not None:
        return Standing(RunStatus.PAUSED, Reason.HELD, None)  # nothing is due before it is released
    due = _earlier(_earlier(out.timer, out.driven), undo)
    halted = next((rollback.halted for rollback in run.ledger.rolling if rollback.halted is not None), None)
    going_on = run.ending is None or run.ending.kind == "completed"
    if going_on and not run.ended:
        due = _earlier(due, run.deadline)
    if halted is not None:
        return Standing(RunStatus.BLOCKED, Reason(halted.reason), due)
    if out.doubt:
        return Standing(RunStatus.BLOCKED, Reason.STEP_IN_DOUBT, due)
    if run.ledger.rolling:
        if _child_asked(run):
            return Standing(RunStatus.UNDOING, Reason.WAITING_FOR_CHILD_ROLLBACK, due)
        return Standing(RunStatus.UNDOING, Reason.UNDOING if undo is None else Reason.UNDO_RETRY_SCHEDULED, due)
    if not going_on:
        return Standing(RunStatus.UNDOING, Reason.DRAINING, due)
    if out.queued:
        return Standing(RunStatus.RUNNING, Reason.STEP_RUNNING if out.running else Reason.STEP_QUEUED, due)
    if out.gate is not None:
        return Standing(RunStatus.PAUSED, _GATES[out.gate], due)
    if out.retry is not None and (out.timer is None or out.retry <= out.timer):
        return Standing(RunStatus.WAITING, Reason.RETRY_SCHEDULED, due)
    if out.wait is not None and (out.timer is None or out.wait <= out.timer):
        return Standing(RunStatus.WAITING, Reason.WAITING_FOR_SIGNAL, due)
    if out.child and out.timer is None:
        return Standing(RunStatus.WAITING, Reason.WAITING_FOR_CHILD, due)
    if out.timer is not None:
        return Standing(RunStatus.WAITING, Reason.SLEEPING, due)
    return Standing(RunStatus.RUNNING, Reason.ADVANCING, due)


@dataclass(slots=True)
class _Open:
    """What is open, in one pass: whether there is such, and when the earliest of it is due."""

    queued: bool = False
    running: bool = False
    doubt: bool = False
    child: bool = False
    timer: int | None = None
    retry: int | None = None
    driven: int | None = None  # of the retries, those that the holder makes
    wait: int | None = None
    gate: str | None = None


def _open(run: Interpreter) -> _Open:
    out = _Open()
    for leaf in run.open.values():
        match leaf:
            case TimerNode(due=due):
                out.timer = _earlier(out.timer, due)
            case SignalNode(due=due):
                out.wait, out.timer = _earlier(out.wait, NEVER if due is None else due), _earlier(out.timer, due)
            case GateNode(due=due):
                out.gate, out.timer = out.gate or leaf.gate.kind, _earlier(out.timer, due)
            case ChildNode():
                out.child = out.child or not leaf.detached or leaf is run.awaiting
            case StepNode() if leaf.stage == DOUBT:
                out.doubt = True
            case StepNode(retry_at=None):
                out.queued, out.running = True, out.running or leaf.running
            case StepNode(retry_at=retry_at):
                out.retry = _earlier(out.retry, retry_at)
                out.driven = out.driven if leaf.elsewhere else _earlier(out.driven, retry_at)
            case _:
                out.queued = True
    return out


def _child_asked(run: Interpreter) -> bool:
    """Whether the walk waits for the rollback of a child."""
    rollback = run.ledger.rolling[0]
    if rollback.at >= len(rollback.planned or ()):
        return False
    at = run.chain.entries[(rollback.planned or [])[rollback.at]]
    return at.kind == "child" and at.running


_GATES = {APPROVAL: Reason.WAITING_FOR_APPROVAL, PAUSE: Reason.WAITING_FOR_RESUME}


def _earlier(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
