"""What the engine itself states: attempts that were lost with their worker, and what follows when too many were."""

from __future__ import annotations

from collections.abc import Sequence

from squidmesh.core import events as ev
from squidmesh.core.codec import encode
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe
from squidmesh.core.payloads import loads
from squidmesh.errors import WorkerLost
from squidmesh.ports import TaskRow


def lost_tasks(now: int, tasks: Sequence[TaskRow], holder: str) -> dict[tuple[str, str], tuple[str, bool]]:
    """What is to be told of begun tasks whose worker goes: ``ports.LostTasks``."""
    return {(task.run_id, task.position): _lost(now, task, holder) for task in tasks}


def _lost(now: int, task: TaskRow, holder: str) -> tuple[str, bool]:
    number = task.number + loads(task.spec).get("tried", {}).get("number", 0)
    events: list[Event] = [
        ev.AttemptStarted(at=task.claimed_at or now, position=task.position, number=number, worker=holder)
    ]
    if task.progress is not None:
        events.append(ev.CheckpointSaved(at=now, position=task.position, value=loads(task.progress)))
    events.append(ev.AttemptLost(at=now, position=task.position, number=number, worker=holder))
    spent = task.lost + 1 > task.max_lost
    if spent:
        failure = lost_too_often(task.step, task.position, task.lost + 1)
        events.append(ev.StepFailed(at=now, position=task.position, failure=failure))
    return encode(events), spent


def lost_too_often(step: str, position: str, lost: int) -> Failure:
    """The failure of a step whose workers were lost again and again."""
    return describe(
        WorkerLost(
            f"the worker was lost in {lost} attempts of step {step!r} at position {position}: "
            "what it does may kill its worker (memory, a native crash)"
        ),
        attempts=lost,
    )
