"""A run's history, followed event by event: what has ended becomes a span, what has begun is remembered until it does.

    RunWorkflow:checkout ─┬─ RunStep:charge ─┬─ Attempt:charge      (a step that took several attempts)
                          │                  └─ Compensate:charge
                          ├─ RunStep:reserve                        (one attempt: the span is the attempt's, too)
                          ├─ Sleep, WaitForSignal:paid, WaitForApproval:desk, RunChild:shipping
                          └─ Rollback:checkout ── Undo:charge ── Attempt:charge

Names, times, outcomes: all of it comes from committed events, so whoever follows the same history makes the same spans.
The rule of this file: no clock, no OpenTelemetry, no payloads. Of a failure its type and its text, which were scrubbed
of the step's secrets when they were stored, and are scrubbed here of the run's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.effects import Trait
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.secrecy import MASK, secrets_in
from squidmesh.core.trace import RUN
from squidmesh.telemetry import waits
from squidmesh.telemetry.span import Open, Span
from squidmesh.telemetry.tally import NO_TALLY, Tally
from squidmesh.telemetry.walks import Walks


class Trail:
    """One run. ``spans`` are those that have ended since somebody took them; ``wanted``: whether they are made."""

    __slots__ = (
        "run_id", "workflow", "length", "started", "wanted", "spans", "tally", "open", "walks",
        "names", "running", "run", "ended", "again", "decided",
    )  # fmt: skip

    def __init__(self, run_id: str, workflow: str) -> None:
        self.run_id, self.workflow = run_id, workflow
        self.length = 0
        self.started: ev.RunStarted | None = None
        self.wanted = False
        self.decided = False  # whether they are
        self.spans: list[Span] = []
        self.tally: Tally = NO_TALLY
        self.open: dict[str, Open] = {}  # by position
        self.walks = Walks(self)
        self.names: dict[str, tuple[str, str]] = {}  # by entry: the step, and the place of its span
        self.running: set[str] = set()  # what the holder of the run has begun itself
        self.run = Open("", RUN, "", 0, {})
        self.ended = False
        self.again: dict[str, int] = {}  # positions that a person had tried once more

    def row(self, events: Sequence[Event]) -> bool:
        """Follow one append; whether nothing is under way at its end: whoever made it has handed over its spans."""
        for event in events:
            if (follow := _TABLE.get(type(event))) is not None:
                follow(self, event)
        self.length += len(events)
        return not self.running

    def take(self) -> list[Span]:
        taken, self.spans = self.spans, []
        return taken

    # ------------------------------------------------------------------------------------------------ the run

    def _started(self, event: ev.RunStarted) -> None:
        self.started, self.run.start, self.run.due = event, event.at, max(event.at, event.start_at or 0)
        self.run.name, self.run.input = f"RunWorkflow:{event.workflow}", event.input
        self.run.attributes = {
            "squidmesh.run_id": self.run_id, "squidmesh.workflow": event.workflow,
            "squidmesh.workflow.version": event.version,
        }  # fmt: skip
        if event.key is not None:
            self.run.attributes["squidmesh.key"] = event.key
        if event.rerun_of is not None:
            self.run.links.append((event.rerun_of, RUN, False))

    def _over_with(self, event: Any) -> None:
        """The run is over. What is still open is closed with it; a rollback that comes later hangs under it, too."""
        outcome = waits.ENDINGS[type(event)]
        for position, node in self.open.items():
            if node.began:
                self.over(node, position, event.at, "cancelled")
            self.settle(node, event.at, "cancelled")
        self.open = {}
        self.walks.close(event.at)
        self.running.clear()
        if self.ended:
            return
        self.ended = True
        self.tally.count("squidmesh.runs", ("workflow", self.workflow), ("outcome", outcome))
        if isinstance(event, ev.RunContinued):
            self.run.links.append((event.run_id, RUN, False))
        self.run.attributes["squidmesh.outcome"] = outcome
        failure = self._told(self.run, getattr(event, "failure", None))
        run, end = self.run, max(self.run.start, event.at)
        if self.wanted:
            self.spans.append(
                Span(
                    run.name,
                    RUN,
                    None,
                    run.start,
                    end,
                    run.attributes,
                    failure,
                    outcome == "failed",
                    run.links,
                    run.notes,
                )
            )

    def _noted(self, event: Any) -> None:
        told = {f"squidmesh.{name}": v for name in ("reason", "name", "actor") if (v := getattr(event, name, None))}
        self.run.note(event.kind, event.at, **told)

    # ------------------------------------------------------------------------------------------------- steps

    def _scheduled(self, event: ev.StepScheduled) -> None:
        if (node := self.open.get(event.position)) is not None:
            node.elsewhere = event.elsewhere
            return
        position, kind = event.position, "RunTransaction" if Trait.GROUP in event.traits else "RunStep"
        times = self.again.get(position)
        self._first(event.at)
        self.open[position] = Open(
            f"{kind}:{event.step}", position if times is None else f"{position}~{times}", self._around(position),
            event.at, self.of(event.step, position), event.step, event.input, due=event.at, elsewhere=event.elsewhere,
        )  # fmt: skip

    def _first(self, at: int) -> None:
        """The run is taken up for the first time."""
        if self.run.due is not None:
            self.tally.value("squidmesh.queue.wait", at - self.run.due, ("kind", "run"))
            self.run.due = None

    def _around(self, position: str) -> str:
        """What a command belongs to: the run, or the transaction that it is part of."""
        around = position.rpartition(".")[0]
        outer = self.open.get(around) if around else None
        return RUN if outer is None or not outer.what else f"{around}#{max(outer.number, 1)}"

    def of(self, step: str, position: str) -> dict[str, Any]:
        return {"squidmesh.run_id": self.run_id, "squidmesh.step": step, "squidmesh.position": position}

    def _attempt(self, event: ev.AttemptStarted) -> None:
        if (node := self.open.get(event.position)) is None:
            return
        if node.last is not None:
            self.one_of_several(node)
        if node.due is not None and (node.elsewhere or node.number):
            name = "squidmesh.sweep.lag" if node.number else "squidmesh.queue.wait"
            self.tally.value(name, event.at - node.due, ("kind", "retry" if node.number else "step"))
        node.began, node.number, node.due = event.at, event.number, None
        if not node.elsewhere:
            self.running.add(event.position)

    def _completed(self, event: ev.StepCompleted | ev.TransactionCommitted) -> None:
        if (node := self.open.pop(event.position, None)) is None:
            return
        if node.began and node.last is None and not node.several and not node.notes:  # as nearly always
            self._completed_at_once(node, event.position, event.at)
            return
        if node.began:
            self.over(node, event.position, event.at, "completed")
        self._done(node, event.at, "completed")

    def _completed_at_once(self, node: Open, position: str, at: int) -> None:
        """By its only attempt: the shortest way to what ``_over`` and ``_done`` would make of it."""
        self.running.discard(position)
        place = f"{position}#{node.number}"
        self.names[position] = node.what, place
        self.tally.count("squidmesh.attempts", ("step", node.what), ("outcome", "completed"))
        self.tally.value("squidmesh.step.duration", at - node.began, ("step", node.what))
        if self.wanted:
            node.attributes["squidmesh.attempt"] = node.number
            span = Span(node.name, place, node.parent, node.began, max(node.began, at), node.attributes)
            self.spans.append(span)

    def _failed(self, event: ev.AttemptFailed | ev.AttemptLost) -> None:
        if (node := self.open.get(event.position)) is None:
            return
        node.number = event.number
        lost = isinstance(event, ev.AttemptLost)
        failure = None if isinstance(event, ev.AttemptLost) else event.failure
        self.over(node, event.position, event.at, "lost" if lost else "failed", failure)
        final = event.final if isinstance(event, ev.AttemptLost) else event.retry_at is None
        if not final:
            self.one_of_several(node)
            node.due = event.at if isinstance(event, ev.AttemptLost) else event.retry_at

    def _settled(self, event: Any) -> None:
        """It has failed, was cancelled, or a person skipped it."""
        if (node := self.open.pop(event.position, None)) is not None:
            if node.began:
                self.over(node, event.position, event.at, "cancelled")
            self._done(node, event.at, waits.OUTCOMES[type(event)], getattr(event, "failure", None))

    def _retried(self, event: ev.StepRetried) -> None:
        """A person lets a step be tried again that had failed for good."""
        if event.position not in self.open and (known := self.names.get(event.position)) is not None:
            times = self.again[event.position] = self.again.get(event.position, 1) + 1
            self.open[event.position] = Open(
                f"RunStep:{known[0]}", f"{event.position}~{times}", self._around(event.position), event.at,
                self.of(known[0], event.position), known[0], due=event.at, several=True,
            )  # fmt: skip

    def _compensate(self, event: ev.CompensateStarted) -> None:
        if (node := self.open.get(event.position)) is not None:
            self.one_of_several(node)
            node.compensating = event.at
            if not node.elsewhere:
                self.running.add(event.position)

    def _compensated(self, event: ev.CompensateEnded) -> None:
        if (node := self.open.get(event.position)) is None or not node.compensating:
            return
        self.running.discard(event.position)
        began, node.compensating, node.due = node.compensating, 0, event.retry_at
        if event.outcome == "lost":  # it is called again, under the same key
            node.note("CompensateLost", event.at)
            return
        told = self.of(node.what, event.position)
        place = f"{event.position}:compensate:{event.cycle}"
        compensate = Open(f"Compensate:{node.what}", place, node.place, began, told, input=node.input)
        self.settle(compensate, event.at, event.outcome, event.failure)

    def _asked(self, event: Any) -> None:
        """Somebody has said, or is to say, what became of its effect."""
        if (node := self.open.get(event.position)) is not None:
            self.one_of_several(node)
            node.several = True
            outcome = getattr(event, "outcome", None)
            node.note(event.kind, event.at, **({"squidmesh.outcome": outcome} if outcome else {}))

    def _registered(self, event: ev.UndoRegistered) -> None:
        self.names[f"{event.position}:undo:{event.number}"] = event.function.rpartition(":")[2], ""

    # ------------------------------------------------------------------------------------------------- waits

    def _wait(self, event: Any) -> None:
        name, attributes = waits.begun(event)
        node = Open(
            name, event.position, self._around(event.position), event.at,
            {"squidmesh.run_id": self.run_id, "squidmesh.position": event.position} | attributes,
            due=getattr(event, "due", None),
        )  # fmt: skip
        if isinstance(event, (ev.ChildStarted, ev.StepDeferred)):
            node.links.append((event.run_id, RUN, not getattr(event, "joined", False)))
        self._first(event.at)
        if isinstance(event, ev.StepDeferred):
            self.settle(node, event.at, "deferred")
        else:
            self.open[event.position] = node

    def _waited(self, event: Any) -> None:
        if (node := self.open.get(event.position)) is None or node.what:
            return
        del self.open[event.position]
        if isinstance(event, (ev.TimerFired, ev.GateExpired)) and node.due is not None:
            self.tally.value("squidmesh.sweep.lag", event.at - node.due, ("kind", "timer"))
        if (actor := getattr(event, "actor", None)) is not None:
            node.attributes["squidmesh.actor"] = actor
        self.settle(node, event.at, waits.ended(node.name, event), getattr(event, "failure", None))

    def _voted(self, event: ev.VoteCast) -> None:
        if (node := self.open.get(event.position)) is not None:
            told = {"squidmesh.actor": event.actor, "squidmesh.approved": event.approved}
            node.note("VoteCast", event.at, **told)

    # ------------------------------------------------------------------------------------------------- spans

    def over(self, node: Open, place: str, at: int, outcome: str, failure: Failure | None = None) -> None:
        """An attempt is over."""
        self.running.discard(place)
        began = node.began or node.due or node.start
        node.first, node.began = node.first or began, 0
        undo = (("kind", "undo"),) if place.startswith("undo:") else ()
        self.tally.count("squidmesh.attempts", ("step", node.what), ("outcome", outcome), *undo)
        if self.wanted:
            told = {**node.attributes, "squidmesh.attempt": node.number}
            if outcome != "completed":
                told["squidmesh.outcome"] = outcome
            name = f"{'UndoAttempt' if undo else 'Attempt'}:{node.what}"
            node.last = Span(
                name, f"{place}#{node.number}", node.place, began, max(began, at), told, self._told(node, failure),
                outcome in ("failed", "lost"),
            )  # fmt: skip

    def one_of_several(self, node: Open) -> None:
        """There is more to a step than its latest attempt: that has a span of its own."""
        node.several = True
        if node.last is not None:
            self.spans.append(node.last)
            node.last = None

    def _done(self, node: Open, at: int, outcome: str, failure: Failure | None = None) -> None:
        """A step has come to its outcome."""
        began = node.first or node.start
        told = () if outcome == "completed" else (("outcome", outcome),)
        self.tally.value("squidmesh.step.duration", at - began, ("step", node.what), *told)
        self.names[node.attributes["squidmesh.position"]] = node.what, self.settle(node, at, outcome, failure)

    def settle(
        self, node: Open, at: int, outcome: str, failure: Failure | None = None, wrong: bool | None = None
    ) -> str:
        """It has ended; the place of its span. A step and its only attempt are one span; what never began has none."""
        wrong = outcome == "failed" if wrong is None else wrong
        only, place, attributes = node.last, node.place, node.attributes
        if node.several:
            self.one_of_several(node)
            attributes["squidmesh.attempts"] = node.number
        elif only is not None:
            node.last, place, attributes = None, only.place, only.attributes
        elif node.what:
            place = f"{place}#1"  # of a transaction: its attempts are not told apart
            if outcome not in ("completed", "failed"):
                return place
        if outcome != "completed":
            attributes["squidmesh.outcome"] = outcome
        if self.wanted:
            start = node.start if only is None or node.several else only.start
            told = self._told(node, failure) or (None if only is None or node.several else only.failure)
            end = max(start, at)
            self.spans.append(
                Span(node.name, place, node.parent, start, end, attributes, told, wrong, node.links, node.notes)
            )
        return place

    def _told(self, node: Open, failure: Failure | None) -> tuple[str, str] | None:
        if failure is None:
            return None
        text = failure.message
        for secret in (*secrets_in(self.run.input), *secrets_in(node.input)):
            text = text.replace(secret, MASK)
        return failure.type, text


_TABLE: dict[type[Event], Callable[[Trail, Any], None]] = {
    ev.RunStarted: Trail._started,
    **dict.fromkeys(waits.ENDINGS, Trail._over_with),
    **dict.fromkeys(
        (
            ev.RunBlocked, ev.RunUnblocked, ev.RunHeld, ev.RunReleased, ev.CancelRequested, ev.FailRequested,
            ev.SignalReceived, ev.SignalRejected, ev.RunUndone,
        ),
        Trail._noted,
    ),
    ev.StepScheduled: Trail._scheduled,
    ev.AttemptStarted: Trail._attempt,
    ev.StepCompleted: Trail._completed,
    ev.TransactionCommitted: Trail._completed,
    ev.AttemptFailed: Trail._failed,
    ev.AttemptLost: Trail._failed,
    **dict.fromkeys((ev.StepFailed, ev.StepCancelled, ev.StepSkipped), Trail._settled),
    ev.StepRetried: Trail._retried,
    ev.CompensateStarted: Trail._compensate,
    ev.CompensateEnded: Trail._compensated,
    **dict.fromkeys((ev.StepInDoubt, ev.StepChecked, ev.StepResolved), Trail._asked),
    ev.UndoRegistered: Trail._registered,
    **dict.fromkeys(waits.BEGUN, Trail._wait),
    **dict.fromkeys(waits.ENDED, Trail._waited),
    ev.VoteCast: Trail._voted,
    ev.RollbackStarted: lambda trail, event: trail.walks.started(event),
    ev.RollbackPlanned: lambda trail, event: trail.walks.made_plan(event),
    ev.UndoStarted: lambda trail, event: trail.walks.undo_started(event),
    ev.UndoFailed: lambda trail, event: trail.walks.undo_over(event),
    ev.UndoCompleted: lambda trail, event: trail.walks.undo_over(event),
    ev.EntrySettled: lambda trail, event: trail.walks.undo_settled(event),
    ev.UndoHalted: lambda trail, event: trail.walks.halted(event),
    ev.RollbackEnded: lambda trail, event: trail.walks.ended(event),
}  # fmt: skip
"""What is made of each kind of event; of the others, nothing."""
