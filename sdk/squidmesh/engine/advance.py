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
from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core.codec import encode
from squidmesh.core.interpreter import Decision
from squidmesh.core.nodes import StepNode
from squidmesh.core.standing import standing
from squidmesh.core.status import RunStatus
from squidmesh.engine import placing, trial
from squidmesh.engine.code import fingerprint
from squidmesh.engine.hold import drained_by, fire, fold, hold, hold_next, learn
from squidmesh.engine.live import Live
from squidmesh.engine.pace import BUDGET
from squidmesh.ports import Append, Appended, Bell, BellKind, RunChange

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

logger = logging.getLogger("squidmesh.engine")

AT_ONCE = 100
"""Rounds of timers that are fired before what they led to is recorded (a loop of ``sleep(0)`` has no end)."""

MOST_TRIED = 16
"""Builds that a blocked run remembers: each tries it once, so that two that are both broken do not go on in turns."""

ENDED_AS: dict[str, RunStatus] = {
    "RunCompleted": RunStatus.COMPLETED,
    "RunFailed": RunStatus.FAILED,
    "RunCancelled": RunStatus.CANCELLED,
}


def advance(worker: Worker, run_id: str) -> list[Bell]:
    """Take the run if it is due, and drive it as far as it goes here; gives the bells that follow."""
    follow: list[Bell] = []
    while not worker.stopping and (live := hold(worker, run_id)) is not None:
        if not _driven(worker, live, follow):
            break
    return follow


def advance_next(worker: Worker, queue: str, priority: int) -> list[Bell] | None:
    """The same with the run of this queue and priority that is due first; None when there is none."""
    follow: list[Bell] = []
    live = hold_next(worker, queue, priority)
    if live is not None and _driven(worker, live, follow):
        follow.append(Bell(BellKind.ADVANCE, queue, live.run_id))
    return None if live is None else follow


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
    if live.run.status == RunStatus.BLOCKED and not _tried_again(worker, live):
        return False
    until = time.monotonic() + BUDGET
    while True:
        decision = _decide(worker, live)
        go_on = time.monotonic() < until and not worker.stopping
        node = _next_here(worker, live, decision) if go_on else None
        change = _change(worker, live, decision) if node is None else _mended(live)
        wrote = _record(worker, live, node, change, follow)
        if not wrote.accepted:
            return _dropped(worker, live)
        if node is None:
            return _let_go(worker, live, change, follow) or wrote.pinged
        learn(worker, live, trial.run(worker.engine, _trial(worker, live, node)))
        if wrote.pinged and not _look(worker, live):
            return _dropped(worker, live)


def _decide(worker: Worker, live: Live) -> Decision:
    """Fire what is due and take decisions, until one needs nothing more from the database."""
    while True:
        for _ in range(AT_ONCE):
            if not fire(worker, live):
                break
        decision = live.interpreter.take()
        now = worker.engine.clock.now()
        live.pending.extend(dataclasses.replace(event, at=now) for event in decision.events)
        live.fresh.extend(decision.steps)
        if decision.blocked is not None or not decision.withdraw:
            return decision
        _withdraw(worker, live, decision)


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
        if position in live.interpreter.open and position not in claimed:
            learn(worker, live, [ev.StepCancelled(at=now, position=position)])


def _next_here(worker: Worker, live: Live, decision: Decision) -> StepNode | None:
    """The step to run on this thread, now: what the workflow waits for, on a queue that is served here."""
    node = live.interpreter.awaiting
    if decision.blocked is not None or live.interpreter.ending is not None:
        return None
    if not placing.held(node) or not worker.serves(placing.queue_of(node, live.run.queue)):
        return None
    return None if node.retry_at is not None and node.retry_at > worker.engine.clock.now() else node


def _change(worker: Worker, live: Live, decision: Decision) -> RunChange:
    """What becomes of the run's row when it is let go now."""
    now = worker.engine.clock.now()
    if decision.ended:
        return RunChange(status=ENDED_AS[live.pending[-1].kind], ended_at=now)
    if decision.blocked is not None:
        code = fingerprint(live.interpreter.workflow)
        live.pending.append(dataclasses.replace(decision.blocked, at=now, code=code))
        tried = " ".join([*_tried(live), code][-MOST_TRIED:])
        return RunChange(status=RunStatus.BLOCKED, reason=decision.blocked.reason, release=True, code=tried)
    stands = standing(live.interpreter)
    waiting = live.interpreter.awaiting
    ready = (
        placing.held(waiting) and waiting.retry_at is None and worker.serves(placing.queue_of(waiting, live.run.queue))
    )
    dues = [now] if ready else [due for due in (stands.due, drained_by(worker, live)) if due is not None]
    due = min(dues, default=None)
    return RunChange(status=stands.status, reason=stands.reason, release=True, due_at=due)


def _tried(live: Live) -> list[str]:
    """Fingerprints of the code that this run was blocked by, since it last got on."""
    return (live.run.code or "").split()


def _mended(live: Live) -> RunChange | None:
    """What becomes of the row of a run that was blocked and has a step to run: it is running. Nothing for others."""
    if live.run.status != RunStatus.BLOCKED:
        return None
    live.run = dataclasses.replace(live.run, status=RunStatus.RUNNING, code=None)
    return RunChange(status=RunStatus.RUNNING)


def _record(
    worker: Worker, live: Live, node: StepNode | None, change: RunChange | None, follow: list[Bell]
) -> Appended:
    """Append what was learnt and decided; with ``node``, that its attempt starts; with ``change``, let the run go."""
    now = worker.engine.clock.now()
    placed = placing.place(worker, live, now)
    if node is not None:
        started = ev.AttemptStarted(at=now, position=node.position, number=node.number + 1, worker=live.worker)
        live.interpreter.feed([started])
        live.pending.append(started)
    recorded = live.pending
    wrote = worker.engine.store.append(
        Append(
            run_id=live.run_id, worker=live.worker, epoch=live.run.epoch, seq=live.length + 1,
            events=encode(recorded), count=len(recorded), change=change,
            tasks=placed.tasks, joins=placed.joins, taken=tuple(live.taken),
        )
    )  # fmt: skip
    if wrote.accepted:
        worker.engine.observe(live.run_id, live.run.workflow, live.length + 1, recorded)
        live.length += len(recorded)
        live.pending, live.taken, live.fresh = [], [], []
        follow.extend(placed.bells)
    return wrote


# ------------------------------------------------------------------------------------------------ letting go


def _let_go(worker: Worker, live: Live, change: RunChange | None, follow: list[Bell]) -> bool:
    assert change is not None
    if change.ended_at is not None or change.status == RunStatus.BLOCKED:
        live.interpreter.close()
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


def _tried_again(worker: Worker, live: Live) -> bool:
    """Whether a blocked run is to be driven: other code is at hand, or somebody wants it to end."""
    code = fingerprint(live.interpreter.workflow)
    if code not in _tried(live):
        live.pending.insert(0, ev.RunUnblocked(at=worker.engine.clock.now(), code=code))
        return True
    if live.interpreter.ending is not None:
        return True
    live.interpreter.close()
    worker.engine.store.let_go(live.run_id, live.worker, live.run.epoch, None)
    return False


# ----------------------------------------------------------------------------------------------- the attempt


def _trial(worker: Worker, live: Live, node: StepNode) -> trial.Trial:
    def save(value: Any) -> None:
        saved = ev.CheckpointSaved(at=worker.engine.clock.now(), position=node.position, value=value)
        wrote = worker.engine.store.append(
            Append(
                run_id=live.run_id, worker=live.worker, epoch=live.run.epoch, seq=live.length + 1,
                events=encode([saved]), count=1,
            )
        )  # fmt: skip
        if not wrote.accepted:
            raise trial.gone(live.run_id, node.step)
        live.length += 1
        live.interpreter.feed([saved])

    return trial.Trial(
        run_id=live.run_id, position=node.position, step=node.definition, number=node.number,
        input=node.call.input, overrides=node.call.overrides, progress=node.progress, failed=node.failed,
        first_at=node.first_at, scheduled_seq=node.scheduled_seq, save=save,
    )  # fmt: skip
