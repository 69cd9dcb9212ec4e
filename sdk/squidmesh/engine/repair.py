"""What a person does about a step that the engine must not decide on, and about an undo that has failed.

The rule of this file: each names its step or entry, says who acts and why, and is one event; the run's holder goes on
from there.
"""

from __future__ import annotations

from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.effects import Applied, NotApplied
from squidmesh.core.payloads import Value, size_check
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known
from squidmesh.engine.post import Asked, person, post
from squidmesh.errors import InvalidPayload, PayloadError

# -------------------------------------------------------------------------------------------------------- steps


def resolve_step(
    engine: Engine, run_id: str, step: object, verdict: object, actor: str, note: str, key: str | None
) -> str:
    """Say whether the effect of a step in doubt happened."""
    by, why = person("resolve_step", actor, note)
    if not isinstance(verdict, (Applied, NotApplied)):
        raise ValueError(f"resolve_step: verdict= takes Applied(value) or NotApplied(), not {verdict!r}")

    def judge(known: Known) -> Asked:
        at = known.step("resolve_step", step, list(known.in_doubt) if not known.ended else ())
        match verdict:
            case Applied(value):
                outcome, result = "applied", _stored(engine, known.steps.get(at, ""), at, value)
            case NotApplied():
                outcome, result = "not_applied", None
        return Asked(ev.StepResolved(position=at, outcome=outcome, actor=by, note=why, result=result, key=key))

    return post(engine, run_id, "resolve_step", key, judge).row.status


def retry_step(engine: Engine, run_id: str, step: object, actor: str, note: str, key: str | None) -> str:
    """Try a step again whose failure has blocked its run past a pivot."""
    by, why = person("retry_step", actor, note)

    def judge(known: Known) -> Asked:
        at = known.step("retry_step", step, _stuck(known))
        return Asked(ev.StepRetried(position=at, actor=by, note=why, key=key))

    return post(engine, run_id, "retry_step", key, judge).row.status


def skip_step(engine: Engine, run_id: str, step: object, value: Any, actor: str, note: str, key: str | None) -> str:
    """Go on with a value in place of the result of a step whose failure has blocked its run past a pivot."""
    by, why = person("skip_step", actor, note)

    def judge(known: Known) -> Asked:
        at = known.step("skip_step", step, _stuck(known))
        stored = _stored(engine, known.steps.get(at, ""), at, value)
        return Asked(ev.StepSkipped(position=at, actor=by, note=why, value=stored, key=key))

    return post(engine, run_id, "skip_step", key, judge).row.status


def _stuck(known: Known) -> list[str]:
    return [known.stuck] if known.stuck is not None and not known.ended else []


def _stored(engine: Engine, step: str, position: str, value: Any) -> Any:
    """The JSON form of a value that stands for a step's result; by the step's own type where its code is at hand."""
    told = f"the value for step {step!r} at position {position}"
    definition = engine.code.steps.get(step)
    try:
        stored = (Value(Any, told) if definition is None else definition.result).encode(value)
        size_check(stored, engine.settings.max_payload, told)
    except PayloadError as refused:
        raise InvalidPayload(told, {"value": str(refused)}) from refused
    return stored


# -------------------------------------------------------------------------------------------------------- undos


def undo_retry(engine: Engine, run_id: str, entry: object, actor: str, note: str, key: str | None) -> str:
    """Call an undo again that has failed for good: with a new budget of attempts, under the same key."""
    by, why = person("undo_retry", actor, note)

    def judge(known: Known) -> Asked:
        at = known.entry("undo_retry", entry, known.failed()).id
        return Asked(ev.UndoRetried(entry=at, actor=by, note=why, key=key))

    return post(engine, run_id, "undo_retry", key, judge).row.status


def undo_skip(engine: Engine, run_id: str, entry: object, actor: str, note: str, key: str | None) -> str:
    """Go on without an entry whose undo has failed, or at which the walk stands."""
    by, why = person("undo_skip", actor, note)

    def judge(known: Known) -> Asked:
        at = known.entry("undo_skip", entry, known.skippable()).id
        return Asked(ev.UndoSkipped(entry=at, actor=by, note=why, key=key))

    return post(engine, run_id, "undo_skip", key, judge).row.status


def undo_mark_done(engine: Engine, run_id: str, entry: object, actor: str, note: str, key: str | None) -> str:
    """Say that an entry was undone by hand; of a rollback that is over the report is issued again."""
    by, why = person("undo_mark_done", actor, note)

    def judge(known: Known) -> Asked:
        at = known.entry("undo_mark_done", entry, known.not_undone()).id
        done = ev.EntrySettled(entry=at, state="undone", actor=by, note=why, key=key)
        return Asked(done, reopen=known.row.status if known.ended else None)

    return post(engine, run_id, "undo_mark_done", key, judge).row.status


def undo_abandon(engine: Engine, run_id: str, actor: str, note: str, key: str | None) -> str:
    """End a rollback that stands, as it is: what is left is not undone."""
    by, why = person("undo_abandon", actor, note)

    def judge(known: Known) -> Asked:
        if not known.halted():
            raise known.refusal("undo_abandon")
        return Asked(ev.RollbackAbandoned(actor=by, note=why, key=key))

    return post(engine, run_id, "undo_abandon", key, judge).row.status
