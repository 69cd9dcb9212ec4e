"""One call that the engine makes: an attempt of a step, or its check, compensate or undo.

The rule of this file: what is known of a call before it is made. What is called is called.py's to find. A value, whose
key and limits follow from its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from squidmesh.core.calls import NO_OPTIONS, Options
from squidmesh.core.chain import Entry, Rollback
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.handlers import Handler
from squidmesh.core.report import rollback_id
from squidmesh.core.retry import Retry
from squidmesh.core.step import UNDO_RETRY, Step
from squidmesh.core.stepcontext import RollbackInfo
from squidmesh.core.transactions import Transaction
from squidmesh.errors import Cancelled


class CallKind(StrEnum):
    ATTEMPT = "attempt"
    CHECK = "check"
    COMPENSATE = "compensate"
    UNDO = "undo"


def _nowhere(event: Event) -> None:
    raise NotImplementedError(f"nobody records {event.kind} here")


@dataclass(slots=True)
class Trial:
    """What is known of a call that is about to be made. ``failed`` counts those before it that failed.

    ``step`` is today's definition; None for an undo that today's code has no step for. ``save`` and ``tell`` make
    durable at once what the body says while it runs, fenced: they raise ``gone(…)`` when the call is not ours any more.
    """

    run_id: str
    position: str
    step: Any
    number: int
    input: Mapping[str, Any]
    overrides: Options
    progress: Any
    failed: int
    first_at: int
    scheduled_seq: int
    save: Callable[[Any], None]  # store a checkpoint
    tell: Callable[[Event], None] = _nowhere  # record a fact
    kind: CallKind = CallKind.ATTEMPT
    cycle: int = 1  # of a compensate
    failure: Failure | None = None  # that a compensate is given
    entry: Entry | None = None  # that an undo is of
    rollback: RollbackInfo | None = None
    trace: str | None = None  # of the run
    spot: str = ""  # where its span is, if not at its own place
    begun: int = 0
    saved: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the step; of a registered undo that of its function."""
        name: str = self.step.name if self.entry is None else self.entry.step
        return name

    @property
    def told(self) -> str:
        """How messages name this call."""
        kind = "step" if self.entry is None else self.entry.kind
        if isinstance(self.step, Transaction):
            kind = "transaction"
        match self.kind:
            case CallKind.ATTEMPT:
                return f"{kind} {self.name!r}"
            case CallKind.UNDO if kind == "registered":
                return f"undo {self.name!r}"
            case _:
                return f"the {self.kind} of {kind} {self.name!r}"

    @property
    def key(self) -> str:
        """The idempotency key of this call: the same at every attempt."""
        forward = f"{self.run_id}:{self.position}"
        match self.kind:
            case CallKind.COMPENSATE:
                return f"{forward}:compensate:{self.cycle}"
            case CallKind.UNDO:
                return f"{self.run_id}:{self.home}"
            case _:
                return forward

    @property
    def place(self) -> str:
        """Where its span is in the trace of the run (core/trace.py)."""
        match self.kind:
            case CallKind.ATTEMPT:
                return self.spot or f"{self.position}#{self.number}"
            case CallKind.COMPENSATE:
                return f"{self.position}:compensate:{self.cycle}"
            case CallKind.CHECK:
                return self.position
            case CallKind.UNDO:
                return f"undo:{self.entry.id if self.entry else self.position}#{self.number}"

    @property
    def home(self) -> str:
        """The position that its checkpoints are recorded at: an undo's are not the step's own."""
        return self.position if self.entry is None else undo_place(self.entry)

    @property
    def transactional(self) -> bool:
        """Whether it is to be run in the transaction that records it (transacting.py)."""
        match self.kind:
            case CallKind.ATTEMPT:
                return bool(self.step.transactional)
            case CallKind.CHECK:
                return False
            case CallKind.COMPENSATE:
                return bool(self.step.transactional) and not self.is_async
            case CallKind.UNDO:
                assert self.entry is not None
                return self.entry.kind == "transaction" or (self._own is not None and bool(self._own.transactional))

    @property
    def is_async(self) -> bool:
        """Whether it can be awaited beside others."""
        match self.kind:
            case CallKind.ATTEMPT:
                return bool(self.step.is_async)
            case CallKind.CHECK:
                handler: Handler | None = self.step.check_handler
            case CallKind.COMPENSATE:
                handler = self.step.compensate_handler
            case CallKind.UNDO:  # one at a time
                return False
        return handler is not None and handler.is_async

    @property
    def timeout(self) -> float | None:
        """Seconds for the call."""
        if self.kind is CallKind.UNDO:
            return None if self._own is None else self._own.undo_timeout
        own: float | None = self.overrides.timeout or self.step.timeout
        return own

    @property
    def heartbeat_timeout(self) -> float | None:
        own: float | None = self.step.heartbeat_timeout if self.kind is CallKind.ATTEMPT else None
        return own

    @property
    def retry(self) -> Retry | None:
        if self.kind is CallKind.UNDO:
            return UNDO_RETRY if self._own is None else self._own.undo_retry
        own: Retry | None = self.overrides.retry or self.step.retry
        return own

    @property
    def _own(self) -> Step[..., Any] | None:
        """The step that an undo is of; a function or a transaction may have the name of a step."""
        return self.step if self.entry is not None and self.entry.kind == "step" else None


def undo_place(entry: Entry) -> str:
    """Where an undo has its checkpoints, and its task if it has one."""
    return entry.id if entry.kind == "registered" else f"{entry.position}:undo"


def undoing(run_id: str, entry: Entry, rollback: Rollback, step: Any, save: Any, tell: Any, trace: str | None) -> Trial:
    """The call of an entry's undo; ``step`` is today's definition of it, if there is one."""
    begun = rollback.begun
    return Trial(
        run_id=run_id, position=entry.position, step=step, number=entry.attempts, input=entry.input,
        overrides=NO_OPTIONS, progress=entry.progress, failed=entry.spent, first_at=entry.first_at, scheduled_seq=0,
        save=save, tell=tell, kind=CallKind.UNDO, entry=entry, trace=trace,
        rollback=RollbackInfo(
            rollback_id(run_id, rollback.number), begun.cause, begun.failure, begun.actor, begun.note
        ),
    )  # fmt: skip


def gone(run_id: str, step: str) -> Cancelled:
    """What is raised in a step whose worker has lost it: whatever it returns is not recorded."""
    return Cancelled(f"step {step!r} of run {run_id} goes on elsewhere: this worker has lost its lease")
