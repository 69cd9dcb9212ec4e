"""What a run and a step can be, which moves between these are legal, and why a run is where it is.

The rule of this file: data and lookups only. Documentation and views are drawn from the same tables.

A status is what a *decision* ended at, not every state it passed through: a claimed run that is blocked
or undoing stays so until its holder's append, and that append may hold the unblocking, further steps and
the end. So BLOCKED and UNDOING lead (almost) anywhere; a PENDING, WAITING or PAUSED run is RUNNING before
it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from squidmesh.errors import IllegalState


class RunStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"  # only timers, signals, retries, children are outstanding
    PAUSED = "paused"  # only a gate is, or an operator holds it
    BLOCKED = "blocked"  # cannot go on safely by itself; nothing was lost
    UNDOING = "undoing"  # from the decision to roll back on, drain included
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDONE = "undone"  # completed, and rolled back later
    TERMINATED = "terminated"
    CONTINUED = "continued"  # its successor goes on


class StepStatus(StrEnum):
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a run is in its status: the closed set of ``explain().reason``."""

    # pending
    QUEUED = "queued"
    START_DELAYED = "start_delayed"
    # any status with work due that nobody serves
    NO_WORKER = "no_worker"
    NO_CODE = "no_code"
    # running
    ADVANCING = "advancing"
    STEP_QUEUED = "step_queued"
    STEP_RUNNING = "step_running"
    ATTEMPT_LOST = "attempt_lost"
    # waiting
    RETRY_SCHEDULED = "retry_scheduled"
    SLEEPING = "sleeping"
    WAITING_FOR_SIGNAL = "waiting_for_signal"
    WAITING_FOR_CHILD = "waiting_for_child"
    # paused
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    WAITING_FOR_RESUME = "waiting_for_resume"
    HELD = "held"
    # blocked
    CODE_ERROR = "code_error"
    CODE_CHANGED = "code_changed"
    CODE_MISSING = "code_missing"  # the code is at hand, and names something that is missing
    VALUE_UNDECODABLE = "value_undecodable"
    STEP_IN_DOUBT = "step_in_doubt"
    PAST_PIVOT = "past_pivot"
    UNDO_FAILED = "undo_failed"
    UNDO_HALTED = "undo_halted"
    # undoing
    DRAINING = "draining"
    UNDOING = "undoing"
    UNDO_RETRY_SCHEDULED = "undo_retry_scheduled"
    WAITING_FOR_CHILD_ROLLBACK = "waiting_for_child_rollback"
    # ended: the status itself
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDONE = "undone"
    TERMINATED = "terminated"
    CONTINUED = "continued"


_R = RunStatus
_S = StepStatus

ENDED: frozenset[RunStatus] = frozenset({_R.COMPLETED, _R.FAILED, _R.CANCELLED, _R.UNDONE, _R.TERMINATED, _R.CONTINUED})
SETTLED: frozenset[StepStatus] = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.SKIPPED})

# open to every run that has not ended
_STOPPED = {_R.BLOCKED, _R.UNDOING, _R.FAILED, _R.CANCELLED, _R.TERMINATED}

RUN_MOVES: Mapping[RunStatus, frozenset[RunStatus]] = {
    _R.PENDING: frozenset({_R.RUNNING, _R.PAUSED} | _STOPPED),
    _R.RUNNING: frozenset({_R.WAITING, _R.PAUSED, _R.COMPLETED, _R.CONTINUED} | _STOPPED),
    _R.WAITING: frozenset({_R.RUNNING, _R.PAUSED} | _STOPPED),
    _R.PAUSED: frozenset({_R.RUNNING, _R.WAITING} | _STOPPED),
    _R.BLOCKED: frozenset(set(_R) - {_R.PENDING, _R.BLOCKED}),
    _R.UNDOING: frozenset(set(_R) - {_R.PENDING, _R.UNDOING}),
    # rolled back after the end: then a completed run becomes undone, the others are what they were
    _R.COMPLETED: frozenset({_R.UNDOING}),
    _R.FAILED: frozenset({_R.UNDOING}),
    _R.CANCELLED: frozenset({_R.UNDOING}),
    _R.TERMINATED: frozenset({_R.UNDOING}),
    _R.UNDONE: frozenset(),
    _R.CONTINUED: frozenset({_R.UNDOING}),
}

STEP_MOVES: Mapping[StepStatus, frozenset[StepStatus]] = {
    _S.SCHEDULED: frozenset({_S.RUNNING, _S.FAILED, _S.CANCELLED, _S.SKIPPED}),
    _S.RUNNING: frozenset({_S.RETRYING, _S.COMPENSATING, _S.COMPLETED, _S.FAILED, _S.IN_DOUBT, _S.CANCELLED}),
    _S.RETRYING: frozenset({_S.RUNNING, _S.COMPENSATING, _S.FAILED, _S.IN_DOUBT, _S.CANCELLED, _S.SKIPPED}),
    _S.COMPENSATING: frozenset({_S.RETRYING, _S.COMPLETED, _S.FAILED, _S.IN_DOUBT, _S.CANCELLED}),
    _S.IN_DOUBT: frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED}),  # a person's resolve_step
    # a person's retry_step, skip_step; an attempt that was given up reports late
    _S.FAILED: frozenset({_S.RETRYING, _S.SKIPPED, _S.COMPLETED}),
    _S.CANCELLED: frozenset({_S.COMPLETED, _S.FAILED}),  # an attempt that was in flight reports late
    _S.COMPLETED: frozenset(),
    _S.SKIPPED: frozenset(),
}

UNSERVED: frozenset[Reason] = frozenset({Reason.NO_WORKER, Reason.NO_CODE})
"""Reasons of any status that has work due which nobody serves."""

REASONS: Mapping[RunStatus, frozenset[Reason]] = {
    _R.PENDING: frozenset({Reason.QUEUED, Reason.START_DELAYED}),
    _R.RUNNING: frozenset({Reason.ADVANCING, Reason.STEP_QUEUED, Reason.STEP_RUNNING, Reason.ATTEMPT_LOST}),
    _R.WAITING: frozenset(
        {Reason.RETRY_SCHEDULED, Reason.SLEEPING, Reason.WAITING_FOR_SIGNAL, Reason.WAITING_FOR_CHILD}
    ),
    _R.PAUSED: frozenset({Reason.WAITING_FOR_APPROVAL, Reason.WAITING_FOR_RESUME, Reason.HELD}),
    _R.BLOCKED: frozenset(
        {
            Reason.CODE_ERROR,
            Reason.CODE_CHANGED,
            Reason.CODE_MISSING,
            Reason.VALUE_UNDECODABLE,
            Reason.STEP_IN_DOUBT,
            Reason.PAST_PIVOT,
            Reason.UNDO_FAILED,
            Reason.UNDO_HALTED,
        }
    ),
    _R.UNDOING: frozenset(
        {Reason.DRAINING, Reason.UNDOING, Reason.UNDO_RETRY_SCHEDULED, Reason.WAITING_FOR_CHILD_ROLLBACK}
    ),
    **{ended: frozenset({Reason(ended.value)}) for ended in ENDED},
}
"""The reasons proper to each status (UNSERVED may stand at any that has not ended)."""

CODE_REASONS: frozenset[Reason] = frozenset(
    {Reason.CODE_ERROR, Reason.CODE_CHANGED, Reason.CODE_MISSING, Reason.VALUE_UNDECODABLE}
)
"""Blocked by code or a value: tried again when other code comes up, or by ``release``."""


def check(run_id: str, old: RunStatus, new: RunStatus) -> None:
    """Refuse a move of a run that the table does not have. To stay put is no move, unless the run has ended.

    Raises: IllegalState, which names the run, where it is and what is allowed from there.
    """
    if new in RUN_MOVES[old] or (old is new and old not in ENDED):
        return
    raise IllegalState(run_id, old, f"becoming {new}", tuple(s for s in RunStatus if s in RUN_MOVES[old]))


def check_step(run_id: str, position: str, old: StepStatus, new: StepStatus) -> None:
    """Refuse a move of a step that the table does not have. To stay put is no move, unless it has settled.

    Raises: IllegalState, which names the run, the step's position, its status and what is allowed from
    there.
    """
    if new in STEP_MOVES[old] or (old is new and old not in SETTLED):
        return
    where = f"{old} in its step at position {position}"
    raise IllegalState(run_id, where, f"becoming {new}", tuple(s for s in StepStatus if s in STEP_MOVES[old]))


def fits(status: RunStatus, reason: Reason) -> bool:
    """Whether a run of this status can have this reason."""
    return reason in REASONS[status] or (reason in UNSERVED and status not in ENDED)
