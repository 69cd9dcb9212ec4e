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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core import settling
from squidmesh.core.applying import apply, is_asked_for, is_over, set_down
from squidmesh.core.asked import Asked
from squidmesh.core.broken import Broken
from squidmesh.core.chain import Chain, Entry
from squidmesh.core.deciding import WHOLE, Ending, next_event
from squidmesh.core.events import Event
from squidmesh.core.ledger import Ledger
from squidmesh.core.nodes import Leaf, Node, SendNode, StepNode
from squidmesh.core.scoping import Scoping
from squidmesh.core.script import Script
from squidmesh.core.signals import Mailbox
from squidmesh.core.step import Step
from squidmesh.core.turn import Place
from squidmesh.core.workflow import Workflow
from squidmesh.errors import NonDeterminism

INTERPRETER_VERSION = 1

ENDS_ANYWAY = (ev.CancelRequested, ev.FailRequested, ev.RunTerminated)


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
        self.first: ev.RunStarted  # of its history
        self.start_at: int | None = None  # it begins no sooner
        self.deadline: int | None = None
        self.trace: str | None = None  # what it hangs under
        self.length = 0  # events known, those included that are about to be recorded
        self.script = Script(self)
        self.scopes = Scoping(self)
        self.asked = Asked(run_id, self.place, self.now, max_payload, workflow.strict_undo)
        self.ledger = Ledger()
        self.mail = Mailbox()
        self.undo: Entry | None = None  # to be undone next, by whoever holds the run
        self.held: ev.RunHeld | None = None  # by an operator
        self.blocked: Broken | None = None
        self.told: ev.RunBlocked | None = None  # the latest that was recorded
        self.again = False  # a person did not let a failure stand: the run is to be replayed with that
        self.ending: Ending | None = None
        self.draining_since: int | None = None  # when the run was ended, with things in flight (microseconds)
        self.ended = False
        self.end: Event | None = None  # how the run ended first
        self.undone = False  # later, after it had completed
        self.ended_at = 0  # the latest time that it had come to an end
        self.owed: ev.RollbackStarted | None = None  # another run's rollback has come to this one, and waits for it
        self.joined: list[ev.RunJoined] = []  # runs that wait for this one by its key
        self._steps = steps or {}
        self._heard = 0  # new events that the ledger has
        self._clock = 0

    # ------------------------------------------------------------------------------------------ events in

    def replay(self, history: Sequence[Event], now: int = 0) -> None:
        """Rebuild the run from its history (from the first event on); what is missing at its end is decided anew."""
        if history and isinstance(first := history[0], ev.RunStarted):
            self.trace = first.trace
        if not self.script.begun and any(map(is_over, history)):
            self._body_is_over(history)
        else:
            self.asked.load(history)
        self.feed(history, now)

    def feed(self, events: Iterable[Event], now: int = 0) -> None:
        """Apply recorded events, or events about to be recorded, in order."""
        self._clock = max(now, self._clock)
        for event in events:
            self.length = event.seq or self.length + 1
            self.ledger.keep(event, self.length)
            if self.blocked is None:
                self._take_in(event)
            elif isinstance(event, ENDS_ANYWAY) or is_asked_for(event):
                self._adopt()
                self._take_in(event)
            else:
                set_down(self, event)

    def _take_in(self, event: Event) -> None:
        self.blocked = None  # what is broken is not needed any more, if the run is to end
        try:
            apply(self, event)
            return
        except Broken as broken:
            self.blocked = broken
        except NonDeterminism as differs:
            self.blocked = self._changed(differs)
        set_down(self, event)

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
        for position, started in self.chain.children_out().items():
            if position not in self.open and not started.joined:
                self.asked.adopt_child(started)

    def take(self) -> Decision:
        """The decision since the last one; the caller records it."""
        self.undo = None
        self._hear()
        while self.blocked is None:
            try:
                event = next_event(self)
                if event is None:
                    break
                self.asked.new.append(event)
                self._hear()
                apply(self, event)
            except Broken as broken:
                self.blocked = broken
            except NonDeterminism as differs:
                self.blocked = self._changed(differs)
            self._hear()
        events, steps, withdraw = self.asked.take()
        self._heard = 0
        self.length += len(events)
        blocked = None
        if (b := self.blocked) is not None:
            blocked = ev.RunBlocked(
                reason=b.reason, message=b.message, position=b.position,
                file=b.place.file, line=b.place.line, function=b.place.function,
            )  # fmt: skip
        over = self.ended and not self.ledger.rolling
        return Decision(events, steps, withdraw, blocked, over)

    def _hear(self) -> None:
        """Let the ledger have what is new."""
        new = self.asked.new
        while self._heard < len(new):
            self._heard += 1
            self.ledger.keep(new[self._heard - 1], self.length + self._heard)

    def _body_is_over(self, history: Sequence[Event]) -> None:
        """Do without the code: what is left is to undo, and to end as it was decided."""
        self.script.closing = True
        chain = Chain.of(history)
        whole = [r.begun for r in chain.rollbacks if r.begun.cause in WHOLE]
        if chain.ended is None and whole:
            self.ending = Ending.after(whole[-1])

    # ----------------------------------------------------------------------------------------- its end

    def finish(self, ending: Ending) -> None:
        """The body is over: what is in flight settles first; nothing new starts unless it completed."""
        if not self.endable:
            return
        self.ending = replace(ending, scopes=tuple(self.scopes.due)) if self.scopes.due else ending
        if ending.kind == "completed":
            return
        self.draining_since = self.script.moment
        self.close()
        if self.awaiting is not None:  # first, or a group would take the end of a member for a reason to go on
            self.asked.stop(self.awaiting)
        for leaf in list(self.open.values()):
            self.asked.stop(leaf)

    def no_pivot_passed(self, scope: str | None, error: BaseException | None = None) -> None:
        """Refuse to fail a scope (None: the run) that can only go forward."""
        if (stuck := self.scopes.past_pivot(scope, error)) is not None:
            raise stuck

    def _changed(self, differs: NonDeterminism) -> Broken:
        return Broken("code_changed", str(differs), self.place(), differs.position)

    # ------------------------------------------------------------------- asked by the body and the engine

    def now(self) -> int:
        """The time for what is decided now."""
        return max(self.script.time, self._clock)

    @property
    def awaiting(self) -> Node | None:
        """What the body waits for."""
        return self.script.awaiting

    def place(self) -> Place:
        """Where the body stands."""
        return self.script.place()

    def close(self) -> None:
        """Put the body away."""
        self.script.close()

    @property
    def chain(self) -> Chain:
        """What the run has done that could be undone, its scopes and rollbacks, as of the last turn that was whole."""
        return self.ledger.chain

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


def interpret(workflow: Workflow[..., Any], history: Sequence[Event], run_id: str, now: int = 0) -> Decision:
    """What comes next for a run with this history: a pure function."""
    interpreter = Interpreter(workflow, run_id)
    interpreter.replay(history, now)
    return interpreter.take()
