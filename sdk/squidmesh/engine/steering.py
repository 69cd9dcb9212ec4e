"""How a person holds a run, and ends it before its time: hold, release; cancel, terminate, fail.

The rule of this file: who asks for what is not there, or not possible now, is told what is, and nothing is put down.
"""

from __future__ import annotations

from squidmesh.core import events as ev
from squidmesh.core.report import RollbackReport, prospect
from squidmesh.core.rollback import plan
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known
from squidmesh.engine.post import Asked, person, post
from squidmesh.errors import PastPivot


def hold(engine: Engine, run_id: str, actor: str, note: str | None, key: str | None) -> str:
    """Have nothing new begin until somebody releases the run; what is in flight is recorded."""
    by, why = person("hold", actor, note, noted=False)

    def judge(known: Known) -> Asked | None:
        if known.ended or known.closing:
            raise known.refusal("hold")
        return Asked(ev.RunHeld(actor=by, note=why or None, key=key)) if known.held is None else None

    return post(engine, run_id, "hold", key, judge).row.status


def release(engine: Engine, run_id: str, actor: str, note: str | None, key: str | None) -> str:
    """Let a held run go on, and try one again that is blocked by code or a value."""
    by, why = person("release", actor, note, noted=False)

    def judge(known: Known) -> Asked | None:
        if known.held is None:
            if any(isinstance(event, ev.RunReleased) for event in known.arrived):
                return None
            if not known.wants_code:
                raise known.refusal("release")
        return Asked(ev.RunReleased(actor=by, note=why or None, key=key))

    return post(engine, run_id, "release", key, judge).row.status


def cancel(
    engine: Engine, run_id: str, undo: bool, force: bool, actor: str | None, note: str | None, key: str | None
) -> RollbackReport | None:
    """Ask a run to end: nothing new starts, what is in flight settles, what was done is undone.

    A run that is on its way to its end already goes on as it does. Gives the report of its rollback as it stands: of
    one that walks, else what there is to be undone by now; None where nothing is.
    """
    by, why = person("cancel", actor, note, needed=force)

    def judge(known: Known) -> Asked | None:
        if known.ended:
            raise known.refusal("cancel")
        if known.closing:
            return None
        if undo and not force and (pivot := known.pivot()) is not None:
            raise PastPivot(run_id, known.row.status, pivot.step, pivot.position)
        return Asked(ev.CancelRequested(actor=by or None, note=why or None, key=key, undo=undo, force=force))

    return outlook(post(engine, run_id, "cancel", key, judge))


def terminate(engine: Engine, run_id: str, actor: str, note: str, key: str | None) -> str:
    """End a run at once: nothing is waited for, and nothing undone."""
    by, why = person("terminate", actor, note)

    def judge(known: Known) -> Asked | None:
        if known.ended:
            raise known.refusal("terminate")
        if isinstance(known.ending, ev.RunTerminated):
            return None
        return Asked(ev.RunTerminated(actor=by, note=why, key=key))

    return post(engine, run_id, "terminate", key, judge).row.status


def fail(engine: Engine, run_id: str, undo: bool, actor: str, note: str, key: str | None) -> str:
    """End a run as failed, where a person sees that it cannot go on."""
    by, why = person("fail", actor, note)

    def judge(known: Known) -> Asked:
        if known.ended or known.closing:
            raise known.refusal("fail")
        return Asked(ev.FailRequested(actor=by, note=why, undo=undo, key=key))

    return post(engine, run_id, "fail", key, judge).row.status


def outlook(known: Known) -> RollbackReport | None:
    """The rollback that a command meets, as it stands; or that it leads to, with what that would undo by now."""
    if known.posted is None and known.own is not None:
        return known.report(known.own)
    match known.posted or known.requested or known.ending:
        case ev.RollbackStarted() as begun:
            pass
        case ev.CancelRequested(undo=True, actor=actor, note=note):
            begun = ev.RollbackStarted(cause="cancel", actor=actor, note=note)
        case ev.FailRequested(undo=True, actor=actor, note=note):
            begun = ev.RollbackStarted(cause="failure", actor=actor, note=note)
        case None if known.newest is not None:
            return known.report(known.newest)
        case _:
            return None
    if not plan(known.chain, begun):
        return None
    return prospect(known.chain, begun, known.row.run_id, known.row.workflow)
