"""Plays the engine for one run: keeps its history, gives its interpreter outcomes, restarts it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from squidmesh.core import events as ev
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe
from squidmesh.core.interpreter import INTERPRETER_VERSION, Decision, Interpreter
from squidmesh.core.nodes import StepNode
from squidmesh.core.report import RollbackReport, report
from squidmesh.core.step import Step
from squidmesh.core.workflow import Workflow
from squidmesh.engine.arriving import taken_up

START = 1_700_000_000_000_000


class Play:
    """One run of a workflow. ``history`` is what a store would hold; ``last`` the latest decision."""

    run_id: ClassVar[str] = "run-1"
    steps: ClassVar[Mapping[str, Step[..., Any]]] = {}  # today's code, as far as undos are looked up in it

    def __init__(self, workflow: Workflow[..., Any], *args: Any, deadline: int | None = None, **kwargs: Any) -> None:
        call = workflow(*args, **kwargs)
        self.workflow = workflow
        self.time = START
        self.history: list[Event] = []
        self.unrecorded: list[Event] = []
        self.live = Interpreter(workflow, self.run_id, steps=self.steps)
        started = ev.RunStarted(
            workflow=workflow.name, version=workflow.version, input=call.input, deadline=deadline,
            interpreter_version=INTERPRETER_VERSION,
        )  # fmt: skip
        self.last = self.feed(started)

    def feed(self, *events: Event) -> Decision:
        """These events, recorded together with what follows from them, as the holder of a run does it."""
        self.time += 1_000
        self.learn(*events)
        return self.record()

    def learn(self, *events: Event) -> None:
        """These events, known and yet to be recorded."""
        stamped = [replace(event, at=self.time) for event in events]
        self.unrecorded.extend(stamped)
        self.live.feed(stamped, self.time)

    def record(self, elsewhere: Collection[str] = ()) -> Decision:
        """What was learnt and what follows from it, in one append; new steps at these positions go elsewhere."""
        self.last = self.live.take()
        self.unrecorded.extend(replace(event, at=self.time) for event in self.last.events)
        for event in self.unrecorded:
            seq = len(self.history) + 1
            if isinstance(event, ev.StepScheduled) and isinstance(node := self.live.open.get(event.position), StepNode):
                node.scheduled_seq, node.elsewhere = seq, event.position in elsewhere
                self.history.append(replace(event, seq=seq, elsewhere=node.elsewhere))
            else:
                self.history.append(replace(event, seq=seq))
        self.unrecorded.clear()
        return self.last

    def begin(self, position: str, number: int = 1) -> Decision:
        return self.feed(ev.AttemptStarted(position=position, number=number, worker="w"))

    def complete(self, position: str, result: Any = None) -> Decision:
        return self.feed(ev.StepCompleted(position=position, result=result))

    def fail(self, position: str, error: BaseException | None = None) -> Decision:
        return self.feed(ev.StepFailed(position=position, failure=describe(error or ValueError("no"))))

    def fire(self, position: str) -> Decision:
        return self.feed(ev.TimerFired(position=position))

    def cancel(self) -> Decision:
        return self.feed(ev.CancelRequested(actor="ann", note="enough"))

    def spend(self, position: str, effect: str = "none", error: BaseException | None = None) -> Decision:
        """The last attempt of a step fails; what follows is the interpreter's to say."""
        return self.feed(
            ev.AttemptFailed(
                position=position, failure=describe(error or ValueError("no")), retry_at=None, effect=effect
            )
        )

    # ------------------------------------------------------------------------------------------- rollbacks

    def undo(self, *entries: str) -> Decision:
        """These entries are undone, each in its turn."""
        for entry in entries:
            self._undo_begins(entry)
            self.feed(ev.UndoCompleted(entry=entry, number=self.live.chain.entries[entry].attempts))
        return self.last

    def undo_fails(self, entry: str, reason: str = "error", retry_at: int | None = None) -> Decision:
        self._undo_begins(entry)
        return self.feed(
            ev.UndoFailed(
                entry=entry, number=self.live.chain.entries[entry].attempts, reason=reason, retry_at=retry_at,
                failure=describe(ValueError("the undo failed")),
            )
        )  # fmt: skip

    def _undo_begins(self, entry: str) -> None:
        due = self.live.undo
        assert due is not None
        assert due.id == entry, f"{due.id} is next"
        self.feed(ev.UndoStarted(entry=entry, number=due.attempts + 1, worker="w"))

    def says(self, event: Event) -> Decision:
        """A person's command, if it applies to the run as it stands."""
        taken = taken_up(self.live, replace(event, at=self.time))
        assert taken is not None, f"{event.kind} does not apply"
        self.learn(taken)
        if self.live.again:
            self.live.close()
            self.live = Interpreter(self.workflow, self.run_id, steps=self.steps)
            self.live.replay([*self.history, *self.unrecorded], self.time)
        return self.record()

    @property
    def reports(self) -> list[RollbackReport]:
        chain = self.live.chain
        return [report(chain, rollback, self.run_id, self.workflow.name) for rollback in chain.rollbacks]

    @property
    def report(self) -> RollbackReport:
        """Of the newest rollback."""
        return self.reports[-1]

    def restart(self, workflow: Workflow[..., Any] | None = None) -> Decision:
        """Forget the live interpreter and replay all of history, perhaps with other code."""
        self.live.close()
        self.unrecorded.clear()
        self.live = Interpreter(workflow or self.workflow, self.run_id, steps=self.steps)
        self.live.replay(self.history, self.time)
        self.last = self.live.take()
        return self.last

    @property
    def open(self) -> list[str]:
        return list(self.live.open)

    @property
    def blocked(self) -> ev.RunBlocked:
        assert self.last.blocked is not None, self.last
        return self.last.blocked

    @property
    def result(self) -> Any:
        end = self.history[-1]
        assert isinstance(end, ev.RunCompleted), end
        return end.result

    @property
    def failure(self) -> Failure:
        end = self.history[-1]
        assert isinstance(end, ev.RunFailed), end
        return end.failure


def forward(decision: Decision) -> list[str]:
    """What was decided, but for what its rollbacks say of themselves."""
    return [
        told for event, told in zip(decision.events, kinds(decision), strict=True) if not isinstance(event, WALKING)
    ]


WALKING = (ev.RollbackStarted, ev.RollbackPlanned, ev.UndoStarted, ev.EntrySettled, ev.RollbackEnded)


def listed(report_: RollbackReport) -> dict[str, list[str]]:
    """The lists of a report that are not empty: the positions, with the reasons."""
    lists = {
        state: [f"{entry.position} {entry.reason or ''}".strip() for entry in getattr(report_, state)]
        for state in ("undone", "irreversible", "failed", "unaccounted", "skipped", "pending")
    }
    return {state: entries for state, entries in lists.items() if entries}


def line_of(workflow: Workflow[..., Any], mark: str = "# here") -> int:
    """The line of a workflow's code (or of its module) that bears a mark."""
    lines, first = inspect.getsourcelines(workflow.fn)
    return next(first + n for n, line in enumerate(lines) if mark in line)


def kinds(decision: Decision) -> list[str]:
    """What was decided, as ``kind position``."""
    return [f"{event.kind} {getattr(event, 'position', '')}".strip() for event in decision.events]
