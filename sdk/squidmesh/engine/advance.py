"""Driving a run: the loop that goes from step to step while there is something to do here, and lets the run go.

    hold ─▶ fold, fire timers ─▶ decide ─▶ append ─▶ run the next step ─▶ its outcome ─┐
              ▲                              │ nothing to run here                    │
              └──────────────────────────────┼────────────────────────────────────────┘
                                             ▼
                                          let go

One append a step: the outcome of the step before, what the workflow asked for next, and that its next attempt starts
and who has it, are committed together, before that attempt runs. The rule of this file: nothing is done that was not
recorded; an append that is refused ends the drive, and what was in memory is thrown away.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core import nodes
from squidmesh.core.chain import Entry
from squidmesh.core.codec import encode
from squidmesh.core.events import Event
from squidmesh.core.interpreter import Decision
from squidmesh.core.nodes import SendNode, StepNode
from squidmesh.core.standing import Standing, standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.engine import children, inline, placing
from squidmesh.engine.continuing import chain_of
from squidmesh.engine.hold import drained_by, fire, fold, hold, learn, unblocked
from squidmesh.engine.linking import circles, link
from squidmesh.engine.live import Live
from squidmesh.engine.pace import BUDGET
from squidmesh.errors import Cancelled
from squidmesh.ports import Append, Appended, Bell, BellKind, KeyTaken, ReceiverGone, RunChange

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

logger = logging.getLogger("squidmesh.engine")

AT_ONCE = 100
"""Rounds of timers that are fired before what they led to is recorded (a loop of ``sleep(0)`` has no end)."""

MOST_TRIED = 16
"""Builds that a blocked run remembers: each tries it once, so that two that are both broken do not go on in turns."""

Call = Entry | StepNode | SendNode
"""What the holder of a run does itself, once it is on record that it begins."""

ENDED_AS: dict[str, RunStatus] = {
    "RunCompleted": RunStatus.COMPLETED,
    "RunFailed": RunStatus.FAILED,
    "RunCancelled": RunStatus.CANCELLED,
    "RunTerminated": RunStatus.TERMINATED,
    "RunContinued": RunStatus.CONTINUED,
}


HELD = Decision((), (), (), None, False)
"""An operator holds the run: what has come is put on record, and nothing follows from it before it is released."""


def advance(worker: Worker, run_id: str) -> list[Bell]:
    """Take the run if it is due, and drive it as far as it goes here; gives the bells that follow."""
    follow: list[Bell] = []
    while not worker.stopping and (live := hold(worker, run_id)) is not None:
        if not _driven(worker, live, follow):
            break
    return follow


def drive(worker: Worker, live: Live) -> list[Bell]:
    """Drive a run that is held as far as it goes here, and let it go; gives the bells that follow."""
    follow: list[Bell] = []
    if _driven(worker, live, follow):
        follow.append(Bell(BellKind.ADVANCE, live.run.queue, live.run_id))
    return follow


def _driven(worker: Worker, live: Live, follow: list[Bell]) -> bool:
    """Drive a held run until it is let go; whether something arrived for it meanwhile."""
    try:
        return _drive(worker, live, follow)
    except BaseException:
        live.interpreter.close()
        worker.returns.run(live.run_id, live.worker, live.run.epoch)
        raise
    finally:
        worker.holding.discard((live.run_id, live.run.epoch))


def _drive(worker: Worker, live: Live, follow: list[Bell]) -> bool:
    if _too_early(worker, live) or (live.blocked_by_code and not _tried_again(worker, live)):
        return False
    until = time.monotonic() + BUDGET
    while True:
        decision = _decide(worker, live)
        go_on = time.monotonic() < until and not worker.stopping
        call = _next_here(worker, live, decision) if go_on else None
        change = _change(worker, live, decision) if call is None else _going_on(live)
        wrote = _record(worker, live, call, change, follow)
        if not wrote.accepted:
            return _dropped(worker, live)
        if call is None:
            return _let_go(worker, live, change, follow) or wrote.pinged
        made = inline.call(worker, live, call)
        if made is None:
            return _dropped(worker, live)
        told = any(map(_was_told_to_stop, made))  # then why it was comes first
        if told and not _look(worker, live):
            return _dropped(worker, live)
        learn(worker, live, made)
        if wrote.pinged and not told and not _look(worker, live):
            return _dropped(worker, live)


def _decide(worker: Worker, live: Live) -> Decision:
    """Fire what is due and take decisions, until one needs nothing more from the database."""
    while True:
        if live.interpreter.held is not None:
            return HELD
        for _ in range(AT_ONCE):
            if not fire(worker, live):
                break
        decision = live.interpreter.take()
        now = worker.engine.clock.now()
        live.pending.extend(event if event.at else dataclasses.replace(event, at=now) for event in decision.events)
        live.fresh.extend(decision.steps)
        if decision.withdraw and decision.blocked is None:
            _withdraw(worker, live, decision)
        elif not _of_children(worker, live, decision):
            return decision


def _of_children(worker: Worker, live: Live, decision: Decision) -> bool:
    """Have a child rolled back whose turn it is, and find out which runs children are; whether there was one."""
    facts: list[Event] = []
    if decision.blocked is None and live.interpreter.asked.links:
        facts = link(worker, live)
    facts += circles(worker, live)
    undo = live.interpreter.undo
    if undo is not None and undo.kind == "child":
        facts.append(ev.UndoStarted(at=worker.engine.clock.now(), entry=undo.id, number=undo.attempts + 1))
    learn(worker, live, facts)
    return bool(facts)


def _withdraw(worker: Worker, live: Live, decision: Decision) -> None:
    """Take back tasks that nobody should begin any more. What is claimed already will be reported.

    A task that is neither there nor reported was taken back before, by a holder that could not record it.
    """
    store = worker.engine.store
    store.withdraw(live.run_id, live.worker, live.run.epoch, decision.withdraw)
    claimed = {task.position for task in store.tasks(live.run_id)}
    _look(worker, live)
    now = worker.engine.clock.now()
    for position in decision.withdraw:
        if position in live.interpreter.open and position not in claimed and live.interpreter.withdrawn(position):
            learn(worker, live, [ev.StepCancelled(at=now, position=position)])


def _next_here(worker: Worker, live: Live, decision: Decision) -> Call | None:
    """What to call on this thread, now: an undo, or the step that the workflow waits for, on a queue served here."""
    if decision.blocked is not None or decision is HELD:
        return None
    now = worker.engine.clock.now()
    undo = live.interpreter.undo
    if undo is not None and (undo.retry_at is None or undo.retry_at <= now) and _serves_undo(worker, live, undo):
        return undo
    for node in live.interpreter.here():
        if placing.ready(node, now) and worker.serves(placing.queue_of(node, live.run.queue)):
            return node
    return None


def _change(worker: Worker, live: Live, decision: Decision) -> RunChange:
    """What becomes of the run's row when it is let go now."""
    now = worker.engine.clock.now()
    if decision.ended:
        return RunChange(
            status=_ended_as(live), ended_at=live.interpreter.ended_at, rollback=_rollback(live),
            orphans=_orphans(live), chain=chain_of(live),
        )  # fmt: skip
    if (blocked := decision.blocked) is not None:
        if blocked.reason == Reason.PAST_PIVOT:  # other code would not help
            if live.interpreter.told is None or live.interpreter.told.message != blocked.message:
                live.pending.append(dataclasses.replace(blocked, at=now))
            return RunChange(status=RunStatus.BLOCKED, reason=blocked.reason, release=True)
        live.pending.append(dataclasses.replace(blocked, at=now, code=live.code))
        tried = " ".join([*dict.fromkeys((*live.tried, live.code))][-MOST_TRIED:])
        return RunChange(status=RunStatus.BLOCKED, reason=blocked.reason, release=True, code=tried)
    stands = standing(live.interpreter)
    ready = decision is not HELD and _ready(worker, live)
    dues = [now] if ready else [due for due in (stands.due, drained_by(worker, live)) if due is not None]
    return RunChange(
        status=stands.status, reason=stands.reason, release=True, due_at=min(dues, default=None),
        rollback=_rollback(live), orphans=_orphans(live),
    )  # fmt: skip


def _ready(worker: Worker, live: Live) -> bool:
    """Whether something could be called here at once, and is not, because the time of this thread is up."""
    undo = live.interpreter.undo
    return (undo is not None and undo.retry_at is None and _serves_undo(worker, live, undo)) or any(
        placing.ready(node, 0) and worker.serves(placing.queue_of(node, live.run.queue))
        for node in live.interpreter.here()
    )


def _serves_undo(worker: Worker, live: Live, entry: Entry) -> bool:
    return worker.serves(placing.queue_of_undo(worker, entry, live.run.queue))


def _ended_as(live: Live) -> RunStatus:
    run = live.interpreter
    return RunStatus.UNDONE if run.undone else ENDED_AS[type(run.end).__name__]


def _rollback(live: Live) -> str | None:
    """What the row says of the run's newest rollback."""
    rollbacks = live.interpreter.chain.rollbacks if live.interpreter.ledger.walked else []
    return (rollbacks[-1].outcome or "walking") if rollbacks else None


def _orphans(live: Live) -> int | None:
    """How many effects the run's rollbacks have left that nobody has answered for."""
    return (
        sum(entry.orphaned for entry in live.interpreter.chain.entries.values())
        if live.interpreter.ledger.walked
        else None
    )


def _going_on(live: Live) -> RunChange | None:
    """What changes in the row of a run that is driven on: it was blocked, or its rollback begins or is over."""
    run, interpreter = live.run, live.interpreter
    if run.status == RunStatus.RUNNING and interpreter.ending is None and not interpreter.ledger.walked:
        return None  # as nearly always
    stands = Standing(RunStatus.RUNNING, None, None)
    if interpreter.ledger.rolling:
        stands = Standing(RunStatus.UNDOING, Reason.UNDOING, None)
    elif interpreter.ending is not None and interpreter.ending.kind != "completed":
        stands = Standing(RunStatus.UNDOING, Reason.DRAINING, None)
    if run.status == stands.status and (stands.reason is None or run.reason == stands.reason):
        return None
    live.run = dataclasses.replace(run, status=stands.status.value, reason=stands.reason, code=None)
    return RunChange(status=stands.status, reason=stands.reason, rollback=_rollback(live), orphans=_orphans(live))


def _record(worker: Worker, live: Live, call: Call | None, change: RunChange | None, follow: list[Bell]) -> Appended:
    """Append what was learnt and decided; with ``call``, that it starts; with ``change``, what becomes of the row."""
    now = worker.engine.clock.now()
    placed = placing.place(worker, live, now)
    if call is not None and (started := _started(call, now, live.worker)) is not None:
        learn(worker, live, [started])
    recorded = live.pending
    over = change.status if change is not None and change.ended_at is not None else None
    told = children.told(worker.engine, live, recorded, over)
    if not (recorded or live.taken or change or placed.tasks or placed.joins):
        return Appended(accepted=True, pinged=False)  # a check, by a holder that has learnt nothing: it only reads
    append = Append(
        run_id=live.run_id, worker=live.worker, epoch=live.run.epoch, seq=live.length + 1,
        events=encode(recorded), count=len(recorded), change=change, tasks=placed.tasks, joins=placed.joins,
        taken=tuple(live.taken), runs=told.runs, letters=told.letters,
    )  # fmt: skip
    try:
        wrote = worker.engine.store.append(append)
    except (KeyTaken, ReceiverGone):  # a run with a child's key was started or pruned since we looked: again
        return Appended(accepted=False, pinged=False)
    if wrote.accepted:
        live.recorded(worker.engine, recorded)
        live.pending, live.taken, live.fresh, live.passed = [], [], [], []
        follow.extend(placed.bells)
        if told is not children.NOBODY:
            children.ring(worker, told, wrote.awake, follow)
    return wrote


def _started(call: Call, now: int, worker: str) -> Event | None:
    """What is committed before a call is made. A check only reads: it leaves no trace before it answers."""
    if isinstance(call, SendNode):
        return None
    if isinstance(call, Entry):
        return ev.UndoStarted(at=now, entry=call.id, number=call.attempts + 1, worker=worker)
    match call.stage:
        case nodes.CHECK:
            return None
        case nodes.COMPENSATE:
            return ev.CompensateStarted(at=now, position=call.position, cycle=call.cycle, worker=worker)
        case _:
            return ev.AttemptStarted(at=now, position=call.position, number=call.number + 1, worker=worker)


# ------------------------------------------------------------------------------------------------ letting go


def _let_go(worker: Worker, live: Live, change: RunChange | None, follow: list[Bell]) -> bool:
    assert change is not None
    if change.ended_at is not None or change.status == RunStatus.BLOCKED or live.interpreter.held is not None:
        live.interpreter.close()  # of a run that is held it may have gone on, with what is not recorded
        return False
    worker.cache.put(live)
    if change.due_at is not None:
        if change.due_at <= worker.engine.clock.now():
            follow.append(Bell(BellKind.ADVANCE, live.run.queue, live.run_id))
        else:
            worker.due_soon(change.due_at)
    return False


def _dropped(worker: Worker, live: Live) -> bool:
    """The run is not (or not as we know it) in our hands any more: forget what was in memory."""
    live.interpreter.close()
    worker.engine.store.let_go(live.run_id, live.worker, live.run.epoch, worker.engine.clock.now())
    logger.warning("run %s went on elsewhere: worker %s lost it", live.run_id, live.worker)
    return False


def _look(worker: Worker, live: Live) -> bool:
    """Fold in what arrived while we hold the run; False when we do not hold it any more."""
    inbox = worker.engine.store.refresh(live.run_id, live.worker, live.run.epoch)
    if inbox is not None:
        fold(worker, live, inbox)
    return inbox is not None


def _was_told_to_stop(event: Event) -> bool:
    """Whether an attempt ended because its run does not need it any more."""
    return isinstance(event, ev.AttemptFailed) and event.failure.matches(Cancelled)


def _tried_again(worker: Worker, live: Live) -> bool:
    """Whether a run that code blocked is to be driven: other code is at hand, or somebody wants it to end."""
    if unblocked(live) or live.interpreter.ending is not None or live.interpreter.ended:
        return True
    live.interpreter.close()
    worker.engine.store.let_go(live.run_id, live.worker, live.run.epoch, None)
    return False


def _too_early(worker: Worker, live: Live) -> bool:
    """Whether the run is to start later: what has come for it is kept until then, unless somebody wants it to end."""
    begins, interpreter = live.interpreter.start_at, live.interpreter
    if begins is None or begins <= worker.engine.clock.now() or live.length > 1 or interpreter.ended:
        return False
    if any(isinstance(event, (ev.CancelRequested, ev.FailRequested)) for event in live.pending):
        return False
    interpreter.close()
    pending = RunChange(status=RunStatus.PENDING, release=True, due_at=begins)
    worker.engine.store.append(
        Append(live.run_id, live.worker, live.run.epoch, seq=live.length + 1, events="[]", count=0, change=pending)
    )
    return True
