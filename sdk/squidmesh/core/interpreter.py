"""The deterministic interpreter: a workflow and its history in, a decision out. The same in, the same out.

How it works. The events of a history are applied in order. Those that say how something came out (a step completed,
a timer fired) settle the node of that position (nodes.py); when the node that the body waits for has settled, the
body is resumed with its outcome and runs to its next command: a **turn**. A command takes the next **position**, and
asks for an event (``StepScheduled``, ``TimerSet`` …). If history has recorded that position already, kind, name and
input must agree (else ``NonDeterminism``); if not, the event is new, and belongs to the decision. So a replay asks
for nothing, and the live interpreter, kept between decisions and fed only with what is new, asks for what comes next.

The rule of this file: no clock, no randomness, no I/O. A turn is recorded whole or, when the code breaks in it, not at
all. Time comes in: as ``at`` of the events, and as ``now`` for the timers that are set.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core import guards
from squidmesh.core.asked import Asked
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Command
from squidmesh.core.deterministic import RunInfo, instant
from squidmesh.core.events import Event
from squidmesh.core.failure import describe, failure_of
from squidmesh.core.nodes import GONE, Bad, Group, Node, Ok, StepNode, TimerNode
from squidmesh.core.payloads import secrets_in, size_check
from squidmesh.core.turn import Body, Place, Raised, Returned, Turn, Yielded
from squidmesh.core.workflow import Workflow
from squidmesh.errors import DeadlineExceeded, DefinitionError, InvalidPayload, NonDeterminism, PayloadError, StepFailed

INTERPRETER_VERSION = 1
DEADLINE = "deadline"
"""The position of the run's own deadline in ``TimerFired``."""


ANSWERS = (ev.RunStarted, ev.StepCompleted, ev.StepFailed, ev.TimerFired, ev.CancelRequested)
"""Events that move the time that the workflow sees: those that may resume it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the body ended, or was ended, while something may still be in flight."""

    kind: str  # completed, failed, cancelled
    event: Event


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

    def __init__(self, workflow: Workflow[..., Any], run_id: str, max_payload: int = 1_048_576) -> None:
        self.workflow = workflow
        self.run_id = run_id
        self.max_payload = max_payload
        self.closing = False
        self.time = 0  # of the event applied last: what now() gives
        self.uuids = 0
        self._random: random.Random | None = None
        self._asked = Asked(self.place, lambda: max(self.time, self._clock), max_payload)
        self.ending: Ending | None = None
        self.draining_since: int | None = None  # when the run was ended, with things in flight (microseconds)
        self.ended = False
        self.blocked: Broken | None = None
        self.deadline: int | None = None
        self.awaiting: Node | None = None
        self._body: Body | None = None
        self._count = 0
        self._clock = 0
        self._patches: dict[str, bool] = {}
        self._forgotten: list[tuple[Command[Any], guards.Drop]] = []
        self._secrets: tuple[str, ...] = ()

    # ------------------------------------------------------------------------------------------ events in

    def replay(self, history: Sequence[Event], now: int = 0) -> None:
        """Rebuild the run from its history (from the first event on); what is missing at its end is decided anew."""
        self._asked.load(history)
        self.feed(history, now)

    def feed(self, events: Iterable[Event], now: int = 0) -> None:
        """Apply recorded events, or events about to be recorded, in order."""
        self._clock = max(now, self._clock)
        for event in events:
            if self.blocked is not None and isinstance(event, ev.CancelRequested):
                self.blocked = None  # what is broken is not needed any more
            if self.blocked is None:
                try:
                    self._apply(event)
                except Broken as broken:
                    self.blocked = broken
                except NonDeterminism as differs:
                    self.blocked = self._changed(differs)
            if self.blocked is not None:
                self._set_down(event)

    def take(self) -> Decision:
        """The decision since the last one; the caller records it."""
        events, steps, withdraw = self._asked.take()
        blocked = None
        if (b := self.blocked) is not None:
            blocked = ev.RunBlocked(
                reason=b.reason, message=b.message, position=b.position,
                file=b.place.file, line=b.place.line, function=b.place.function,
            )  # fmt: skip
        return Decision(events, steps, withdraw, blocked, self.ended)

    def _set_down(self, event: Event) -> None:
        """What became of what is open, while the code is broken: the body stands still, but a cancel must know."""
        match event:
            case ev.StepCompleted() | ev.StepFailed() | ev.StepCancelled() | ev.TimerFired() | ev.TimerCancelled():
                self._asked.forget(event.position)
            case ev.AttemptStarted(position=position) if isinstance(node := self.open.get(position), StepNode):
                node.running = True
            case ev.AttemptFailed(position=position) | ev.AttemptLost(position=position) if isinstance(
                node := self.open.get(position), StepNode
            ):
                node.running = False
            case _:
                pass  # it stands in the history for the code that is mended

    def _apply(self, event: Event) -> None:
        if isinstance(event, ANSWERS):
            self.time = max(self.time, event.at)
        match event:
            case ev.RunStarted():
                self._start(event)
            case ev.StepScheduled(position=position, elsewhere=elsewhere, seq=seq):
                if isinstance(node := self.open.get(position), StepNode):
                    node.elsewhere, node.scheduled_seq = elsewhere, seq
            case ev.AttemptStarted():
                node = self._step(event.position)
                node.number, node.running, node.retry_at, node.worker = event.number, True, None, event.worker
                node.first_at = node.first_at or event.at
            case ev.CheckpointSaved(position=position, value=value):
                self._step(position).progress = value
            case ev.AttemptFailed():
                node = self._step(event.position)
                node.running, node.failed, node.retry_at = False, node.failed + 1, event.retry_at
                if event.retry_at is not None:  # else StepFailed follows
                    self._asked.unwanted(node)
            case ev.AttemptLost(position=position):
                node = self._step(position)
                node.running, node.lost = False, node.lost + 1
                self._asked.unwanted(node)
            case ev.StepCompleted(position=position, result=result):
                node = self._step(position)
                self._asked.settle(node, Ok(self._decoded(node, result)))
            case ev.StepFailed(position=position, failure=failure):
                node = self._step(position)
                self._asked.settle(node, Bad(StepFailed(node.step, position, failure), failure))
            case ev.StepCancelled(position=position) | ev.TimerCancelled(position=position):
                if (leaf := self.open.get(position)) is not None:
                    self._asked.settle(leaf, GONE)
            case ev.TimerFired(position=position) if position == DEADLINE:
                self._out_of_time(event.at)
            case ev.TimerFired(position=position):
                if (leaf := self.open.get(position)) is not None:
                    self._asked.settle(leaf, Ok(None))
            case ev.CancelRequested():
                self._end(Ending("cancelled", ev.RunCancelled(actor=event.actor, note=event.note)))
            case _:
                pass  # a note, or what has followed from other events already
        self._go_on()

    def _step(self, position: str) -> StepNode:
        node = self.open.get(position)
        if isinstance(node, StepNode):
            return node
        place = self.place()
        raise NonDeterminism(
            position, self._asked.recorded.told(position), "yields no step there", place.file, place.line
        )

    def _decoded(self, node: StepNode, result: Any) -> Any:
        try:
            return node.call.definition.result.decode(result)
        except (PayloadError, InvalidPayload) as refused:
            message = f"the recorded result of {node.step!r} at position {node.position} does not decode: {refused}"
            raise Broken("value_undecodable", message, self.place(), node.position) from None
        except DefinitionError as refused:
            raise Broken("code_error", str(refused), self.place(), node.position) from None

    # ------------------------------------------------------------------------------------------ turns

    def _start(self, event: ev.RunStarted) -> None:
        self.time = max(event.at, event.start_at or 0)
        self.deadline = event.deadline
        self._secrets = secrets_in(event.input)
        self.info = RunInfo(
            run_id=self.run_id, workflow=event.workflow, version=event.version, key=event.key, parent=event.parent,
            attributes=event.attributes or {}, tick=None, started_at=instant(event.at),
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
        """Resume the body while what it waits for has settled; then end the run, if nothing is left to wait for."""
        while self.ending is None and self.awaiting is not None and self.awaiting.outcome is not None:
            outcome, body = self.awaiting.outcome, self._body
            assert body is not None
            match outcome:
                case Ok(value):
                    self._turn(body.send, value)
                case Bad(error):
                    self._turn(body.throw, error)
                case _:
                    return
        self._finish()

    def _turn(self, resume: Callable[..., Turn], *given: Any) -> None:
        """Run the body to the next command that it has to wait for, or to its end; all of it counts, or nothing."""
        mark = self._asked.mark()
        self.awaiting = None
        self._forgotten.clear()
        try:
            self._judge(resume(*given))
        except (Broken, NonDeterminism):
            self._asked.back(mark)
            raise

    def _judge(self, turn: Turn) -> None:
        assert self._body is not None
        while True:
            self._no_call_forgotten(turn)
            match turn:
                case Returned(value):
                    return self._returned(value)
                case Raised(error):
                    return self._raised(error)
                case Yielded(value) if not isinstance(value, Command):
                    place = self.place()
                    raise Broken("code_error", guards.foreign(value, place.file, place.line), place)
                case Yielded(value):
                    self._count += 1
                    value.taken = True
                    self.awaiting = self._asked.node(value, str(self._count))
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
        self._end(Ending("failed", ev.RunFailed(failure=failure_of(error, secrets=self._secrets))))

    # ----------------------------------------------------------------------------------------- endings

    def _out_of_time(self, at: int) -> None:
        told = f"the run's deadline, {instant(self.deadline or at).isoformat()}, has passed"
        self._end(Ending("failed", ev.RunFailed(failure=describe(DeadlineExceeded(told)))))

    def _end(self, ending: Ending) -> None:
        """The body is over: what is in flight settles first; nothing new starts unless it completed."""
        if not self.endable:
            return
        self.ending = ending
        if ending.kind == "completed" or self._body is None:
            return
        self.draining_since = self.time
        self.close()
        if self.awaiting is not None:  # first, or a group would take the end of a member for a reason to go on
            self._asked.stop(self.awaiting)
        for leaf in list(self.open.values()):
            self._asked.stop(leaf)

    def _changed(self, differs: NonDeterminism) -> Broken:
        return Broken("code_changed", str(differs), self.place(), differs.position)

    def _finish(self) -> None:
        if self.ending is None or self.ended or self.open:
            return
        event = self.ending.event
        if self.ending.kind == "completed":
            for spawned in self._asked.spawned.values():
                if isinstance(spawned.outcome, Bad) and not spawned.observed:
                    event = ev.RunFailed(failure=spawned.outcome.failure)
                    break
        if (left := self._asked.recorded.left()) is not None and self.ending.kind != "cancelled":
            place = self.place()
            raise NonDeterminism(left, self._asked.recorded.told(left), "ends before it", place.file, place.line)
        self.ended = True
        self._asked.emit(event)
        self.close()

    def close(self) -> None:
        """Put the body away; what it yields in its ``finally`` is discarded."""
        if self._body is not None:
            self._body.close(self)

    # ------------------------------------------------------------------- asked by the body and the engine

    @property
    def endable(self) -> bool:
        """Whether a cancel or the deadline still changes how the run ends."""
        return not self.ended and (self.ending is None or self.ending.kind == "completed")

    @property
    def open(self) -> dict[str, StepNode | TimerNode]:
        """What the run has asked for and not got, by position."""
        return self._asked.open

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
            if self._asked.recorded.patched(name):
                self._patches[name] = True
            elif self._asked.recorded.replaying():
                self._patches[name] = False
            elif self.closing:
                return True
            else:
                self._patches[name] = True
                self._asked.new.append(ev.PatchTaken(position=str(self._count + 1), name=name))
        return self._patches[name]


def interpret(workflow: Workflow[..., Any], history: Sequence[Event], run_id: str, now: int = 0) -> Decision:
    """What comes next for a run with this history: a pure function."""
    interpreter = Interpreter(workflow, run_id)
    interpreter.replay(history, now)
    return interpreter.take()
