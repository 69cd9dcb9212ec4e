"""Taking a run into one's hands: claim it, wake its interpreter, fold in what arrived for it.

The rule of this file: after it, ``live`` knows all that is durable, and ``live.pending`` holds what its holder has
learnt and must record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core import nodes
from squidmesh.core.applying import DEADLINE, is_over
from squidmesh.core.codec import decode, decode_rows
from squidmesh.core.effects import Effect, Trait
from squidmesh.core.events import Event
from squidmesh.core.failure import describe
from squidmesh.core.gates import decisive
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import COMPENSATE, GateNode, Leaf, SignalNode, StepNode, TimerNode
from squidmesh.core.rollback import lost_undo
from squidmesh.core.settling import lost
from squidmesh.engine.arriving import taken_up
from squidmesh.engine.calling import undo_place
from squidmesh.engine.code import fingerprint
from squidmesh.engine.continuing import PASSED_ON
from squidmesh.engine.live import Live
from squidmesh.errors import EffectUnknown, PayloadError, StoreUnavailable
from squidmesh.ports import Claimed, InboxRow

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

logger = logging.getLogger("squidmesh.engine")


def hold(worker: Worker, run_id: str) -> Live | None:
    """Claim a due run; None when there is nothing to claim, or not for this worker."""
    holder, cached = worker.id, _Cached(worker)
    with cached.unless_lost():
        claimed = worker.engine.store.claim(holder, run_id, worker.can, cached)
    return None if claimed is None else _woken(worker, claimed, holder, cached.kept)


def hold_next(worker: Worker, queue: str, priority: int, fresh: bool) -> Live | None:
    """Claim the run of this queue and priority that is due first (``fresh``: rather one that has not begun yet).

    None when there is none for this worker.
    """
    holder, cached = worker.id, _Cached(worker)
    try:
        with cached.unless_lost():
            claimed = worker.engine.store.claim_next(holder, queue, priority, worker.can, cached, fresh)
    except StoreUnavailable:
        worker.returns.doubt()  # one may have been claimed without our hearing of it
        raise
    return None if claimed is None else _woken(worker, claimed, holder, cached.kept)


class _Cached:
    """What is kept of the run that was claimed: taken out once it is, so that who fails to claim it disturbs nobody."""

    __slots__ = ("_run_id", "_worker", "kept")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._run_id = ""
        self.kept: tuple[Interpreter, int] | None = None

    def __call__(self, run_id: str) -> int:
        self._run_id, self.kept = run_id, self.kept or self._worker.cache.take(run_id)
        return self.kept[1] if self.kept else 0

    @contextmanager
    def unless_lost(self) -> Iterator[None]:
        """What was taken out for a claim that fails goes back."""
        try:
            yield
        except BaseException:
            if self.kept is not None:
                self._worker.cache.put_back(self._run_id, self.kept)
            raise


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
    worker.engine.tracing.taken_up(run.run_id, run.workflow, claimed.history)
    news = decode_rows([(row.seq, row.events) for row in claimed.history])
    if kept is not None and any(map(is_over, news)):  # its body would go on, of which others have seen the end
        kept[0].close()
        kept, news = None, _whole(worker, run.run_id)
    interpreter, length = kept or (_fresh(worker, run.workflow, run.version, run.run_id), 0)
    live = Live(run, holder, interpreter, length + len(news), fingerprint(interpreter.workflow))
    interpreter.replay(news, worker.engine.clock.now())
    _other_code(worker, live)
    fold(worker, live, claimed.inbox)
    if interpreter.again:  # a person did not let a failure stand, which the body has been told of already
        interpreter.close()
        known = news if kept is None else _whole(worker, run.run_id)
        live.interpreter = _fresh(worker, run.workflow, run.version, run.run_id)
        live.interpreter.replay([*known, *live.pending], worker.engine.clock.now())
    if kept is None and live.interpreter.ledger.rolling:
        _undone_elsewhere(worker, live)
    _lost(worker, live)
    return live


def _undone_elsewhere(worker: Worker, live: Live) -> None:
    """An undo that an earlier holder has given to another queue."""
    placed = {task.position for task in worker.engine.store.tasks(live.run_id)}
    for entry in live.interpreter.chain.armed():
        entry.elsewhere = undo_place(entry) in placed


def _whole(worker: Worker, run_id: str) -> list[Event]:
    return decode_rows([(row.seq, row.events) for row in worker.engine.store.history(run_id)])


def _fresh(worker: Worker, workflow: str, version: int, run_id: str) -> Interpreter:
    engine = worker.engine
    return Interpreter(engine.code.workflows[workflow, version], run_id, engine.settings.max_payload, engine.code.steps)


def _other_code(worker: Worker, live: Live, released: bool = False) -> None:
    """A run that code blocked is tried again with code that it was not tried with, or because a person wants it."""
    if live.blocked_by_code and (released or live.code not in live.tried) and not unblocked(live):
        learn(worker, live, [ev.RunUnblocked(at=worker.engine.clock.now(), code=live.code)])


def unblocked(live: Live) -> bool:
    """Whether a run that code blocked is to be tried again."""
    return any(isinstance(event, ev.RunUnblocked) for event in live.pending)


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
            if isinstance(live.interpreter.end, ev.RunContinued) and isinstance(event, PASSED_ON):
                live.passed.append(event)
            elif (taken := taken_up(live.interpreter, event, live.blocked_by_code)) is not None:
                unknown = _unknown(worker, live) if isinstance(taken, ev.RunTerminated) else []
                learn(worker, live, [taken, *unknown])
                if isinstance(taken, ev.RunReleased):
                    _other_code(worker, live, released=True)


def _unknown(worker: Worker, live: Live) -> list[Event]:
    """The steps of which a run that is terminated does not wait to hear what they did: something may be left of them.

    Tasks that nobody has begun are taken back first, so that those which are left have been.
    """
    store, now, run = worker.engine.store, worker.engine.clock.now(), live.interpreter
    steps = [leaf for leaf in run.open.values() if isinstance(leaf, StepNode) and not leaf.harmless]
    store.withdraw(live.run_id, live.worker, live.run.epoch, [step.position for step in steps if step.elsewhere])
    begun = {task.position for task in store.tasks(live.run_id)} if any(step.elsewhere for step in steps) else set()
    told = "the run was terminated before it was heard what this step did"
    return [
        ev.StepFailed(at=now, position=step.position, failure=describe(EffectUnknown(told)), effect=Effect.UNKNOWN)
        for step in steps
        if step.position in begun or step.running or step.unheard or step.effect is not Effect.NONE
    ]


def learn(worker: Worker, live: Live, events: Sequence[Event]) -> None:
    """Facts that are new to the run: fed to its interpreter, and to be recorded."""
    live.pending.extend(events)
    live.interpreter.feed(events, worker.engine.clock.now())


def _lost(worker: Worker, live: Live) -> None:
    """Calls that an earlier holder was making: nobody makes them any more."""
    now = worker.engine.clock.now()
    for node in list(live.interpreter.open.values()):
        if isinstance(node, StepNode) and node.running and not node.elsewhere:
            spent = node.lost + 1 > most_lost(worker, node)
            learn(worker, live, [_lost_attempt(node, now, spent)])
    for rollback in live.interpreter.ledger.rolling:
        for entry in map(live.interpreter.chain.entries.get, rollback.planned or ()):
            if entry is not None and entry.running and entry.kind != "child":
                learn(worker, live, [lost_undo(entry, now, worker.engine.settings.max_lost)])


def _lost_attempt(node: StepNode, now: int, spent: bool) -> Event:
    if node.stage == COMPENSATE:
        outcome, failure = ("failed", lost(node)) if spent else ("lost", None)
        return ev.CompensateEnded(at=now, position=node.position, cycle=node.cycle, outcome=outcome, failure=failure)
    final = spent or (node.has(Trait.ONCE) and not node.harmless)
    return ev.AttemptLost(at=now, position=node.position, number=node.number, worker=node.worker, final=final)


def most_lost(worker: Worker, node: StepNode) -> int:
    own = node.definition.max_lost
    return worker.engine.settings.max_lost if own is None else int(own)


def fire(worker: Worker, live: Live) -> bool:
    """Fire the run's timers that are due, in order of time; whether there was one."""
    interpreter, now = live.interpreter, worker.engine.clock.now()
    if interpreter.blocked is not None:
        return False
    times = ((_due(interpreter, leaf), leaf.position) for leaf in interpreter.open.values())
    due = sorted((at, position) for at, position in times if at is not None and at <= now)
    for _, position in due:
        if (leaf := interpreter.open.get(position)) is not None:
            expired = isinstance(leaf, GateNode)
            fired = ev.GateExpired(at=now, position=position) if expired else ev.TimerFired(at=now, position=position)
            learn(worker, live, [fired])
    if (until := drained_by(worker, live)) is not None and until <= now:
        for leaf in list(interpreter.open.values()):
            if isinstance(leaf, StepNode) and (given_up := _out_too_long(leaf, now)) is not None:
                learn(worker, live, [given_up])
    late = interpreter.deadline is not None and interpreter.deadline <= now
    if late and interpreter.endable and interpreter.blocked is None:
        learn(worker, live, [ev.TimerFired(at=now, position=DEADLINE)])
        return True
    return bool(due)


def _due(run: Interpreter, leaf: Leaf) -> int | None:
    """When the time of something that waits is over. What was said before that is heard, however late."""
    match leaf:
        case SignalNode() if run.mail.first(leaf.signal.name) is not None:
            return None
        case GateNode() if decisive(leaf.votes.values(), leaf.needed) is not None:
            return None
        case TimerNode(due=due) | GateNode(due=due) | SignalNode(due=due):
            return due
        case _:
            return None


def _out_too_long(node: StepNode, now: int) -> Event | None:
    """What is taken down of a step that a run which ends does not wait for any longer: what it did is not known."""
    match node.stage:
        case nodes.ATTEMPT if node.number or node.elsewhere:
            number = max(node.number, 1)  # a task's attempt that was not reported is not known here
            return ev.AttemptLost(at=now, position=node.position, number=number, worker=node.worker, final=True)
        case nodes.ATTEMPT:
            return ev.StepCancelled(at=now, position=node.position)
        case nodes.CHECK if node.elsewhere:
            return ev.StepChecked(at=now, position=node.position, outcome="still_unknown")
        case nodes.COMPENSATE if node.elsewhere:
            return ev.CompensateEnded(
                at=now, position=node.position, cycle=node.cycle, outcome="failed", failure=lost(node)
            )
        case _:
            return None  # it is about to be called here; or a person is waited for


def drained_by(worker: Worker, live: Live) -> int | None:
    """When a run that is ending stops waiting for attempts in flight; whatever they do after that is not recorded."""
    since = live.interpreter.draining_since
    if since is None or live.interpreter.ended:
        return None
    steps = (leaf for leaf in live.interpreter.open.values() if isinstance(leaf, StepNode))
    if all(_out_too_long(step, since) is None for step in steps):
        return None  # nothing is in flight; a walk, or a person, may take longer
    return since + round(worker.engine.settings.drain_timeout * 1e6)
