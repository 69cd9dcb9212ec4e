"""Taking a run into one's hands: claim it, wake its interpreter, fold in what arrived for it.

The rule of this file: after it, ``live`` knows all that is durable, and ``live.pending`` holds what its holder has
learnt and must record.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core.codec import decode, decode_rows
from squidmesh.core.events import Event
from squidmesh.core.interpreter import DEADLINE, Interpreter
from squidmesh.core.nodes import StepNode, TimerNode
from squidmesh.engine.failures import lost_too_often
from squidmesh.engine.live import Live
from squidmesh.errors import PayloadError, StoreUnavailable
from squidmesh.ports import Claimed, InboxRow

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

logger = logging.getLogger("squidmesh.engine")


def hold(worker: Worker, run_id: str) -> Live | None:
    """Claim a due run; None when there is nothing to claim, or not for this worker."""
    kept, holder = worker.cache.take(run_id), worker.id
    claimed = worker.engine.store.claim(holder, run_id, worker.can, kept[1] if kept else 0)
    if claimed is None:
        if kept is not None:
            worker.cache.put_back(run_id, kept)
        return None
    return _woken(worker, claimed, holder, kept)


def hold_next(worker: Worker, queue: str, priority: int) -> Live | None:
    """Claim the run of this queue and priority that is due first; None when there is none for this worker."""
    kept: list[tuple[Interpreter, int] | None] = [None]
    holder = worker.id

    def known(run_id: str) -> int:
        kept[0] = worker.cache.take(run_id)
        return kept[0][1] if kept[0] else 0

    try:
        claimed = worker.engine.store.claim_next(holder, queue, priority, worker.can, known)
    except StoreUnavailable:
        worker.returns.doubt()  # one may have been claimed without our hearing of it
        raise
    return None if claimed is None else _woken(worker, claimed, holder, kept[0])


def _woken(worker: Worker, claimed: Claimed, holder: str, kept: tuple[Interpreter, int] | None) -> Live | None:
    run = claimed.run
    worker.holding.add((run.run_id, run.epoch))
    try:
        return _wake(worker, claimed, holder, kept)
    except PayloadError as unknown:  # of a newer release, whose workers will take it
        logger.warning("run %s is left to others: %s", run.run_id, unknown)
        worker.holding.discard((run.run_id, run.epoch))
        worker.returns.run(run.run_id, holder, run.epoch)
        return None
    except BaseException:
        worker.holding.discard((run.run_id, run.epoch))
        worker.returns.run(run.run_id, holder, run.epoch)
        raise


def _wake(worker: Worker, claimed: Claimed, holder: str, kept: tuple[Interpreter, int] | None) -> Live:
    """The run's interpreter, kept or made anew, with all that is durable and all that has arrived."""
    run = claimed.run
    news = decode_rows([(row.seq, row.events) for row in claimed.history])
    interpreter, length = kept or (_fresh(worker, run.workflow, run.version, run.run_id), 0)
    live = Live(run, holder, interpreter, length + len(news))
    interpreter.replay(news, worker.engine.clock.now())
    fold(worker, live, claimed.inbox)
    _lost(worker, live)
    return live


def _fresh(worker: Worker, workflow: str, version: int, run_id: str) -> Interpreter:
    engine = worker.engine
    return Interpreter(engine.code.workflows[workflow, version], run_id, engine.settings.max_payload)


def fold(worker: Worker, live: Live, inbox: Sequence[InboxRow]) -> None:
    """Fold what arrived into the run, in order of arrival; what no longer applies is dropped."""
    for row in inbox:
        if row.id in live.taken:
            continue
        live.taken.append(row.id)
        try:
            arrived = decode(row.events)
        except (PayloadError, TypeError, ValueError):
            logger.exception("message %d for run %s cannot be read; it is put aside", row.id, live.run_id)
            continue
        for event in arrived:
            if _applies(live.interpreter, event):
                learn(worker, live, [event])


def _applies(interpreter: Interpreter, event: Event) -> bool:
    position = getattr(event, "position", None)
    if isinstance(event, ev.CancelRequested):
        return interpreter.endable
    return position is None or position in interpreter.open


def learn(worker: Worker, live: Live, events: Sequence[Event]) -> None:
    """Facts that are new to the run: fed to its interpreter, and to be recorded."""
    live.pending.extend(events)
    live.interpreter.feed(events, worker.engine.clock.now())


def _lost(worker: Worker, live: Live) -> None:
    """Attempts that an earlier holder was driving: nobody drives them any more."""
    for node in list(live.interpreter.open.values()):
        if isinstance(node, StepNode) and node.running and not node.elsewhere:
            at, left = worker.engine.clock.now(), node.lost
            lost = ev.AttemptLost(at=at, position=node.position, number=node.number, worker=node.worker)
            learn(worker, live, [lost])
            limit = most_lost(worker, node)
            if left + 1 > limit and node.position in live.interpreter.open:
                failure = lost_too_often(node.step, node.position, left + 1)
                learn(worker, live, [ev.StepFailed(at=at, position=node.position, failure=failure)])


def most_lost(worker: Worker, node: StepNode) -> int:
    own = node.definition.max_lost
    return worker.engine.settings.max_lost if own is None else int(own)


def fire(worker: Worker, live: Live) -> bool:
    """Fire the run's timers that are due, in order of time; whether there was one."""
    interpreter, now = live.interpreter, worker.engine.clock.now()
    if interpreter.blocked is not None:
        return False
    due = sorted(
        (leaf.due, leaf.position)
        for leaf in interpreter.open.values()
        if isinstance(leaf, TimerNode) and leaf.due <= now
    )
    for _, position in due:
        if position in interpreter.open:
            learn(worker, live, [ev.TimerFired(at=now, position=position)])
    if (until := drained_by(worker, live)) is not None and until <= now:
        for position in [leaf.position for leaf in interpreter.open.values() if isinstance(leaf, StepNode)]:
            learn(worker, live, [ev.StepCancelled(at=now, position=position)])
    late = interpreter.deadline is not None and interpreter.deadline <= now
    if late and interpreter.endable and interpreter.blocked is None:
        learn(worker, live, [ev.TimerFired(at=now, position=DEADLINE)])
        return True
    return bool(due)


def drained_by(worker: Worker, live: Live) -> int | None:
    """When a run that is ending stops waiting for attempts in flight; whatever they do after that is not recorded."""
    since = live.interpreter.draining_since
    if since is None or live.interpreter.ended:
        return None
    return since + round(worker.engine.settings.drain_timeout * 1e6)
