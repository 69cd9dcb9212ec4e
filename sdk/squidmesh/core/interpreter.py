"""The deterministic interpreter: a workflow and its history in, a decision out. The same in, the same out.

How it works. The events of a history are applied in order. Those that say how something came out (a step completed,
a timer fired) settle the node of that position (nodes.py); when the node that the body waits for has settled, the
body is resumed with its outcome and runs to its next command: a **turn**. A command takes the next **position**, and
asks for an event (``StepScheduled``, ``TimerSet`` …). If history has recorded that position already, kind, name and
input must agree (else ``NonDeterminism``); if not, the event is new, and belongs to the decision. So a replay asks
for nothing, and the live interpreter, kept between decisions and fed only with what is new, asks for what comes next.

Besides the body, what has happened itself leads to events: a failed step is settled, a scope or the run is rolled back,
the run ends. These are decided when a decision is taken (deciding.py), never while history is replayed, and applied as
all others are. A run whose body is over is replayed without its code: its rollback is history's alone (chain.py).

The rule of this file: no clock, no randomness, no I/O. A turn is recorded whole or, when the code breaks in it, not at
all. Time comes in: as ``at`` of the events, and as ``now`` for the timers that are set.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core import gates, guards, settling
from squidmesh.core.asked import Asked
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Command
from squidmesh.core.chain import NOTHING_TO_UNDO, Chain, Entry, Rollback
from squidmesh.core.deciding import WHOLE, Ending, next_event
from squidmesh.core.deterministic import RunInfo, instant
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe, failure_of
from squidmesh.core.nodes import ATTEMPT, GONE, Bad, GateNode, Group, Leaf, Node, Ok, SendNode, SignalNode, StepNode
from squidmesh.core.payloads import secrets_in, size_check
from squidmesh.core.report import RollbackReport
from squidmesh.core.scopes import RollbackScope, Saga
from squidmesh.core.scoping import Scoping
from squidmesh.core.settling import begun
from squidmesh.core.signals import Mailbox
from squidmesh.core.step import Step
from squidmesh.core.turn import Body, Place, Raised, Returned, Turn, Yielded
from squidmesh.core.workflow import Workflow
from squidmesh.errors import (
    DeadlineExceeded,
    DefinitionError,
    FailedByOperator,
    InvalidPayload,
    NonDeterminism,
    PayloadError,
    StepFailed,
)

INTERPRETER_VERSION = 1
DEADLINE = "deadline"
"""The position of the run's own deadline in ``TimerFired``."""


ANSWERS = frozenset({
    ev.RunStarted, ev.StepCompleted, ev.StepFailed, ev.StepSkipped, ev.TransactionCommitted, ev.TimerFired,
    ev.CancelRequested, ev.FailRequested, ev.RollbackEnded, ev.SignalTaken, ev.SignalSent, ev.GateDecided,
    ev.GateExpired,
})  # fmt: skip
"""Events that move the time that the workflow sees: those that may resume it."""

ENDS_ANYWAY = (ev.CancelRequested, ev.FailRequested, ev.RunTerminated)
WALKED = frozenset({ev.RollbackStarted, ev.RaceWon})

UNFOLDED = 512
"""Events that a run keeps for its chain before they are folded."""

BODY_OVER = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunTerminated)


@dataclass(frozen=True, slots=True)
class Decision:
    """What comes next: events to record, in order. ``blocked`` comes last when the code is broken."""

    events: tuple[Event, ...]
    steps: tuple[StepNode, ...]  # newly scheduled
    withdraw: tuple[str, ...]  # positions of tasks that nobody should begin any more
    blocked: ev.RunBlocked | None
    ended: bool


class Interpreter:
    """One run, live. Made from the first event of its history, fed with the others; see the module."""

    def __init__(
        self,
        workflow: Workflow[..., Any],
        run_id: str,
        max_payload: int = 1_048_576,
        steps: Mapping[str, Step[..., Any]] | None = None,
    ) -> None:
        self.workflow = workflow
        self.run_id = run_id
        self.max_payload = max_payload
        self.closing = False
        self.time = 0  # of the event applied last: what now() gives
        self.uuids = 0
        self.length = 0  # events known, those included that are about to be recorded
        self.walked = False  # there was a rollback, or a race that left losers: the chain is to be looked at
        self.end: Event | None = None  # how the run ended first
        self.undone = False  # later, after it had completed
        self.undo: Entry | None = None  # to be undone next, by whoever holds the run
        self.ending: Ending | None = None
        self.draining_since: int | None = None  # when the run was ended, with things in flight (microseconds)
        self.ended = False
        self.blocked: Broken | None = None
        self.told: ev.RunBlocked | None = None  # the latest that was recorded
        self.again = False  # a person did not let a failure stand: the run is to be replayed with that
        self.start_at: int | None = None  # it begins no sooner
        self.deadline: int | None = None
        self.awaiting: Node | None = None
        self.scopes = Scoping(self)
        self.mail = Mailbox()
        self.held: ev.RunHeld | None = None  # by an operator
        self.asked = Asked(self.place, self.now, max_payload, workflow.strict_undo)
        self._random: random.Random | None = None
        self._steps = steps or {}
        self._body: Body | None = None
        self._held_back: Command[Any] | None = None  # yielded while a scope was to be rolled back first
        self._chain = Chain()
        self._unfolded: list[tuple[Event, int]] = []  # what the chain has not taken in yet
        self._heard = 0  # new events that the chain has heard of
        self.count = 0
        self._clock = 0
        self._patches: dict[str, bool] = {}
        self._forgotten: list[tuple[Command[Any], guards.Drop]] = []
        self._secrets: tuple[str, ...] = ()

    # ------------------------------------------------------------------------------------------ events in

    def replay(self, history: Sequence[Event], now: int = 0) -> None:
        """Rebuild the run from its history (from the first event on); what is missing at its end is decided anew."""
        if self._body is None and any(map(_is_over, history)):
            self._body_is_over(history)
        else:
            self.asked.load(history)
        self.feed(history, now)

    def feed(self, events: Iterable[Event], now: int = 0) -> None:
        """Apply recorded events, or events about to be recorded, in order."""
        self._clock = max(now, self._clock)
        for event in events:
            self.length = event.seq or self.length + 1
            if type(event) not in NOTHING_TO_UNDO:
                self._link(event, self.length)
            if self.blocked is None:
                self._take_in(event)
            elif isinstance(event, ENDS_ANYWAY):
                self._adopt()
                self._take_in(event)
            else:
                self._set_down(event)

    def _take_in(self, event: Event) -> None:
        self.blocked = None  # what is broken is not needed any more, if the run is to end
        try:
            self._apply(event)
            return
        except Broken as broken:
            self.blocked = broken
        except NonDeterminism as differs:
            self.blocked = self._changed(differs)
        self._set_down(event)

    def _adopt(self) -> None:
        """Take in hand what is in flight that the body, which is broken, has not come to: it has to settle, too."""
        for position in self.chain.in_flight():
            scheduled = self.asked.recorded.scheduled(position)
            if position not in self.open and scheduled is not None:
                node = self.asked.adopt(scheduled, self._steps.get(scheduled.step))
                for event in self.asked.recorded.calls.get(position, ()):
                    settling.heard(self.asked, node, event)
                if scheduled.step not in self._steps and node.running:
                    settling.heard(self.asked, node, ev.AttemptLost(position=position, final=True))

    def take(self) -> Decision:
        """The decision since the last one; the caller records it."""
        self.undo = None
        self.hear()
        while self.blocked is None:
            try:
                event = next_event(self)
                if event is None:
                    break
                self.asked.new.append(event)
                self.hear()
                self._apply(event)
            except Broken as broken:
                self.blocked = broken
            except NonDeterminism as differs:
                self.blocked = self._changed(differs)
            self.hear()
        events, steps, withdraw = self.asked.take()
        self._heard = 0
        self.length += len(events)
        blocked = None
        if (b := self.blocked) is not None:
            blocked = ev.RunBlocked(
                reason=b.reason, message=b.message, position=b.position,
                file=b.place.file, line=b.place.line, function=b.place.function,
            )  # fmt: skip
        over = self.ended and not self.rolling
        return Decision(events, steps, withdraw, blocked, over)

    def hear(self) -> None:
        """Let the chain hear of what is new."""
        new = self.asked.new
        while self._heard < len(new):
            self._heard += 1
            event = new[self._heard - 1]
            if type(event) not in NOTHING_TO_UNDO:
                self._link(event, self.length + self._heard)

    def _link(self, event: Event, seq: int) -> None:
        """Keep an event for the chain. Most runs end well, and nobody asks for it: it is folded when somebody does."""
        if type(event) in WALKED:
            self.walked = True
        self._unfolded.append((event, seq))
        if len(self._unfolded) > UNFOLDED:
            self._fold()

    def _fold(self) -> None:
        unfolded, self._unfolded = self._unfolded, []
        for event, seq in unfolded:
            self._chain.apply(event, seq)

    @property
    def chain(self) -> Chain:
        """What the run has done that could be undone, its scopes and rollbacks."""
        if self._unfolded:
            self._fold()
        return self._chain

    @property
    def rolling(self) -> list[Rollback]:
        """Rollbacks that are not over, the oldest first."""
        return self.chain.active if self.walked else []

    def _body_is_over(self, history: Sequence[Event]) -> None:
        """Do without the code: what is left is to undo, and to end as it was decided."""
        self.closing = True
        chain = Chain.of(history)
        whole = [r.begun for r in chain.rollbacks if r.begun.cause in ("failure", "cancel")]
        if chain.ended is None and whole:
            self.ending = Ending.after(whole[-1])

    def _set_down(self, event: Event) -> None:
        """What became of what is open, while the code is broken: the body stands still, but a cancel must know."""
        match event:
            case ev.StepCompleted() | ev.StepFailed() | ev.StepCancelled() | ev.TimerFired() | ev.TimerCancelled():
                self.asked.forget(event.position)
            case ev.AttemptStarted(position=position) if isinstance(node := self.open.get(position), StepNode):
                node.running = True
            case ev.StepRetried() | ev.StepSkipped():
                self.again = True
            case ev.SignalReceived() | ev.SignalTaken() | ev.SignalRejected():
                self.mail.apply(event)  # or the next would have its number
            case ev.GateDecided() | ev.GateExpired():
                self.asked.forget(event.position)
            case ev.VoteCast(position=position) if (gate := self.asked.gates.get(position)) is not None:
                gates.heard(gate, event)
            case ev.RunHeld():
                self.held = event
            case ev.RunReleased():
                self.held = None
            case ev.RunBlocked():
                self.told = event
            case ev.AttemptFailed(position=position) | ev.AttemptLost(position=position) if isinstance(
                node := self.open.get(position), StepNode
            ):
                settling.heard(self.asked, node, event)
            case _:
                pass  # it stands in the history for the code that is mended

    def _apply(self, event: Event) -> None:  # noqa: C901 - one flat table
        if type(event) in ANSWERS:
            self.time = max(self.time, event.at)
        match event:
            case ev.AttemptStarted():
                if (node := self._step(event.position)) is not None:
                    begun(self.asked, node, event)
            case (
                ev.StepCompleted(position=position, result=result)
                | ev.TransactionCommitted(position=position, result=result)
            ):
                if (node := self._step(position)) is not None:
                    self.asked.settle(node, Ok(self._decoded(node, result)))
            case ev.RunStarted() if not self.closing:
                self._start(event)
            case ev.StepScheduled(position=position, elsewhere=elsewhere, seq=seq):
                if isinstance(leaf := self.open.get(position), StepNode):
                    leaf.elsewhere, leaf.scheduled_seq, leaf.stage = elsewhere, seq, event.call
                    if leaf.stage != ATTEMPT:
                        leaf.retry_at = None  # that was another attempt's
                    if elsewhere:
                        self.asked.placed(leaf)
            case ev.CheckpointSaved(position=position, value=value):
                if (node := self._step(position)) is not None:
                    node.progress = value
            case ev.StepFailed(position=position, failure=failure):
                if (node := self._step(position)) is not None:
                    self._failed(node, failure)
            case _ if isinstance(event, settling.TOLD):
                if (node := self._step(event.position)) is not None:
                    settling.heard(self.asked, node, event)
            case ev.StepRetried() | ev.StepSkipped():
                if (node := self._step(event.position)) is not None:
                    self._overruled(node, event)
            case ev.StepCancelled(position=position) | ev.TimerCancelled(position=position):
                if (leaf := self.open.get(position)) is not None and not self.asked.revived(leaf):
                    self.asked.settle(leaf, GONE)
            case ev.TimerFired(position=position) if position == DEADLINE:
                self._out_of_time(event.at)
            case ev.TimerFired(position=position):
                if (leaf := self.open.get(position)) is not None:
                    self.asked.settle(leaf, Ok(None))
            case ev.CancelRequested():
                self.held = None
                self._end(Ending("cancelled", ev.RunCancelled(actor=event.actor, note=event.note), event.undo))
            case ev.FailRequested():
                self.held = None
                self._end(Ending("failed", ev.RunFailed(failure=_by_person(event)), event.undo))
            case ev.RollbackStarted(cause=cause) if cause in WHOLE and self.endable:
                self.ending = Ending.after(event)  # something spawned has failed, after the body had returned
            case ev.RollbackEnded(number=number):
                self.scopes.rolled_back(number)
            case ev.SignalReceived() | ev.SignalRejected():
                self.mail.apply(event)
            case ev.SignalTaken(position=position):
                if (wait := self.asked.waits.get(position)) is not None:
                    self.asked.settle(wait, Ok(self._message(wait, event)))
                self.mail.apply(event)
            case ev.SignalSent(position=position):
                if (send := self.open.get(position)) is not None:
                    self.asked.settle(send, Ok(None))
            case ev.VoteCast() | ev.GateDecided() | ev.GateExpired():
                if (gate := self.asked.gates.get(event.position)) is not None:
                    self._at_gate(gate, event)
            case ev.RunHeld():
                self.held = event
            case ev.RunReleased():
                self.held = None
            case ev.RunUndone():
                self.undone = True
            case ev.RunBlocked():
                self.told = event
            case _ if isinstance(event, BODY_OVER):
                self.ended, self.end, self.held = True, self.end or event, None
                if isinstance(event, ev.RunTerminated):
                    self._terminated()
            case _:
                pass  # a note, or what has followed from other events already
        self._go_on()

    def _step(self, position: str) -> StepNode | None:
        """The open step at a position; None where there is no body any more, or the step is inside a transaction."""
        node = self.open.get(position)
        if isinstance(node, StepNode):
            return node
        if self.closing or any(position.startswith(f"{group}.") for group in self.asked.groups):
            return None
        place = self.place()
        raise NonDeterminism(
            position, self.asked.recorded.told(position), "yields no step there", place.file, place.line
        )

    def _decoded(self, node: StepNode, result: Any) -> Any:
        try:
            return node.call.definition.result.decode(result)
        except (PayloadError, InvalidPayload) as refused:
            message = f"the recorded result of {node.step!r} at position {node.position} does not decode: {refused}"
            raise Broken("value_undecodable", message, self.place(), node.position) from None
        except DefinitionError as refused:
            raise Broken("code_error", str(refused), self.place(), node.position) from None

    def _message(self, wait: SignalNode, taken: ev.SignalTaken) -> Any:
        payload = self.mail.take(taken.name, taken.number)
        try:
            return wait.signal.value.decode(payload)
        except (PayloadError, InvalidPayload) as refused:
            told = (
                f"the payload of signal {taken.name!r}, taken at position {taken.position}, does not decode: {refused}"
            )
            raise Broken("value_undecodable", told, self.place(), taken.position) from None

    def _at_gate(self, node: GateNode, event: ev.VoteCast | ev.GateDecided | ev.GateExpired) -> None:
        try:
            if (decided := gates.heard(node, event)) is not None:
                self.asked.settle(node, decided)
        except (PayloadError, InvalidPayload) as refused:
            told = f"the payload of pause {node.gate.name!r} at position {node.position} does not decode: {refused}"
            raise Broken("value_undecodable", told, self.place(), node.position) from None

    def _failed(self, node: StepNode, failure: Failure) -> None:
        self.asked.spent.pop(node.position, None)
        if self.asked.recorded.overruled[node.position]:
            node.running, node.failure = False, failure
            self.asked.hold(node)  # until a person's word comes, further on
        else:
            self.asked.settle(node, Bad(StepFailed(node.step, node.position, failure), failure))

    def _overruled(self, node: StepNode, event: ev.StepRetried | ev.StepSkipped) -> None:
        """A person did not let the failure of a step stand."""
        self.asked.recorded.overruled[node.position] -= 1
        self.asked.held.pop(node.position, None)
        if isinstance(event, ev.StepRetried):
            node.anew()
            self.asked.call(node, ATTEMPT)
        else:
            self.asked.settle(node, Ok(self._decoded(node, event.value)))

    # ------------------------------------------------------------------------------------------ turns

    def _start(self, event: ev.RunStarted) -> None:
        self.time = max(event.at, event.start_at or 0)
        self.start_at, self.deadline = event.start_at, event.deadline
        self._secrets = secrets_in(event.input)
        self.info = RunInfo(
            run_id=self.run_id, workflow=event.workflow, version=event.version, key=event.key, parent=event.parent,
            attributes=event.attributes or {}, tick=None if event.tick is None else instant(event.tick),
            started_at=instant(event.at),
        )  # fmt: skip
        try:
            args, kwargs = self.workflow.parameters.decode(event.input)
        except (PayloadError, InvalidPayload) as refused:
            place = Place(self.workflow.fn.__code__.co_filename, self.workflow.fn.__code__.co_firstlineno, "")
            raise Broken("value_undecodable", f"the run's input does not decode: {refused}", place) from None
        except DefinitionError as refused:
            raise Broken("code_error", str(refused), self.place()) from None
        self._body = Body(self.workflow.fn, args, kwargs, self)
        self._turn(self._body.begin)

    def _go_on(self) -> None:
        """Resume the body while what it waits for has settled."""
        while self.ending is None and self._body is not None and not self.closing:
            if self._held_back is not None:
                if self.scopes.due:
                    return
                command, self._held_back = self._held_back, None
                self._turn(Yielded, command)
                continue
            if self.awaiting is None:
                return
            match self.awaiting.outcome:
                case Ok(value):
                    self._turn(self._body.send, value)
                case Bad(error):
                    self._turn(self._body.throw, error)
                case _:
                    return

    def _turn(self, resume: Callable[..., Turn], *given: Any) -> None:
        """Run the body to the next command that it has to wait for, or to its end; all of it counts, or nothing."""
        mark = self.asked.mark()
        self.awaiting = None
        self._forgotten.clear()
        try:
            self._judge(resume(*given))
        except (Broken, NonDeterminism):
            self.asked.back(mark)
            self.scopes.due.clear()
            raise

    def _judge(self, turn: Turn) -> None:
        assert self._body is not None
        while True:
            self._no_call_forgotten(turn)
            if self.scopes.stuck is not None:
                raise self.scopes.stuck
            match turn:
                case Returned(value):
                    return self._returned(value)
                case Raised(error):
                    return self._raised(error)
                case Yielded(value) if not isinstance(value, Command):
                    place = self.place()
                    raise Broken("code_error", guards.foreign(value, place.file, place.line), place)
                case Yielded(value):
                    value.taken = True
                    if self.scopes.due:  # one that failed is rolled back before anything else is done
                        self._held_back, self.awaiting = value, Node("")
                        return None
                    self.count += 1
                    position = str(self.count)
                    self.scopes.place(value, position)
                    if isinstance(value, RollbackScope):
                        self.awaiting = self.scopes.rollback(value, position)
                    else:
                        self.awaiting = self.asked.node(value, position)
            match self.awaiting.outcome:
                case Ok(given) if not isinstance(self.awaiting, (StepNode, Group)):
                    turn = self._body.send(given)  # answered at once: spawn, publish, log
                case _:
                    return None

    def _no_call_forgotten(self, turn: Turn) -> None:
        for command, at in self._forgotten:
            if not (isinstance(turn, Raised) and guards.raised_at(turn.error, at)):
                place = Place(command.file, command.line, command.code.co_qualname)
                raise Broken("code_error", guards.told_dropped(command), place)
        self._forgotten.clear()

    def _returned(self, value: Any) -> None:
        if (wrong := guards.returned(value)) is not None:
            code = self.workflow.fn.__code__
            place = Place(code.co_filename, code.co_firstlineno, code.co_qualname)
            raise Broken("code_error", f"{place.file}:{place.line}: workflow {self.workflow.name!r} {wrong}", place)
        try:
            result = self.workflow.result.encode(value)
            size_check(result, self.max_payload, f"the result of workflow {self.workflow.name!r}")
        except (PayloadError, DefinitionError) as refused:
            raise Broken("code_error", str(refused), self.place()) from None
        self._end(Ending("completed", ev.RunCompleted(result=result)))

    def _raised(self, error: BaseException) -> None:
        if isinstance(error, NonDeterminism):
            raise error
        if not isinstance(error, self.workflow.ends_on):
            place = self.place()
            raise Broken("code_error", guards.broken_code(error, place.file, place.line), place)
        self.no_pivot_passed(None, error)
        failure = failure_of(error, secrets=self._secrets)
        self._end(Ending("failed", ev.RunFailed(failure=failure), self.workflow.on_failure == "undo", error))

    # ------------------------------------------------------------------------------------------ scopes

    def enter(self, scope: Saga) -> str:
        return self.scopes.enter(scope)

    def leave(self, scope: Saga, error: BaseException | None) -> None:
        self.scopes.leave(scope, error)

    def scope_report(self, scope: str) -> RollbackReport | None:
        return self.scopes.report(scope)

    def no_pivot_passed(self, scope: str | None, error: BaseException | None = None) -> None:
        """Refuse to fail a scope (None: the run) that can only go forward."""
        if (stuck := self.scopes.past_pivot(scope, error)) is not None:
            raise stuck

    # ----------------------------------------------------------------------------------------- endings

    def _out_of_time(self, at: int) -> None:
        told = f"the run's deadline, {instant(self.deadline or at).isoformat()}, has passed"
        error = DeadlineExceeded(told)
        if self.endable:
            self.no_pivot_passed(None, error)
        failure = ev.RunFailed(failure=describe(error))
        self._end(Ending("failed", failure, self.workflow.on_failure == "undo"))

    def _end(self, ending: Ending) -> None:
        """The body is over: what is in flight settles first; nothing new starts unless it completed."""
        if not self.endable:
            return
        self.ending = replace(ending, scopes=tuple(self.scopes.due)) if self.scopes.due else ending
        if ending.kind == "completed" or self._body is None:
            return
        self.draining_since = self.time
        self.close()
        if self.awaiting is not None:  # first, or a group would take the end of a member for a reason to go on
            self.asked.stop(self.awaiting)
        for leaf in list(self.open.values()):
            self.asked.stop(leaf)

    def _terminated(self) -> None:
        """Nothing is waited for, and nothing is undone."""
        self.close()
        for position in list(self.open):
            self.asked.forget(position)

    def _changed(self, differs: NonDeterminism) -> Broken:
        return Broken("code_changed", str(differs), self.place(), differs.position)

    def close(self) -> None:
        """Put the body away; what it yields in its ``finally`` is discarded."""
        if self._body is not None:
            self._body.close(self)

    # ------------------------------------------------------------------- asked by the body and the engine

    def now(self) -> int:
        """The time for what is decided now."""
        return max(self.time, self._clock)

    def has_undo(self, step: str) -> bool:
        """Whether today's code has an undo for a step."""
        found = self._steps.get(step)
        return found is not None and found.undo_handler is not None

    def here(self) -> Iterator[StepNode | SendNode]:
        """What the holder of the run does itself: the step that the body waits for, transactions, sending messages."""
        if isinstance(self.awaiting, StepNode):
            yield self.awaiting
        yield from self.asked.groups.values()
        yield from self.asked.sends.values()

    def withdrawn(self, position: str) -> bool:
        """A task that nobody should begin any more is gone; whether its step is cancelled by that alone."""
        node = self.open.get(position)
        return not isinstance(node, StepNode) or self.asked.withdrawn(node)

    @property
    def endable(self) -> bool:
        """Whether a cancel or the deadline still changes how the run ends."""
        return not self.ended and (self.ending is None or self.ending.kind == "completed")

    @property
    def open(self) -> dict[str, Leaf]:
        """What the run has asked for and not got, by position."""
        return self.asked.open

    def place(self) -> Place:
        """Where the body stands."""
        if self._body is None:
            code = self.workflow.fn.__code__
            return Place(code.co_filename, code.co_firstlineno, code.co_qualname)
        return self._body.place()

    @property
    def random(self) -> random.Random:
        """The run's own generator; made when first used, for its state is larger than the rest of a run."""
        if self._random is None:
            self._random = random.Random(self.run_id)
        return self._random

    def dropped(self, command: Command[Any], at: guards.Drop) -> None:
        self._forgotten.append((command, at))

    def patch(self, name: str) -> bool:
        """Whether the new branch of a change in place is taken (see ``patched``)."""
        if name not in self._patches:
            if self.asked.recorded.patched(name):
                self._patches[name] = True
            elif self.asked.recorded.replaying():
                self._patches[name] = False
            elif self.closing:
                return True
            else:
                self._patches[name] = True
                self.asked.new.append(ev.PatchTaken(position=str(self.count + 1), name=name))
        return self._patches[name]


def _is_over(event: Event) -> bool:
    """Whether the body of a run is not needed after this event."""
    return isinstance(event, BODY_OVER) or (isinstance(event, ev.RollbackStarted) and event.cause in WHOLE)


def _by_person(event: ev.FailRequested) -> Failure:
    return describe(FailedByOperator(f"{event.actor} ended the run as failed: {event.note}"))


def interpret(workflow: Workflow[..., Any], history: Sequence[Event], run_id: str, now: int = 0) -> Decision:
    """What comes next for a run with this history: a pure function."""
    interpreter = Interpreter(workflow, run_id)
    interpreter.replay(history, now)
    return interpreter.take()
