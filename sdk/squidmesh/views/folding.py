"""A history folded to where its run stands: the steps with their attempts, the open timers, the end.

The rule of this file: it takes any events in any order that a database can give, and never raises. An event
applied twice does no harm, so what is read from history and inbox, one after the other, may overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from squidmesh.core import events as ev
from squidmesh.core.chain import NOTHING_TO_UNDO, Chain
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import loads
from squidmesh.core.status import CODE_REASONS, SETTLED, Reason, StepStatus
from squidmesh.ports import TaskRow
from squidmesh.views.children import Child, take_in
from squidmesh.views.outside import Outside

AttemptOutcome = Literal["completed", "failed", "lost", "cancelled"]
CompensateOutcome = Literal["completed", "cleaned", "retry", "failed", "lost"]
RunEnd = ev.RunCompleted | ev.RunFailed | ev.RunCancelled | ev.RunTerminated | ev.RunContinued


@dataclass(slots=True)
class Attempt:
    """One try of a step; ``outcome`` is None while it runs."""

    number: int
    started_at: int
    worker: str | None
    ended_at: int | None = None
    outcome: AttemptOutcome | None = None
    failure: Failure | None = None

    def end(self, at: int, outcome: AttemptOutcome, failure: Failure | None = None) -> None:
        if self.outcome is None:
            self.ended_at, self.outcome, self.failure = at, outcome, failure


@dataclass(slots=True)
class Compensation:
    """One cycle of a step's compensate; ``outcome`` is None while it runs."""

    cycle: int
    started_at: int
    worker: str | None
    ended_at: int | None = None
    outcome: CompensateOutcome | None = None
    failure: Failure | None = None
    note: str | None = None


@dataclass(slots=True)
class Step:
    """A step as scheduled, and what became of it so far.

    ``spent``: no attempt is left, and what may be there of its effect is being found out.
    """

    position: str
    name: str
    input: dict[str, Any]
    elsewhere: bool
    scheduled_at: int
    traits: list[str]
    timeout: float | None  # of an attempt, where the workflow gave one for this use
    status: StepStatus = StepStatus.SCHEDULED
    attempts: dict[int, Attempt] = field(default_factory=dict)
    result: Any = None
    failure: Failure | None = None
    progress: Any = None
    retry_at: int | None = None
    task: TaskRow | None = None  # while somebody must still pick it up, or has done so
    spent: bool = False
    effect: str | None = None  # of a step that has failed, or is in doubt: what may be left of it
    doubted_at: int | None = None
    compensations: dict[int, Compensation] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        return self.status in SETTLED

    @property
    def latest(self) -> Attempt | None:
        return self.attempts[max(self.attempts)] if self.attempts else None

    def apply(self, event: Event) -> None:
        """Take in one event of this position."""
        match event:
            case ev.AttemptStarted():
                self._begin(event.number, event.at, event.worker)
            case ev.StepCompleted() | ev.TransactionCommitted():
                self._settle(StepStatus.COMPLETED, event.at, "completed")
                self.result, self.failure, self.effect = event.result, None, None
            case ev.CheckpointSaved():
                self.progress = event.value
            case ev.AttemptFailed():
                self._attempt(event.number, event.at).end(event.at, "failed", event.failure)
                self._again(event.number, event.retry_at, event.retry_at is None)
            case ev.AttemptLost():
                self._attempt(event.number, event.at, event.worker).end(event.at, "lost")
                self._again(event.number, None, event.final)
            case ev.StepFailed():
                self._settle(StepStatus.FAILED, event.at, "failed", event.failure)
                self.failure, self.effect = event.failure, event.effect
            case ev.StepCancelled() if not self.settled:
                self._settle(StepStatus.CANCELLED, event.at, "cancelled")
            case ev.StepSkipped():
                self._settle(StepStatus.SKIPPED, event.at, "cancelled")
                self.result = event.value
            case _:
                self._settling(event)

    def _settling(self, event: Event) -> None:
        """What handlers and people say of it, from its last attempt to its end; a person may have it tried again."""
        match event:
            case ev.CompensateStarted() if not self.settled:
                self.status, known = StepStatus.COMPENSATING, self.compensations.get(event.cycle)
                if known is None or known.outcome == "lost":
                    self.compensations[event.cycle] = Compensation(event.cycle, event.at, event.worker or None)
            case ev.CompensateEnded():
                call = self.compensations.setdefault(event.cycle, Compensation(event.cycle, event.at, None))
                call.ended_at, call.outcome = event.at, event.outcome  # type: ignore[assignment]
                call.failure, call.note = event.failure, event.note
                if event.outcome == "retry" and not self.settled:
                    self.status, self.retry_at, self.spent = StepStatus.RETRYING, event.retry_at, False
            case ev.StepInDoubt() if not self.settled:
                self.status, self.task, self.doubted_at = StepStatus.IN_DOUBT, None, event.at
                self.failure, self.effect = event.failure, event.effect
            case ev.StepResolved() if self.status is StepStatus.IN_DOUBT:
                self.status = StepStatus.RUNNING  # until its end is recorded
            case ev.StepRetried() if self.status is StepStatus.FAILED:
                self.status, self.spent, self.failure, self.effect = StepStatus.RETRYING, False, None, None
            case _:
                pass

    def place(self, task: TaskRow) -> None:
        """Take in the task row that the step has; an older one than the events says nothing new."""
        latest, number, call = self.latest, attempts_of(task), call_of(task)
        claimed = task.worker is not None
        if self.settled or (latest is not None and number < latest.number and call is None):
            return
        if call is not None:
            self._called(task, call)
            return
        if claimed and latest is not None and number == latest.number and latest.outcome is not None:
            return  # it was read before the attempt was reported
        self.task = task
        if task.progress is not None:
            self.progress = loads(task.progress)
        if claimed:
            self._begin(number, task.claimed_at or task.due_at, task.worker)
        elif number:
            self.status, self.retry_at = StepStatus.RETRYING, task.due_at

    def _called(self, task: TaskRow, call: str) -> None:
        """The task is no attempt, but a call of its check or compensate."""
        if not self.spent or self.status is StepStatus.IN_DOUBT:
            return  # it was read before that was over
        self.task = task
        if call == "compensate":
            self.status = StepStatus.COMPENSATING

    def _begin(self, number: int, at: int, worker: str | None) -> None:
        if number not in self.attempts:
            self.attempts[number] = Attempt(number, at, worker or None)
            if not self.settled:
                self.status, self.retry_at, self.spent = StepStatus.RUNNING, None, False

    def _attempt(self, number: int, at: int, worker: str = "") -> Attempt:
        return self.attempts.setdefault(number, Attempt(number, at, worker or None))

    def _again(self, number: int, retry_at: int | None, final: bool) -> None:
        if self.settled or max(self.attempts) != number:
            return
        if final:
            self.status, self.retry_at, self.spent, self.task = StepStatus.RUNNING, None, True, None
        else:
            self.status, self.retry_at = StepStatus.RETRYING, retry_at

    def _settle(self, status: StepStatus, at: int, outcome: AttemptOutcome, failure: Failure | None = None) -> None:
        self.status, self.retry_at, self.task, self.spent = status, None, None, False
        if (latest := self.latest) is not None:
            latest.end(at, outcome, failure)


@dataclass(slots=True)
class Folded:
    """A run's history, folded. ``timers`` are those that are open; ``last`` is the newest event.

    ``end`` is how it ended, also of a run that is rolled back later: it is ``reopened`` until it has ended again.
    """

    started: ev.RunStarted | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    timers: dict[str, ev.TimerSet] = field(default_factory=dict)
    blocked: ev.RunBlocked | None = None
    cancel: ev.CancelRequested | ev.FailRequested | ev.RunTerminated | None = None
    expired: bool = False  # its own deadline has passed
    end: RunEnd | None = None
    undone: ev.RunUndone | None = None
    reopened: bool = False
    acted: bool = False  # a person's word waits for the run's holder
    undos: dict[str, ev.UndoStarted | ev.UndoFailed] = field(default_factory=dict)  # the latest of each entry
    chain: Chain = field(default_factory=Chain)
    outside: Outside = field(default_factory=Outside)
    children: dict[str, Child] = field(default_factory=dict)  # by position
    last: Event | None = None

    def apply(self, event: Event) -> None:
        """Take in one event."""
        self.last, kind = event, type(event)
        if kind not in NOTHING_TO_UNDO:
            self.chain.apply(event)
        if kind in OF_AN_ATTEMPT:  # as most are
            if (step := self.steps.get(event.position)) is not None:  # type: ignore[attr-defined]
                step.apply(event)
            return
        if kind is ev.StepScheduled:
            self._schedule(event)  # type: ignore[arg-type]
            return
        self.outside.apply(event)
        match event:
            case ev.RunStarted():
                self.started = event
            case ev.RunBlocked():
                self.blocked = event
            case ev.RunUnblocked():
                self.blocked = None
            case ev.RunTerminated(seq=0):
                self.cancel, self.acted = event, True  # it ends when its holder has looked
            case ev.CancelRequested() | ev.FailRequested():
                self.cancel, self.blocked = event, None  # what is broken is not needed any more
                self._act(event)
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunTerminated() | ev.RunContinued():
                self.end, self.reopened = event, False
            case ev.RunUndone():
                self.undone, self.reopened = event, False
            case ev.TimerSet() | ev.TimerFired() | ev.TimerCancelled():
                self._time(event)
            case ev.UndoStarted() | ev.UndoFailed():
                self.undos[event.entry] = event
            case ev.ChildStarted() | ev.ChildEnded() | ev.StepDeferred():
                take_in(self.children, event)
            case _:
                self._act(event)
                known = self.steps.get(getattr(event, "position", ""))
                if known is not None:
                    known.apply(event)

    def _schedule(self, event: ev.StepScheduled) -> None:
        if (known := self.steps.get(event.position)) is not None:
            known.elsewhere = event.elsewhere  # once scheduled it may still move
            return
        timeout = event.options.get("timeout")
        self.steps[event.position] = Step(
            event.position, event.step, event.input, event.elsewhere, event.at, event.traits, timeout
        )

    def _act(self, event: Event) -> None:
        """What a person has done about a run that stands, or is over."""
        if isinstance(event, FROM_OUTSIDE):
            self.acted = self.acted or event.seq == 0
            if isinstance(event, ev.RunReleased) and self.blocked is not None and self.blocked.reason in CODE_REASONS:
                self.blocked = None  # it is tried again
        if not isinstance(event, OF_PEOPLE):
            return
        if isinstance(event, (ev.RollbackStarted, ev.EntrySettled)) and self.end is not None:
            self.reopened = True
        if self.blocked is not None and self.blocked.reason == Reason.PAST_PIVOT:
            self.blocked = None
        self.acted = self.acted or event.seq == 0

    def _time(self, event: ev.TimerSet | ev.TimerFired | ev.TimerCancelled) -> None:
        match event:
            case ev.TimerSet(position=position):
                self.timers[position] = event
            case ev.TimerFired(position="deadline"):
                self.expired = True
            case _:
                self.timers.pop(event.position, None)


OF_AN_ATTEMPT = frozenset({
    ev.AttemptStarted, ev.CheckpointSaved, ev.AttemptFailed, ev.AttemptLost, ev.StepCompleted, ev.StepFailed,
    ev.TransactionCommitted,
})  # fmt: skip
"""What concerns nothing but its step (and the chain)."""


OF_PEOPLE = (
    ev.CancelRequested, ev.FailRequested, ev.StepResolved, ev.StepRetried, ev.StepSkipped, ev.UndoRetried,
    ev.UndoSkipped, ev.EntrySettled, ev.RollbackAbandoned, ev.RollbackStarted,
)  # fmt: skip
"""What a person's command puts down for a run that goes on, or is opened again."""


FROM_OUTSIDE = (ev.SignalReceived, ev.VoteCast, ev.GateDecided, ev.RunReleased)
"""What a run that stands goes on for."""


def call_of(task: TaskRow) -> str | None:
    """Which handler of its step a task is to call: ``check`` or ``compensate``; None: it is an attempt."""
    found: str | None = loads(task.spec).get("call") if '"call"' in task.spec else None
    return None if found == "attempt" else found


def attempts_of(task: TaskRow) -> int:
    """How many attempts a step with this task row has had, the one that is claimed included.

    Those of the run's holder, before the step became a task, are not in the row's own number.
    """
    before = loads(task.spec).get("tried", {}).get("number", 0) if '"tried"' in task.spec else 0
    return task.number + int(before)


def folded(events: Iterable[Event], tasks: Sequence[TaskRow] = ()) -> Folded:
    """Fold events in order (history, then what waits in the inbox), then the tasks that are still there."""
    run = Folded()
    for event in events:
        run.apply(event)
    for task in tasks:
        if (step := run.steps.get(task.position)) is not None:
            step.place(task)
    return run
