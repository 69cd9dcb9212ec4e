"""What the engine itself states: calls that were lost with their worker, and what follows when too many were.

The rule of this file: whether a lost call is made again is a matter of its kind, and of its own budget. A lost attempt
of what is not idempotent never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.codec import encode
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe
from squidmesh.core.payloads import loads
from squidmesh.engine.calling import CallKind
from squidmesh.errors import WorkerLost
from squidmesh.ports import TaskRow


def lost_tasks(now: int, tasks: Sequence[TaskRow], holder: str) -> dict[tuple[str, str], tuple[str, bool]]:
    """What is to be told of begun tasks whose worker goes: ``ports.LostTasks``."""
    return {(task.run_id, task.position): _lost(now, task, holder) for task in tasks}


def _lost(now: int, task: TaskRow, holder: str) -> tuple[str, bool]:
    spec = loads(task.spec)
    spent = task.lost + 1 > task.max_lost
    began = task.claimed_at or now
    events: list[Event] = []
    told: dict[str, Any]
    if task.progress is not None:
        events.append(ev.CheckpointSaved(at=now, position=task.position, value=loads(task.progress)))
    match CallKind(spec.get("call", CallKind.ATTEMPT)):
        case CallKind.CHECK:
            if spent:
                failure = _lost_too_often(f"the check of step {task.step!r}", task)
                events.append(ev.StepChecked(at=now, position=task.position, outcome="still_unknown", failure=failure))
        case CallKind.COMPENSATE:
            cycle = spec.get("cycle", 1)
            events.insert(0, ev.CompensateStarted(at=began, position=task.position, cycle=cycle, worker=holder))
            told = {"outcome": "lost"}
            if spent:
                failure = _lost_too_often(f"the compensate of step {task.step!r}", task)
                told = {"outcome": "failed", "failure": failure}
            events.append(ev.CompensateEnded(at=now, position=task.position, cycle=cycle, **told))
        case CallKind.UNDO:
            entry, number = spec["entry"], spec["number"]
            again = now if spec["lost"] + 1 <= task.max_lost else None
            failure = _lost_too_often(f"the undo of {task.step!r}", task)
            events.insert(0, ev.UndoStarted(at=began, entry=entry, number=number, worker=holder))
            told = {"failure": failure, "retry_at": again, "reason": "lost"}
            events.append(ev.UndoFailed(at=now, entry=entry, number=number, **told))
            spent = True  # the holder of the run places it again
        case _:
            number = task.number + spec.get("tried", {}).get("number", 0)
            spent = spent or spec.get("once", False)
            events.insert(0, ev.AttemptStarted(at=began, position=task.position, number=number, worker=holder))
            events.append(ev.AttemptLost(at=now, position=task.position, number=number, worker=holder, final=spent))
    return encode(events), spent


def _lost_too_often(what: str, task: TaskRow) -> Failure:
    """The failure of what was called again and again, and took its worker with it."""
    lost = task.lost + 1
    return describe(
        WorkerLost(
            f"the worker was lost in {lost} attempts of {what} at position {task.position}: "
            "what it does may kill its worker (memory, a native crash)"
        ),
        attempts=lost,
    )
