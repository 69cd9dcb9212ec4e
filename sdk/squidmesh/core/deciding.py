"""What follows from where a run stands, besides what its body asks for: one event at a time, in this order.

    a step without attempts left is settled ─▶ a message is taken, a gate is decided ─▶ a rollback walks on ─▶ the
    losers of a race are undone ─▶ a scope that failed is rolled back ─▶ the run, when nothing is in flight any more,
    is rolled back ─▶ and ends

Asked when a decision is taken, never while history is replayed: a replay finds these events recorded.

The rule of this file: from the state of the interpreter to the next event; nothing is applied here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry, Rollback
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, failure_of
from squidmesh.core.gates import counted
from squidmesh.core.nodes import Bad, ChildNode
from squidmesh.core.rollback import next_move, plan, race_due
from squidmesh.core.settling import next_call, verdict
from squidmesh.errors import InvalidPayload, NonDeterminism, PayloadError

if TYPE_CHECKING:
    from squidmesh.core.interpreter import Interpreter

WHOLE = ("failure", "cancel")
"""Causes of the rollback that belongs to the end of a run."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the body ended, or was ended, while something may still be in flight."""

    kind: str  # completed, failed, cancelled, continued
    event: ev.RunCompleted | ev.RunFailed | ev.RunCancelled | ev.RunContinued
    undo: bool = True
    error: BaseException | None = None  # what the body let out
    scopes: tuple[str, ...] = ()  # that had failed, and from whose failure the body had not gone on

    @classmethod
    def after(cls, begun: ev.RollbackStarted) -> Ending:
        """The ending that a rollback belongs to."""
        if begun.failure is not None:
            return cls("failed", ev.RunFailed(failure=begun.failure))
        return cls("cancelled", ev.RunCancelled(actor=begun.actor, note=begun.note))


def next_event(run: Interpreter) -> Event | None:
    """The next event that follows; None: nothing does, before something else has happened.

    :raises Broken: the run would fail, and can only go forward.
    :raises NonDeterminism: the body ended before what history has.
    """
    if run.asked.spent and (settled := _settled(run)) is not None:
        return settled
    if (run.asked.waits or run.asked.gates) and (heard := _heard(run)) is not None:
        return heard  # also while the loser of a race is undone, beside the run
    if run.ledger.walked and (rollback := next(iter(run.ledger.rolling), run.chain.stale())) is not None:
        return _moved(run, rollback)
    if run.ended:
        return _asked_for(run) or (_undone(run) if run.ledger.walked else None)
    if (run.ledger.walked or run.scopes.due or run.scopes.wanted) and (begun := _rolled_back_now(run)) is not None:
        return begun
    return None if run.ending is None or (run.open and run.asked.busy) else _over(run, run.ending)


def _settled(run: Interpreter) -> Event | None:
    """What becomes of a step whose attempts are spent, or who is asked about it."""
    for node in list(run.asked.spent.values()):
        del run.asked.spent[node.position]
        if node.answer is not None:
            return node.answer
        if (handler := next_call(node)) is None:
            return verdict(node, run.now())
        run.asked.call(node, handler)
    return None


def _heard(run: Interpreter) -> Event | None:
    """What becomes of messages that somebody waits for, and of votes that are enough."""
    for wait in run.asked.waits.values():
        name = wait.signal.name
        if (message := run.mail.first(name)) is not None:
            number, payload = message
            try:
                wait.signal.value.decode(payload)
            except (PayloadError, InvalidPayload) as refused:
                told = str(refused)
                return ev.SignalRejected(at=run.now(), name=name, number=number, message=told, position=wait.position)
            return ev.SignalTaken(at=run.now(), position=wait.position, name=name, number=number)
    for gate in run.asked.gates.values():
        if gate.votes and (decided := counted(gate, run.now())) is not None:
            return decided
    return None


def _moved(run: Interpreter, rollback: Rollback) -> Event | None:
    carried = _carried(run, rollback.begun) if rollback.planned is None else ()
    move = next_move(run.chain, rollback, run.has_undo, carried)
    if isinstance(move, Entry):
        run.undo = None if move.running or move.elsewhere else move
        return None
    return None if move is None else replace(move, at=run.now())


def _asked_for(run: Interpreter) -> Event | None:
    """The rollback that another run's has come to, now that this run is over."""
    owed = run.owed
    if owed is None or owed.number or next(run.chain.armed(), None) is None:
        return None
    return replace(
        _begin(run, owed.cause, by=owed), asked_by=owed.asked_by, asked_entry=owed.asked_entry,
        asked_queue=owed.asked_queue,
    )  # fmt: skip


def _undone(run: Interpreter) -> Event | None:
    """A run that had completed was rolled back: it is undone."""
    newest = run.chain.rollbacks[-1] if run.chain.rollbacks else None
    if newest is None or newest.begun.cause not in ("operator", "parent"):
        return None
    if not newest.ended or newest.outcome == "refused":
        return None
    if run.undone or not isinstance(run.end, ev.RunCompleted):
        return None
    return ev.RunUndone(at=run.now(), actor=newest.begun.actor, note=newest.begun.note)


def _rolled_back_now(run: Interpreter) -> Event | None:
    """The beginning of a rollback of a part of the run."""
    going_on = run.ending is None or run.ending.kind == "completed"
    if run.chain.watched and going_on and (race := race_due(run.chain, run.open)) is not None:
        return _begin(run, "race", position=race)
    if run.ending is not None and run.ending.kind == "cancelled":
        return None
    for scope, error in run.scopes.due.items():
        if not _in_flight(run, scope):
            return _begin(run, "scope", scope=scope, failure=failure_of(error))
    for scope, position in run.scopes.wanted.items():
        if not _in_flight(run, scope):
            return _begin(run, "scope", scope=scope, position=position)
    return None


def _in_flight(run: Interpreter, scope: str) -> bool:
    return any(run.chain.within(run.chain.scope_at(position), scope) for position in run.open)


def _over(run: Interpreter, ending: Ending) -> Event | None:
    """The rollback of the whole run, if it ends badly, or its end."""
    if ending.kind != "cancelled" and (left := run.asked.recorded.left()) is not None:
        at = run.place()
        raise NonDeterminism(left, run.asked.recorded.told(left), "ends before it", at.file, at.line)
    if ending.kind == "completed" and (failure := _unobserved(run)) is not None:
        run.no_pivot_passed(None)
        ending = run.ending = Ending("failed", ev.RunFailed(failure=failure), run.workflow.on_failure == "undo")
    cause = {"failed": "failure", "cancelled": "cancel"}.get(ending.kind)
    if cause is not None and ending.undo and not any(r.begun.cause in WHOLE for r in run.chain.rollbacks):
        failure = ending.event.failure if isinstance(ending.event, ev.RunFailed) else None
        begun = _begin(run, cause, failure=failure, by=ending.event)
        if plan(run.chain, begun, _carried(run, begun)):
            return begun
    return replace(ending.event, at=run.now())


def _unobserved(run: Interpreter) -> Failure | None:
    """A failure of something spawned that nobody waited for; that of a detached child is its own, whenever it comes."""
    for spawned in run.asked.spawned.values():
        if isinstance(spawned, ChildNode) and spawned.detached:
            continue
        if isinstance(spawned.outcome, Bad) and not spawned.observed:
            return spawned.outcome.failure
    return None


def _begin(
    run: Interpreter,
    cause: str,
    *,
    scope: str | None = None,
    position: str | None = None,
    failure: Failure | None = None,
    by: Event | None = None,
) -> ev.RollbackStarted:
    own = run.chain.scopes[scope] if scope is not None else None
    return ev.RollbackStarted(
        at=run.now(), cause=cause, number=len(run.chain.rollbacks) + 1, scope=scope, position=position,
        failure=failure, actor=getattr(by, "actor", None), note=getattr(by, "note", None),
        on_irreversible=(own and own.on_irreversible) or run.workflow.on_irreversible,
        on_undo_failure=(own and own.on_undo_failure) or run.workflow.on_undo_failure,
    )  # fmt: skip


def _carried(run: Interpreter, begun: ev.RollbackStarted) -> Iterable[str]:
    """Scopes that were rolled back for the very error that goes on: what they could not undo counts here, too."""
    ending, unheeded = run.ending, tuple[str, ...]()
    if begun.cause == "scope" and begun.scope is not None:
        let_out = run.scopes.due.get(begun.scope)
    elif ending is not None and begun.cause in WHOLE:
        let_out, unheeded = ending.error, ending.scopes
    else:
        return ()
    errors = run.scopes.errors
    left = (scope for error in _chain_of(let_out) if id(error) in errors for scope in errors[id(error)][1])
    return [scope for scope in (*left, *unheeded) if scope != begun.scope]


def _chain_of(error: BaseException | None) -> Iterable[BaseException]:
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        if (one := todo.pop()) is not None and not any(one is other for other in seen):
            seen.append(one)
            todo += [one.__cause__, one.__context__]
    return seen
