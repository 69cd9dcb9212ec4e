"""A history folded to where its run stands: the steps with their attempts, the open timers, the end.

The rule of this file: it takes any events in any order that a database can give, and never raises. An event
applied twice does no harm, so what is read from history and inbox, one after the other, may overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from squidmesh.core import events as ev
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import loads
from squidmesh.core.status import SETTLED, StepStatus
from squidmesh.ports import TaskRow

AttemptOutcome = Literal["completed", "failed", "lost", "cancelled"]
RunEnd = ev.RunCompleted | ev.RunFailed | ev.RunCancelled


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
class Step:
    """A step as scheduled, and what became of it so far."""

    position: str
    name: str
    input: dict[str, Any]
    elsewhere: bool
    scheduled_at: int
    status: StepStatus = StepStatus.SCHEDULED
    attempts: dict[int, Attempt] = field(default_factory=dict)
    result: Any = None
    failure: Failure | None = None
    progress: Any = None
    retry_at: int | None = None
    task: TaskRow | None = None  # while somebody must still pick it up, or has done so

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
            case ev.CheckpointSaved():
                self.progress = event.value
            case ev.AttemptFailed():
                self._attempt(event.number, event.at).end(event.at, "failed", event.failure)
                if event.retry_at is not None:  # else StepFailed follows
                    self._again(event.number, event.retry_at)
            case ev.AttemptLost():
                self._attempt(event.number, event.at, event.worker).end(event.at, "lost")
                self._again(event.number, None)
            case ev.StepCompleted():
                self._settle(StepStatus.COMPLETED, event.at, "completed")
                self.result, self.failure = event.result, None
            case ev.StepFailed():
                self._settle(StepStatus.FAILED, event.at, "failed", event.failure)
                self.failure = event.failure
            case ev.StepCancelled() if not self.settled:
                self._settle(StepStatus.CANCELLED, event.at, "cancelled")

    def place(self, task: TaskRow) -> None:
        """Take in the task row that the step has; an older one than the events says nothing new."""
        latest, number = self.latest, attempts_of(task)
        claimed = task.worker is not None
        if self.settled or (latest is not None and number < latest.number):
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

    def _begin(self, number: int, at: int, worker: str | None) -> None:
        if number not in self.attempts:
            self.attempts[number] = Attempt(number, at, worker or None)
            if not self.settled:
                self.status, self.retry_at = StepStatus.RUNNING, None

    def _attempt(self, number: int, at: int, worker: str = "") -> Attempt:
        return self.attempts.setdefault(number, Attempt(number, at, worker or None))

    def _again(self, number: int, retry_at: int | None) -> None:
        if not self.settled and max(self.attempts) == number:
            self.status, self.retry_at = StepStatus.RETRYING, retry_at

    def _settle(self, status: StepStatus, at: int, outcome: AttemptOutcome, failure: Failure | None = None) -> None:
        self.status, self.retry_at, self.task = status, None, None
        if (latest := self.latest) is not None:
            latest.end(at, outcome, failure)


@dataclass(slots=True)
class Folded:
    """A run's history, folded. ``timers`` are those that are open; ``last`` is the newest event."""

    started: ev.RunStarted | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    timers: dict[str, ev.TimerSet] = field(default_factory=dict)
    blocked: ev.RunBlocked | None = None
    cancel: ev.CancelRequested | None = None
    expired: bool = False  # its own deadline has passed
    end: RunEnd | None = None
    last: Event | None = None

    def apply(self, event: Event) -> None:
        """Take in one event."""
        self.last = event
        match event:
            case ev.RunStarted():
                self.started = event
            case ev.RunBlocked():
                self.blocked = event
            case ev.RunUnblocked():
                self.blocked = None
            case ev.CancelRequested():
                self.cancel = event
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled():
                self.end = event
            case ev.TimerSet() | ev.TimerFired() | ev.TimerCancelled():
                self._time(event)
            case ev.StepScheduled(position=position):
                step = Step(position, event.step, event.input, event.elsewhere, event.at)
                step = self.steps.setdefault(position, step)
                step.elsewhere = event.elsewhere  # once scheduled it may still move
            case _:
                known = self.steps.get(getattr(event, "position", ""))
                if known is not None:
                    known.apply(event)

    def _time(self, event: ev.TimerSet | ev.TimerFired | ev.TimerCancelled) -> None:
        match event:
            case ev.TimerSet(position=position):
                self.timers[position] = event
            case ev.TimerFired(position="deadline"):
                self.expired = True
            case _:
                self.timers.pop(event.position, None)


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
