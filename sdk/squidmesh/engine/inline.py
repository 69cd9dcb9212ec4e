"""What the holder of a run calls itself: the next attempt of a step, a handler of it, or an undo.

The rule of this file: what a call says while it runs is durable, and fenced, before the call goes on; what comes out of
it is for the holder to record, unless it was recorded in the call's own transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core import nodes
from squidmesh.core.chain import Entry
from squidmesh.core.codec import encode
from squidmesh.core.events import Event
from squidmesh.core.nodes import SendNode, StepNode
from squidmesh.engine import transacting, trial
from squidmesh.engine.calling import CallKind, Trial, gone, undo_place, undoing
from squidmesh.engine.live import Live
from squidmesh.engine.sending import send
from squidmesh.ports import Append

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

KINDS = {
    nodes.ATTEMPT: CallKind.ATTEMPT,
    nodes.CHECK: CallKind.CHECK,
    nodes.COMPENSATE: CallKind.COMPENSATE,
}


def call(worker: Worker, live: Live, what: Entry | StepNode | SendNode) -> list[Event] | None:
    """Make the call; the events that are still to be recorded. None: the run is not ours any more."""
    if isinstance(what, SendNode):
        return [_send(worker, live, what)]
    made = _undo(worker, live, what) if isinstance(what, Entry) else _step(worker, live, what)
    if not made.transactional:
        return trial.run(worker.engine, made)

    def record(transaction: Any, events: Sequence[Event]) -> bool:
        wrote = transaction.append(
            Append(
                run_id=live.run_id, worker=live.worker, epoch=live.run.epoch, seq=live.length + 1,
                events=encode(events), count=len(events),
            )
        )  # fmt: skip
        return bool(wrote.accepted)

    done = transacting.run(worker.engine, made, record)
    if done.refused:
        return None
    if done.broken is not None:  # nothing of it was written, and the run waits for other code
        live.interpreter.blocked = done.broken
    if not done.recorded:
        return list(done.events)
    live.interpreter.feed(done.events, worker.engine.clock.now())
    live.recorded(worker.engine, done.events)
    return []


def _send(worker: Worker, live: Live, message: SendNode) -> Event:
    """Put a message into the other run's inbox, once: sent again after a crash, it is known by its key."""
    engine, at = worker.engine, worker.engine.clock.now()
    received = ev.SignalReceived(
        at=at, name=message.name, payload=message.payload, key=f"{live.run_id}:{message.position}"
    )
    delivered = send(engine, message.run_id, received)
    return ev.SignalSent(
        at=at, position=message.position, run_id=message.run_id, name=message.name, payload=message.payload,
        delivered=delivered,
    )  # fmt: skip


def _step(worker: Worker, live: Live, node: StepNode) -> Trial:
    def save(value: Any) -> None:
        tell(ev.CheckpointSaved(at=worker.engine.clock.now(), position=node.position, value=value))

    def tell(event: Event) -> None:
        _tell(worker, live, event, node.step)

    return Trial(
        run_id=live.run_id, position=node.position, step=node.definition, number=max(node.number, 1),
        input=node.call.input, overrides=node.call.overrides, progress=node.progress, failed=node.failed,
        first_at=node.first_at, scheduled_seq=node.scheduled_seq, save=save, tell=tell,
        kind=KINDS[node.stage], cycle=node.cycle, failure=node.failure,
        trace=live.interpreter.trace,
    )  # fmt: skip


def _undo(worker: Worker, live: Live, entry: Entry) -> Trial:
    def save(value: Any) -> None:
        tell(ev.CheckpointSaved(at=worker.engine.clock.now(), position=undo_place(entry), value=value))

    def tell(event: Event) -> None:
        _tell(worker, live, event, entry.step)

    step = worker.engine.code.steps.get(entry.step)
    return undoing(live.run_id, entry, live.interpreter.chain.active[0], step, save, tell, live.interpreter.trace)


def _tell(worker: Worker, live: Live, event: Event, step: str) -> None:
    """Record one event at once."""
    wrote = worker.engine.store.append(
        Append(
            run_id=live.run_id, worker=live.worker, epoch=live.run.epoch, seq=live.length + 1,
            events=encode([event]), count=1,
        )
    )  # fmt: skip
    if not wrote.accepted:
        raise gone(live.run_id, step)
    live.interpreter.feed([event])
    live.recorded(worker.engine, [event])
