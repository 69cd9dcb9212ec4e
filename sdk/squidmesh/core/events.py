"""The facts of a run's history: one frozen class per kind, past tense.

The rule of this file: an event is a value. ``seq`` (its number in the history, from 1) and ``at`` (microseconds since
the epoch) are 0 until it is recorded. The stored kind is the class name; a field at its default is not stored.
Payloads are JSON values as payloads.py makes them. Later concerns are new classes here, or new fields at the end of a
class; nothing that is recorded is ever changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from squidmesh.core.failure import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    seq: int = 0
    at: int = 0

    @property
    def kind(self) -> str:
        return type(self).__name__


# -------------------------------------------------------------------------------------------------------- run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    workflow: str
    version: int
    input: dict[str, Any]
    interpreter_version: int
    key: str | None = None
    queue: str = "default"
    priority: int = 0
    attributes: dict[str, Any] | None = None
    parent: str | None = None
    start_at: int | None = None
    deadline: int | None = None
    rerun_of: str | None = None
    actor: str | None = None
    note: str | None = None
    tick: int | None = None
    parent_position: str | None = None  # where the parent has it, and on which queue the parent is driven
    parent_queue: str | None = None
    depth: int = 0  # ancestors
    continues: str | None = None  # the run before it, of which it is the successor
    carried: dict[str, Any] | None = None  # what the successor has of that; see ``core.continuing``
    from_position: str | None = None  # of a fork: what precedes it came out in the run that it is a rerun of
    kept: int = 0  # number of the last event that was copied from there; its effects stay that run's to undo
    ancestors: list[dict[str, Any]] = field(default_factory=list)  # see past.py; the oldest first
    trace: str | None = None  # what it hangs under, as a W3C traceparent


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBlocked(Event):
    reason: str
    message: str
    file: str | None = None
    line: int | None = None
    function: str | None = None
    position: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUnblocked(Event):
    code: str | None = None
    actor: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(Event):
    actor: str | None = None
    note: str | None = None
    key: str | None = None
    undo: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FailRequested(Event):
    """A person wants the run to end as failed."""

    actor: str
    note: str
    undo: bool = True
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCompleted(Event):
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Event):
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled(Event):
    actor: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUndone(Event):
    """A run that had completed was rolled back."""

    actor: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerminated(Event):
    actor: str
    note: str
    key: str | None = None


# ------------------------------------------------------------------------------------------------------- step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScheduled(Event):
    position: str
    step: str
    input: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    elsewhere: bool = False  # a task row has it; else the holder of the run drives it
    traits: list[str] = field(default_factory=list)  # what the code said of its effect: see ``Trait``
    undo: str | None = None  # of a transaction: its undo and its own function, ``module:undo(module:function)``
    call: str = "attempt"  # when it is scheduled again, as a task: what is to be called; check, compensate


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    position: str
    number: int = 1
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    position: str
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Event):
    position: str
    number: int = 1
    failure: Failure
    retry_at: int | None = None  # None: the attempts are spent
    effect: str = "none"  # see ``Effect``


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLost(Event):
    position: str
    number: int = 1
    worker: str = ""
    final: bool = False  # the attempts are spent


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompleted(Event):
    position: str
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    position: str
    failure: Failure
    effect: str = "none"  # see ``Effect``: what may be left of it


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCancelled(Event):
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInDoubt(Event):
    """Nobody knows whether its effect happened, and it must not be tried again: a person says (``resolve_step``)."""

    position: str
    failure: Failure
    effect: str = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChecked(Event):
    """What ``check`` answered: ``applied``, ``not_applied``, ``still_unknown`` (also when it failed itself)."""

    position: str
    outcome: str
    result: Any = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensateStarted(Event):
    position: str
    cycle: int = 1
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensateEnded(Event):
    """What ``compensate`` did: ``completed``, ``cleaned``, ``retry`` (at ``retry_at``), ``failed``, or ``lost``."""

    position: str
    outcome: str
    cycle: int = 1
    result: Any = None
    note: str | None = None
    retry_at: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetried(Event):
    position: str
    actor: str
    note: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped(Event):
    position: str
    actor: str
    note: str
    value: Any = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResolved(Event):
    """A person knows whether a step in doubt was ``applied`` (then with its result) or ``not_applied``."""

    position: str
    outcome: str
    actor: str
    note: str
    result: Any = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRegistered(Event):
    """``add_undo``: at the position of its command, or of the step that registered it; ``number`` counts there."""

    position: str
    number: int
    function: str  # module:name
    input: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMarkedIrreversible(Event):
    position: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionCommitted(Event):
    """A group of transactional steps has completed, with all that was recorded beside it."""

    position: str
    result: Any = None


# -------------------------------------------------------------------------------------------- scopes, rollbacks


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeEntered(Event):
    scope: str  # "1" for the first that the run enters
    name: str
    position: str  # of the next command
    parent: str | None = None
    commit: bool = False
    on_irreversible: str | None = None
    on_undo_failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeLeft(Event):
    scope: str
    position: str  # of the next command
    failed: bool = False  # by an exception: it will be rolled back


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackStarted(Event):
    """``number`` counts the rollbacks of the run, from 1; 0 while an operator's request is not yet taken up."""

    cause: str  # failure, cancel, operator, scope, race, parent
    number: int = 0
    scope: str | None = None
    position: str | None = None  # of the race, or of the command that asked for it
    failure: Failure | None = None
    actor: str | None = None
    note: str | None = None
    on_irreversible: str = "report"
    on_undo_failure: str = "halt"
    key: str | None = None
    asked_by: str | None = None  # the run whose rollback has come to this one; its entry, and its queue
    asked_entry: str | None = None
    asked_queue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackPlanned(Event):
    number: int
    entries: list[str] = field(default_factory=list)  # their ids, in the order of the walk


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoStarted(Event):
    entry: str
    number: int = 1
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoFailed(Event):
    entry: str
    number: int
    failure: Failure
    retry_at: int | None = None  # None: final
    reason: str = "error"  # error, timeout, lost, gave_up, handler_missing, payload; irreversible: it found so


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoCompleted(Event):
    entry: str
    number: int = 1
    result: Any = None
    note: str | None = None  # of NotNeeded


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRetried(Event):
    entry: str
    actor: str
    note: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoSkipped(Event):
    entry: str
    actor: str
    note: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoHalted(Event):
    """The walk stands until a person chooses: at an ``entry``, or (None) at its end, with failed ones behind it."""

    number: int
    reason: str  # undo_failed, undo_halted
    entry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySettled(Event):
    """What became of an entry: ``state`` undone, irreversible, failed, unaccounted or skipped."""

    entry: str
    state: str
    reason: str | None = None
    actor: str | None = None
    note: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackAbandoned(Event):
    actor: str
    note: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackEnded(Event):
    number: int
    outcome: str  # clean, partial, refused, abandoned
    revision: int = 1


# ------------------------------------------------------------------------------------ messages, people, children


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalAwaited(Event):
    position: str
    name: str
    due: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalReceived(Event):
    """A message has arrived. The run's messages are numbered from 1 in the order of these events."""

    name: str
    payload: Any = True
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalTaken(Event):
    position: str
    name: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRejected(Event):
    """A message did not fit what waited for it; it is put aside, and the wait goes on."""

    name: str
    number: int
    message: str
    position: str | None = None
    actor: str | None = None  # of a payload that a pause was to be resumed with, as is
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSent(Event):
    """``delivered``: False when the other run had ended, or never was."""

    position: str
    run_id: str
    name: str
    payload: Any = True
    delivered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOpened(Event):
    position: str
    gate: str  # pause, approval
    name: str
    needed: int = 1
    due: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCast(Event):
    position: str
    actor: str
    approved: bool
    note: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDecided(Event):
    position: str
    approved: bool = True
    payload: Any = None
    actor: str | None = None
    note: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateExpired(Event):
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeld(Event):
    actor: str
    note: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReleased(Event):
    actor: str
    note: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStarted(Event):
    """``joined``: its key belonged to a run that was there already."""

    position: str
    run_id: str
    workflow: str
    input: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    joined: bool = False
    version: int = 1
    queue: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCancelRequested(Event):
    """This run does not need the child any more; what that has done is undone."""

    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnded(Event):
    """``outcome`` is the status that it ended with; ``rollback`` its newest report, as JSON.

    ``effects``: something that it did is there, and could be undone or must be answered for.
    """

    position: str
    run_id: str
    outcome: str
    result: Any = None
    failure: Failure | None = None
    rollback: dict[str, Any] | None = None
    effects: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJoined(Event):
    """Another run waits for this one, by its key."""

    run_id: str
    position: str
    queue: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDeferred(Event):
    position: str
    run_id: str
    workflow: str
    input: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    queue: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContinued(Event):
    run_id: str  # of the successor
    workflow: str
    version: int
    input: dict[str, Any] = field(default_factory=dict)
    queue: str = "default"


# ------------------------------------------------------------------------------------------- time, races, notes


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSet(Event):
    position: str
    due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerCancelled(Event):
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceWon(Event):
    position: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePublished(Event):
    position: str
    name: str
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLogged(Event):
    position: str
    message: str
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTaken(Event):
    position: str  # of the next command
    name: str


ALL: tuple[type[Event], ...] = tuple(
    cls for cls in list(globals().values()) if isinstance(cls, type) and issubclass(cls, Event) and cls is not Event
)
BY_KIND: dict[str, type[Event]] = {cls.__name__: cls for cls in ALL}

__all__ = [  # noqa: RUF022 - in the order of the file
    "Event",
    "RunStarted",
    "RunBlocked",
    "RunUnblocked",
    "CancelRequested",
    "FailRequested",
    "RunCompleted",
    "RunFailed",
    "RunCancelled",
    "RunUndone",
    "RunTerminated",
    "StepScheduled",
    "AttemptStarted",
    "CheckpointSaved",
    "AttemptFailed",
    "AttemptLost",
    "StepCompleted",
    "StepFailed",
    "StepCancelled",
    "StepInDoubt",
    "StepChecked",
    "CompensateStarted",
    "CompensateEnded",
    "StepRetried",
    "StepSkipped",
    "StepResolved",
    "UndoRegistered",
    "StepMarkedIrreversible",
    "TransactionCommitted",
    "ScopeEntered",
    "ScopeLeft",
    "RollbackStarted",
    "RollbackPlanned",
    "UndoStarted",
    "UndoFailed",
    "UndoCompleted",
    "UndoRetried",
    "UndoSkipped",
    "UndoHalted",
    "EntrySettled",
    "RollbackAbandoned",
    "RollbackEnded",
    "SignalAwaited",
    "SignalReceived",
    "SignalTaken",
    "SignalRejected",
    "SignalSent",
    "GateOpened",
    "VoteCast",
    "GateDecided",
    "GateExpired",
    "RunHeld",
    "RunReleased",
    "ChildStarted",
    "ChildCancelRequested",
    "ChildEnded",
    "RunJoined",
    "StepDeferred",
    "RunContinued",
    "TimerSet",
    "TimerFired",
    "TimerCancelled",
    "RaceWon",
    "ValuePublished",
    "MessageLogged",
    "PatchTaken",
]
