"""What a call leads to, as events: of what its body returned, or raised.

The rule of this file: every call has an outcome. What a body raises is its own failure, unless it is the worker that is
being shut down.
"""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.calls import Call
from squidmesh.core.effects import (
    Applied,
    Cleaned,
    Effect,
    NotApplied,
    NotNeeded,
    RetryStep,
    StillUnknown,
    effect_of,
)
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe, failure_of
from squidmesh.core.payloads import Value, secrets_in, size_check
from squidmesh.core.retry import next_delay
from squidmesh.core.transactions import Transaction
from squidmesh.engine.bodies import Carried
from squidmesh.engine.called import Unfit
from squidmesh.engine.calling import CallKind, Trial
from squidmesh.engine.engine import Engine
from squidmesh.errors import Cancelled, GiveUp, Irreversible, PayloadError

_ANY = Value(Any, "what an undo returned")


def returned(engine: Engine, trial: Trial, value: Any) -> list[Event]:
    """What follows from what a body returned."""
    match trial.kind:
        case CallKind.ATTEMPT:
            return _completed(engine, trial, value)
        case CallKind.CHECK:
            return [_checked(engine, trial, value)]
        case CallKind.COMPENSATE:
            return [_compensated(engine, trial, value)]
        case CallKind.UNDO:
            return [_undone(engine, trial, value)]


def raised(engine: Engine, trial: Trial, error: BaseException, wanted: bool) -> list[Event]:
    """What follows from what a body raised, or what kept it from being called."""
    if isinstance(error, Carried):
        error = error.error
    if shuts_down(error):
        raise error
    now = engine.clock.now()
    match trial.kind:
        case CallKind.ATTEMPT:
            return [_failed(engine, trial, error, wanted)]
        case CallKind.CHECK:
            return [_still_unknown(now, trial, error)]
        case CallKind.COMPENSATE:
            return [_compensated_as("failed", now, trial, failure=_described(trial, error))]
        case CallKind.UNDO:
            return [_not_undone(now, trial, error)]


def shuts_down(error: BaseException) -> bool:
    """Whether the worker is being shut down: not of the step's own making."""
    return any(cls.__name__ == "Interrupt" and cls.__module__.startswith("dramatiq") for cls in type(error).__mro__)


def _described(trial: Trial, error: BaseException, attempts: int = 1) -> Failure:
    if isinstance(error, Unfit):
        error = error.error
    if isinstance(error, asyncio.CancelledError):
        error = RuntimeError(f"{trial.told} cancelled itself{f': {error}' if str(error) else ''}")
    secrets = secrets_in(trial.input) + (secrets_in(trial.entry.result) if trial.entry is not None else ())
    if isinstance(trial.step, Transaction):  # what it lets out is the failure of a step in it
        return failure_of(error, attempts=attempts, secrets=secrets)
    return describe(error, attempts=attempts, secrets=secrets)


def _encoded(engine: Engine, trial: Trial, value: Any) -> Any:
    if isinstance(value, Call):
        raise PayloadError(
            f"the result of step {trial.name!r} cannot be stored: it is a call of {value.told()}, which has not run; "
            "yield that from the workflow"
        )
    result = trial.step.result.encode(value)
    size_check(result, engine.settings.max_payload, f"the result of step {trial.name!r}")
    return result


# ----------------------------------------------------------------------------------------------------- attempts


def _completed(engine: Engine, trial: Trial, value: Any) -> list[Event]:
    now, position = engine.clock.now(), trial.position
    try:
        result = _encoded(engine, trial, value)
    except PayloadError as refused:
        effect = Effect.NONE if trial.step.pure or trial.step.transactional else Effect.APPLIED
        return [_ended(engine, trial, refused, effect)]
    if isinstance(trial.step, Transaction):
        return [ev.TransactionCommitted(at=now, position=position, result=result)]
    return [ev.StepCompleted(at=now, position=position, result=result)]


def _failed(engine: Engine, trial: Trial, error: BaseException, wanted: bool) -> Event:
    """Another attempt later, or the last one; cancelled, if it was not wanted and certainly leaves nothing."""
    step, now = trial.step, engine.clock.now()
    effect = effect_of(error, step)
    unwanted = isinstance(error, Cancelled) and not wanted
    if unwanted and (step.pure or step.transactional):
        return ev.StepCancelled(at=now, position=trial.position)
    unstorable = isinstance(error, PayloadError)  # a checkpoint that no attempt could store
    unsafe = effect is not Effect.NONE and not step.idempotent  # never blindly repeated
    if unwanted or unstorable or unsafe:
        return _ended(engine, trial, error, effect)
    return _ended(engine, trial, error, effect, _again_at(now, trial, error))


def _again_at(now: int, trial: Trial, error: BaseException) -> int | None:
    delay = next_delay(
        trial.retry, attempt=trial.failed + 1, error=error,
        elapsed=(now - (trial.first_at or trial.begun)) / 1e6, luck=random.random(),
    )  # fmt: skip
    return None if delay is None else now + round(delay * 1e6)


def _ended(
    engine: Engine, trial: Trial, error: BaseException, effect: Effect, retry_at: int | None = None
) -> ev.AttemptFailed:
    return ev.AttemptFailed(
        at=engine.clock.now(), position=trial.position, number=trial.number, retry_at=retry_at, effect=effect.value,
        failure=_described(trial, error, trial.failed + 1),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ check, compensate


def _checked(engine: Engine, trial: Trial, value: Any) -> Event:
    now, position = engine.clock.now(), trial.position
    match value:
        case Applied(value=result):
            try:
                stored = _encoded(engine, trial, result)
            except PayloadError as refused:
                return _still_unknown(now, trial, refused)
            return ev.StepChecked(at=now, position=position, outcome="applied", result=stored)
        case NotApplied():
            return ev.StepChecked(at=now, position=position, outcome="not_applied")
        case StillUnknown():
            return ev.StepChecked(at=now, position=position, outcome="still_unknown")
        case _:
            told = f"{trial.told} returns Applied(value), NotApplied() or StillUnknown(), not {type(value).__name__}"
            return _still_unknown(now, trial, TypeError(told))


def _still_unknown(now: int, trial: Trial, error: BaseException) -> Event:
    failure = _described(trial, error)
    return ev.StepChecked(at=now, position=trial.position, outcome="still_unknown", failure=failure)


def _compensated(engine: Engine, trial: Trial, value: Any) -> Event:
    now = engine.clock.now()
    match value:
        case Cleaned(note=note):
            return _compensated_as("cleaned", now, trial, note=note or None)
        case RetryStep(after=after):
            assert not isinstance(after, timedelta)  # it has been made seconds
            return _compensated_as("retry", now, trial, retry_at=now + round(after * 1e6))
        case _:
            try:
                return _compensated_as("completed", now, trial, result=_encoded(engine, trial, value))
            except PayloadError as refused:
                return _compensated_as("failed", now, trial, failure=_described(trial, refused))


def _compensated_as(outcome: str, now: int, trial: Trial, **told: Any) -> Event:
    return ev.CompensateEnded(at=now, position=trial.position, outcome=outcome, cycle=trial.cycle, **told)


# ---------------------------------------------------------------------------------------------------------- undo


def _undone(engine: Engine, trial: Trial, value: Any) -> Event:
    """Whatever an undo returns, the entry is undone; what it says beside is kept as far as it can be."""
    assert trial.entry is not None
    now, entry = engine.clock.now(), trial.entry.id
    if isinstance(value, NotNeeded):
        return ev.UndoCompleted(at=now, entry=entry, number=trial.number, note=value.note or None)
    try:
        result = _ANY.encode(value)
        size_check(result, engine.settings.max_payload, "what an undo returned")
    except PayloadError:
        result = None
    return ev.UndoCompleted(at=now, entry=entry, number=trial.number, result=result)


def _not_undone(now: int, trial: Trial, error: BaseException) -> Event:
    """Another attempt later, or not: then a person chooses."""
    assert trial.entry is not None
    retry_at = None
    match error:
        case Unfit(reason=reason):
            pass
        case GiveUp():
            reason = "gave_up"
        case Irreversible():
            reason = "irreversible"
        case _:
            reason = "timeout" if isinstance(error, TimeoutError) else "error"
            retry_at = _again_at(now, trial, error)
    return ev.UndoFailed(
        at=now, entry=trial.entry.id, number=trial.number, failure=_described(trial, error, trial.failed + 1),
        retry_at=retry_at, reason=reason,
    )  # fmt: skip
