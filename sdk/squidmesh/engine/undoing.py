"""The rollback of a run that has ended, because a person wants it.

The rule of this file: what is armed is undone once. Nothing is put down where nothing can be undone, and that says why.
"""

from __future__ import annotations

from typing import get_args

from squidmesh.core import events as ev
from squidmesh.core.deterministic import instant
from squidmesh.core.effects import Trait
from squidmesh.core.events import Event
from squidmesh.core.report import RollbackReport, prospect
from squidmesh.core.rollback import plan
from squidmesh.core.status import RunStatus
from squidmesh.core.workflow import OnIrreversible
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known, look
from squidmesh.engine.post import Asked, person, post
from squidmesh.engine.steering import outlook
from squidmesh.errors import NothingToUndo, OwnedByParent, RunNotFound


def rollback(
    engine: Engine,
    run_id: str,
    dry_run: bool,
    force: bool,
    on_irreversible: str | None,
    actor: str | None,
    note: str | None,
    key: str | None,
) -> RollbackReport:
    """Undo what a run has done that is over. Gives the report of a rollback that walks already, or of what is to come.

    With ``dry_run`` nothing is put down: what a rollback would meet, of whatever run, if it began now.
    """
    if on_irreversible is not None and on_irreversible not in get_args(OnIrreversible):
        known_words = ", ".join(map(repr, get_args(OnIrreversible)))
        raise ValueError(f"rollback: on_irreversible= is one of {known_words}, not {on_irreversible!r}")
    by, why = person("rollback", actor, note, needed=not dry_run)

    def begun(known: Known) -> ev.RollbackStarted:
        workflow = engine.code.workflows.get((known.row.workflow, known.row.version))
        return ev.RollbackStarted(
            cause="operator", actor=by or None, note=why or None, key=key,
            on_irreversible=on_irreversible or (workflow.on_irreversible if workflow else "report"),
            on_undo_failure=workflow.on_undo_failure if workflow else "halt",
        )  # fmt: skip

    if dry_run:
        known = look(engine, run_id)
        if (walking := known.own) is not None:
            return known.report(walking)
        _something_to_undo(engine, known)
        return prospect(known.chain, begun(known), run_id, known.row.workflow)

    def judge(known: Known) -> Asked | None:
        if known.own is not None or known.requested is not None:
            return None
        if not known.ended:
            raise known.refusal("rollback")
        if known.row.parent is not None and not force and _used_by(engine, known.row.parent, known.row.run_id):
            raise OwnedByParent(run_id, known.row.parent)
        _something_to_undo(engine, known)
        return Asked(begun(known), reopen=RunStatus.UNDOING.value)

    stands = outlook(post(engine, run_id, "rollback", key, judge))
    assert stands is not None
    return stands


def _used_by(engine: Engine, parent: str, child: str) -> bool:
    """Whether a run has gone on with what its child gave; not so with one that is detached, or has failed."""
    try:
        entries = look(engine, parent).chain.entries.values()
    except RunNotFound:  # it is not kept any more
        return False
    return any(entry.child == child and entry.certain for entry in entries)


def _something_to_undo(engine: Engine, known: Known) -> None:
    """:raises NothingToUndo: nothing is armed, or not any more."""
    row, chain = known.row, known.chain
    workflow = engine.code.workflows.get((row.workflow, row.version))
    kept = workflow.undo_retention if workflow is not None else None
    if kept is not None and chain.ended is not None:
        until = chain.ended.at + round(kept * 1e6)
        if until <= engine.clock.now():
            passed = f"{instant(until):%Y-%m-%d %H:%M:%S} UTC"
            raise NothingToUndo(row.run_id, f"its undo_retention of {kept:g} s passed at {passed}")
    if not plan(chain, ev.RollbackStarted(cause="operator")):
        raise NothingToUndo(row.run_id, _why_nothing(known))


def _why_nothing(known: Known) -> str:
    over = [rollback for rollback in known.chain.rollbacks if rollback.settled]
    if over:
        numbers = ", ".join(str(rollback.number) for rollback in over)
        by = f"rollback{'s' if len(over) > 1 else ''} {numbers} of it"
        if left := known.not_undone():
            told = ", ".join(f"{entry.step} at {entry.id}" for entry in left)
            return (
                f"{by} settled all it had done; what is left ({told}) is a person's: undo_mark_done says it is undone"
            )
        return f"all of it was undone already, by {by}"
    first = known.history[0]
    if isinstance(first, ev.RunStarted) and first.kept and not known.chain.entries.keys() - _kept(known):
        return f"what precedes position {first.from_position} is for run {first.rerun_of} to undo, and no more was done"
    done = [event for event in known.events if isinstance(event, (ev.StepCompleted, ev.TransactionCommitted))]
    if not done:
        return "none of its steps has completed"
    return "all that has completed are pure steps, which only read" if _all_pure(known.events) else "nothing is armed"


def _kept(known: Known) -> set[str]:
    return {entry.id for entry in known.chain.entries.values() if known.chain.inherited(entry)}


def _all_pure(events: list[Event]) -> bool:
    return all(Trait.PURE in event.traits for event in events if isinstance(event, ev.StepScheduled))
