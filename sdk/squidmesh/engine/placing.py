"""Where a newly scheduled step goes: into the holder's own hands, or into a task row for whoever picks it up.

The rule of this file: the holder keeps the one step that the workflow waits for, if its queue is served here. All else
(members of groups, spawned steps, other queues) is a task. What is placed is written in the append that schedules it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry
from squidmesh.core.effects import Trait
from squidmesh.core.events import Event
from squidmesh.core.nodes import ATTEMPT, DOUBT, FanOutNode, GatherNode, Node, SendNode, StepNode
from squidmesh.core.payloads import dumps
from squidmesh.engine.calling import CallKind, undo_place
from squidmesh.engine.live import Live
from squidmesh.ports import Bell, BellKind, Join, NewTask

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

AT_ONCE = 32
"""Bells for one lot of tasks; each wakes a thread that goes on while there are more."""


@dataclass(frozen=True, slots=True)
class Placed:
    tasks: tuple[NewTask, ...] = ()
    joins: tuple[Join, ...] = ()
    bells: tuple[Bell, ...] = ()


NOTHING = Placed()


def queue_of(node: StepNode | SendNode, run_queue: str) -> str:
    """The queue that a step's attempts belong to."""
    if isinstance(node, SendNode):
        return run_queue
    return node.call.overrides.queue or node.call.definition.queue or run_queue


def ready(node: StepNode | SendNode, now: int) -> bool:
    """Whether the holder of the run can do this at once."""
    return isinstance(node, SendNode) or (held(node) and (node.retry_at is None or node.retry_at <= now))


def held(node: Node | None) -> TypeGuard[StepNode]:
    """Whether a step is in the hands of the run's holder, and not being tried."""
    return (
        isinstance(node, StepNode)
        and node.outcome is None
        and not node.elsewhere
        and not node.running
        and node.stage != DOUBT
    )


def place(worker: Worker, live: Live, now: int) -> Placed:
    """Make task rows of what the holder does not run itself, and mark its ``StepScheduled`` in ``live.pending``."""
    interpreter, run = live.interpreter, live.run
    away: list[StepNode] = []
    for node in live.fresh:
        here = node is interpreter.awaiting and worker.serves(queue_of(node, run.queue))
        if node.outcome is None and not node.elsewhere and not here and Trait.GROUP not in node.traits:
            away.append(node)
    waiting = interpreter.awaiting
    if held(waiting) and waiting not in live.fresh and not worker.serves(queue_of(waiting, run.queue)):
        away.append(waiting)  # another worker held it, and served its queue
    undo = _undo_away(worker, live, now)
    trace = worker.engine.tracing.bell(run.run_id, interpreter.trace) if away or undo is not None else None
    if not away:
        return NOTHING if undo is None else Placed((undo,), (), bells((undo,), run.run_id, trace))
    new = {event.position for event in live.pending if isinstance(event, ev.StepScheduled)}
    live.pending.extend(_again(node, now) for node in away if node.position not in new)
    for node in away:
        node.elsewhere = True
        interpreter.asked.placed(node)
    numbers = _mark({node.position for node in away}, live)
    tasks = tuple(_task(worker, live, node, now, numbers[node.position]) for node in away)
    tasks = tasks if undo is None else (*tasks, undo)
    return Placed(tasks, _joins(away), bells(tasks, run.run_id, trace))


def queue_of_undo(worker: Worker, entry: Entry, run_queue: str) -> str:
    """The queue that the undo of an entry belongs to: that of its step."""
    step = worker.engine.code.steps.get(entry.step) if entry.kind == "step" else None
    return run_queue if step is None else step.queue or run_queue


def _undo_away(worker: Worker, live: Live, now: int) -> NewTask | None:
    """The task of the undo that comes next, where its queue is not served here."""
    entry = live.interpreter.undo
    if entry is None or worker.serves(queue := queue_of_undo(worker, entry, live.run.queue)):
        return None
    entry.elsewhere = True
    spec = {
        "call": CallKind.UNDO.value, "entry": entry.id, "number": entry.attempts + 1, "lost": entry.lost,
        "run_queue": live.run.queue,
    }  # fmt: skip
    return NewTask(
        position=undo_place(entry), step=entry.step, queue=queue, priority=live.run.priority,
        due_at=entry.retry_at or now, max_lost=worker.engine.settings.max_lost, join_position=None, spec=dumps(spec),
        scheduled_seq=0,
    )  # fmt: skip


def _again(node: StepNode, now: int) -> Event:
    """A step that was scheduled before, and is a task from now on."""
    return ev.StepScheduled(
        at=now, position=node.position, step=node.step, input=node.call.input, options=node.call.overrides.to_json(),
        traits=node.traits, call=node.stage,
    )  # fmt: skip


def _mark(positions: set[str], live: Live) -> dict[str, int]:
    """Say in the events that these steps are tasks; gives the number that each ``StepScheduled`` will have."""
    numbers: dict[str, int] = {}
    for n, event in enumerate(live.pending):
        if isinstance(event, ev.StepScheduled) and event.position in positions:
            live.pending[n] = dataclasses.replace(event, elsewhere=True)
            numbers[event.position] = live.length + n + 1
    return numbers


def _task(worker: Worker, live: Live, node: StepNode, now: int, seq: int) -> NewTask:
    call, run = node.call, live.run
    spec: dict[str, Any] = {"input": call.input, "run_queue": run.queue}
    if options := call.overrides.to_json():
        spec["options"] = options
    if live.interpreter.trace is not None:
        spec["trace"] = live.interpreter.trace
    if node.number:
        spec["tried"] = {"number": node.number, "failed": node.failed, "first_at": node.first_at}
    if node.stage != ATTEMPT:
        spec |= {"call": node.stage, "cycle": node.cycle, "effect": node.effect.value}
        spec["failure"] = node.failure.to_json() if node.failure is not None else None
    if node.has(Trait.ONCE) and not node.harmless:
        spec["once"] = True
    if node.has(Trait.TRANSACTIONAL):
        spec["transactional"] = True
    limit = node.definition.max_lost
    priority = call.overrides.priority
    if priority is None:
        priority = node.definition.priority
    group = node.group
    return NewTask(
        position=node.position, step=node.step, queue=queue_of(node, run.queue),
        priority=run.priority if priority is None else priority,
        due_at=node.retry_at or now, max_lost=worker.engine.settings.max_lost if limit is None else limit,
        join_position=group.position if isinstance(group, GatherNode) and group.owns(node) else None,
        spec=dumps(spec), scheduled_seq=seq,
    )  # fmt: skip


def _joins(nodes: Sequence[StepNode]) -> tuple[Join, ...]:
    added: dict[str, int] = {}
    groups: dict[str, GatherNode] = {}
    for node in nodes:
        group = node.group
        if isinstance(group, GatherNode) and group.owns(node):
            added[group.position] = added.get(group.position, 0) + 1
            groups[group.position] = group
    return tuple(
        Join(position, count, groups[position].wake_at() if isinstance(groups[position], FanOutNode) else 0)
        for position, count in added.items()
    )


def bells(tasks: Sequence[NewTask], run_id: str, trace: str | None = None) -> tuple[Bell, ...]:
    """Enough bells to wake whoever is idle, for each queue that has new tasks."""
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task.queue] = counts.get(task.queue, 0) + 1
    return tuple(
        Bell(BellKind.ATTEMPTS, queue, run_id, trace) for queue, n in counts.items() for _ in range(min(n, AT_ONCE))
    )
