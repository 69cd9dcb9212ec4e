"""Every error that Squid Mesh raises, drawn once.

MeshError
├── DefinitionError            a workflow or step is declared wrongly
├── InvalidPayload             (ValueError) arguments, signals or results do not fit their types
├── PayloadError               a value cannot be stored
├── KeyConflict                the key belongs to a run with other input
├── RunNotFound                no run has this id
├── ScheduleNotFound           no schedule has this name
├── IllegalState               the run cannot do that now
│   └── PastPivot              it can only go forward (``force=True`` overrides)
├── NoSuchEntry                no step or entry of the run has this name or position, or several have
├── NothingOpen                no gate of the run is open for this, or not any more
├── NothingToUndo              nothing of the run is there to be undone
├── UnsafeRerun                an irreversible step would run again
├── OwnedByParent              a child run is rolled back with its parent
├── NotSettled                 a scope has no report yet
├── NotMigrated                the database has no, or another, schema
├── ConfigurationError         a setting cannot work: a wrong URL, a missing driver
├── StoreUnavailable           the database cannot be reached, or does not answer
├── RunEnded                   the run has no result to give
│   ├── RunFailed
│   ├── RunCancelled
│   ├── RunTerminated
│   └── RunUndone
├── RunBlocked                 the run cannot go on by itself
├── NonDeterminism             the code no longer yields what the history says
└── WorkflowError              what a workflow may let out: it ends the run as failed
    ├── StepFailed
    ├── ChildFailed
    ├── GatherFailed
    └── DeadlineExceeded

Raised inside a step to steer its attempts: RetryAfter, GiveUp (Exception); to say what its effect is: PartialEffect,
EffectUnknown; in an undo: Irreversible. Cancelled is a BaseException.
The rule of this file: ``str()`` of each says what happened, to which run and step, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from squidmesh.core.failure import Failure


class MeshError(Exception):
    """The root of all errors of Squid Mesh."""


class DefinitionError(MeshError):
    """A workflow or step is declared, or used, in a way that cannot work."""


class InvalidPayload(MeshError, ValueError):
    """Values do not fit the declared types.

    ``errors`` maps the path of each field that is wrong to what is wrong with it.
    """

    def __init__(self, what: str, errors: Mapping[str, str]) -> None:
        self.what = what
        self.errors = dict(errors)
        lines = "".join(f"\n  {path}: {problem}" for path, problem in self.errors.items())
        super().__init__(f"{what} does not fit its declared types:{lines}")


class PayloadError(MeshError):
    """A value cannot be stored: it is too large, has no JSON form, or its declared type refuses it."""


class KeyConflict(MeshError):
    """The key belongs to a run that was started with another input or workflow."""

    def __init__(self, run_id: str, key: str, why: str) -> None:
        self.run_id = run_id
        self.key = key
        super().__init__(
            f"key {key!r} belongs to run {run_id}, which {why}; start with another key, "
            f"or look at that run with mesh.handle({run_id!r})"
        )


class RunNotFound(MeshError, LookupError):
    """No run has this id (or key) in this database: there never was one, or it was pruned after its end."""

    def __init__(
        self,
        wanted: str,
        hint: str = "check the id, and that the mesh uses the right database; if it had ended, it may have been pruned",
    ) -> None:
        self.wanted = wanted
        super().__init__(f"no run {wanted!r}: {hint}")


class ScheduleNotFound(MeshError, LookupError):
    """No schedule has this name in this database; it may have been deleted."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no schedule {name!r}: it was deleted, or never made; mesh.schedules() has those there are")


class IllegalState(MeshError):
    """The run cannot do what was asked in the state it is in. ``allowed``: the commands that would do something now."""

    def __init__(self, run_id: str, status: str, command: str, allowed: tuple[str, ...] = (), why: str = "") -> None:
        self.run_id, self.status, self.command, self.allowed, self.why = run_id, status, command, allowed, why
        can = f"allowed now: {', '.join(allowed)}" if allowed else "nothing can be done to it any more"
        because = f", for {why}" if why else ""
        super().__init__(f"run {run_id} is {status}: {command} is not possible{because}; {can}")


class PastPivot(IllegalState):
    """A pivot step has completed: the run can only go forward."""

    def __init__(self, run_id: str, status: str, step: str, position: str) -> None:
        self.step, self.position = step, position
        super().__init__(
            run_id, f"{status}, past its pivot `{step}` at position {position}", "cancel", ("cancel(force=True)",)
        )


class NoSuchEntry(MeshError, LookupError):
    """No step or entry has this name or position, or more than one has. ``candidates`` are those that there are."""

    def __init__(self, run_id: str, wanted: str, candidates: tuple[str, ...], what: str = "entry") -> None:
        self.run_id, self.wanted, self.candidates = run_id, wanted, candidates
        there = f"there are: {', '.join(candidates)}" if candidates else "there is none"
        which = f"{what} {wanted!r}" if wanted else what
        super().__init__(f"run {run_id} has no single {which} for this; {there} (name one by its position)")


class NothingOpen(MeshError, LookupError):
    """Nothing is open at which this could be said. ``told``: what there was and how it came out, and what there is."""

    def __init__(self, run_id: str, status: str, command: str, told: tuple[str, ...] = ()) -> None:
        self.run_id, self.status, self.command, self.told = run_id, status, command, told
        there = "; ".join(told) or "it has come to no gate of this kind yet"
        super().__init__(f"run {run_id} is {status}: there is nothing to {command}; {there}")


class NothingToUndo(MeshError):
    """Nothing of the run is there to be undone; the message says why."""

    def __init__(self, run_id: str, why: str) -> None:
        self.run_id, self.why = run_id, why
        super().__init__(f"nothing of run {run_id} can be undone: {why}")


class UnsafeRerun(MeshError):
    """A rerun would run irreversible steps again. ``steps`` names them, as ``name at position``."""

    def __init__(self, run_id: str, steps: tuple[str, ...]) -> None:
        self.run_id, self.steps = run_id, steps
        super().__init__(
            f"a rerun of run {run_id} would run irreversible steps again: {', '.join(steps)}; if that is meant, "
            "rerun(allow_irreversible=True, actor=…, note=…)"
        )


class OwnedByParent(MeshError):
    """The run is a child whose parent has used it: it is rolled back with its parent, or with ``force=True``."""

    def __init__(self, run_id: str, parent: str) -> None:
        self.run_id, self.parent = run_id, parent
        super().__init__(
            f"run {run_id} is a child of run {parent}, which has used its result: roll that one back, "
            "or this one alone with rollback(force=True, …)"
        )


class NotSettled(MeshError):
    """A scope has no report: it was not rolled back, or not to its end."""


class NotMigrated(MeshError):
    """The database has no schema of Squid Mesh, or one of another revision."""


class ConfigurationError(MeshError):
    """A setting cannot work: a URL that is none, a driver that is not installed."""


class StoreUnavailable(MeshError):
    """The database cannot be reached, or has not answered for too long."""


class FailedByOperator(MeshError):
    """A person ended the run as failed; stored as the type of the run's failure."""


class WorkerLost(MeshError):
    """The worker of an attempt is gone; stored as the type of a step's failure when too many were lost."""


class NonDeterminism(MeshError):
    """The workflow's code yields something else than its history recorded at that position."""

    def __init__(self, position: str, expected: str, got: str, file: str, line: int) -> None:
        self.position, self.expected, self.got, self.file, self.line = position, expected, got, file, line
        where = f"{file}:{line}" if file else "the code"
        super().__init__(f"history has {expected} at position {position}; {where} now {got}")


class RunEnded(MeshError):
    """The run is over and has no result to give."""

    def __init__(self, run_id: str, message: str) -> None:
        self.run_id = run_id
        super().__init__(message)


class RunFailed(RunEnded):
    """The run failed. ``failure`` says why."""

    def __init__(self, run_id: str, failure: Failure, rollback: Any = None, *, step: str = "") -> None:
        self.failure = failure
        self.rollback = rollback
        super().__init__(
            run_id,
            f"run {run_id} failed: {failure}{step}{_left(rollback)}; "
            f"mesh.handle({run_id!r}).history() shows how it got there",
        )


class RunCancelled(RunEnded):
    def __init__(self, run_id: str, note: str | None = None, rollback: Any = None) -> None:
        self.note = note
        self.rollback = rollback
        super().__init__(run_id, f"run {run_id} was cancelled{f': {note}' if note else ''}{_left(rollback)}")


class RunTerminated(RunEnded):
    def __init__(self, run_id: str, note: str | None = None) -> None:
        self.note = note
        super().__init__(run_id, f"run {run_id} was terminated{f': {note}' if note else ''}")


class RunUndone(RunEnded):
    def __init__(self, run_id: str, rollback: Any = None) -> None:
        self.rollback = rollback
        super().__init__(run_id, f"run {run_id} had completed and was undone later{_left(rollback)}")


def _left(rollback: Any) -> str:
    """What a rollback achieved, where that is not all of it."""
    return f"; {rollback}" if rollback is not None and rollback.outcome != "clean" else ""


class RunBlocked(MeshError):
    """The run cannot go on by itself; nothing of it is lost. ``explanation`` says what it needs."""

    def __init__(self, run_id: str, explanation: Any) -> None:
        self.run_id = run_id
        self.explanation = explanation
        super().__init__(f"run {run_id} is blocked: {getattr(explanation, 'summary', explanation)}")


# ---------------------------------------------------------------------------------------- raised into workflows


class WorkflowError(MeshError):
    """Derive from this what a workflow may raise to end its run as failed."""


class StepFailed(WorkflowError):
    """A step failed for good. ``failure`` is what its last attempt raised."""

    def __init__(self, step: str, position: str, failure: Failure) -> None:
        self.step, self.position, self.failure = step, position, failure
        super().__init__(f"step {step!r} at position {position} failed: {failure}")


class ChildFailed(WorkflowError):
    """A child run ended without a result."""

    def __init__(self, run_id: str, workflow: str, failure: Failure, rollback: Any = None) -> None:
        self.run_id, self.workflow, self.failure, self.rollback = run_id, workflow, failure, rollback
        super().__init__(f"child run {run_id} of {workflow!r} failed: {failure}")


class GatherFailed(WorkflowError):
    """At least one member of a ``gather`` or ``fan_out`` failed; both dicts are by index of the member."""

    def __init__(self, failures: Mapping[int, Failure], results: Mapping[int, Any], position: str = "") -> None:
        self.failures, self.results, self.position = dict(failures), dict(results), position
        first = next(iter(self.failures.items()), None)
        told = f"; the first, member {first[0]}: {first[1]}" if first else ""
        super().__init__(
            f"{len(self.failures)} of the members at position {position} failed ({len(self.results)} completed){told}"
        )


class DeadlineExceeded(WorkflowError):
    """The run's deadline passed before it had ended."""


# --------------------------------------------------------------------------------------------- raised in steps


class RetryAfter(Exception):
    """Raise in a step: this attempt failed; try again after ``delay`` (seconds or timedelta). Uses an attempt."""

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        self.delay = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
        if not 0 <= self.delay < float("inf"):
            raise ValueError(f"RetryAfter takes a delay of zero or more seconds, not {delay!r}")
        self.reason = reason
        super().__init__(reason or f"asked to be tried again after {self.delay:g} s")


class GiveUp(Exception):
    """Raise in a step: this attempt failed, and no other would succeed."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "gave up")


class PartialEffect(Exception):
    """Raise in a step: it failed, and a part of its effect is there. ``data`` (JSON) says which."""

    def __init__(self, data: Any = None) -> None:
        self.data = data
        super().__init__(f"a part of the effect is there: {data!r}" if data is not None else "a part of it is there")


class EffectUnknown(Exception):
    """Raise in a step: it failed, and nobody knows whether its effect happened."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "nobody knows whether it happened")


class Irreversible(Exception):
    """Raise in an undo: it turns out that this cannot be undone."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "cannot be undone")


class Cancelled(BaseException):
    """Raised by ``context().heartbeat()`` in a step whose run was cancelled or which has lost its race."""
