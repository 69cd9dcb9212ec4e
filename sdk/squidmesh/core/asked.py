"""What a run asks for: commands become nodes of its tree, and events that are new to its history.

The rule of this file: a command is asked for at one position, once. What history has recorded there already is taken
from it, and checked; only what is new is kept here, until the decision takes it. Nothing here runs the body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from squidmesh.core import events as ev
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Call, Options
from squidmesh.core.effects import Effect
from squidmesh.core.events import Event
from squidmesh.core.nodes import (
    ATTEMPT,
    DOUBT,
    GONE,
    ChildNode,
    GateNode,
    GatherNode,
    Group,
    Leaf,
    Node,
    Outcome,
    SendNode,
    SignalNode,
    StepNode,
    TimerNode,
)
from squidmesh.core.recorded import Recorded
from squidmesh.core.step import ForgottenStep, Step
from squidmesh.core.turn import Place

_OF_A_STEP = (ev.StepScheduled, ev.UndoRegistered)

L = TypeVar("L", bound=Leaf)


class Asked:
    """The open leaves of one run, and what of them is new.

    ``place`` says where the body stands, for messages; ``now`` gives the time (microseconds) for timers that are set.
    ``strict``: every step must say how it is undone.
    """

    __slots__ = (
        "open", "recorded", "spawned", "new", "steps", "unneeded", "groups", "spent", "waits", "gates", "sends",
        "unplaced", "held", "links", "published", "strict", "run_id", "first", "place", "now", "max_payload",
        "_new_leaves",
    )  # fmt: skip

    def __init__(
        self, run_id: str, place: Callable[[], Place], now: Callable[[], int], max_payload: int, strict: bool
    ) -> None:
        self.open: dict[str, Leaf] = {}  # asked for, and not settled
        self.recorded = Recorded()
        self.spawned: dict[str, StepNode | ChildNode] = {}
        self.new: list[Event] = []
        self.steps: list[StepNode] = []  # newly scheduled
        self.unneeded: dict[str, None] = {}  # positions of tasks that nobody should begin any more
        self.groups: dict[str, StepNode] = {}  # open transactions: the holder of the run has them all
        self.spent: dict[str, StepNode] = {}  # steps without attempts left: who is asked next is about to be decided
        self.waits: dict[str, SignalNode] = {}  # open ones
        self.gates: dict[str, GateNode] = {}  # open ones
        self.sends: dict[str, SendNode] = {}  # messages that are to be sent
        self.unplaced: dict[str, StepNode] = {}  # with a call to be made that nobody has yet
        self.held: dict[str, str] = {}  # steps whose failure a person did not let stand, and what it would have ended
        self.links: dict[str, ChildNode] = {}  # children with a key, which may be that of a run that is there
        self.strict = strict
        self.published: dict[str, Any] = {}  # the latest under each name
        self.run_id = run_id
        self.first: ev.RunStarted  # of the run's history
        self._new_leaves: list[str] = []  # opened in the turn that goes on
        self.place, self.now, self.max_payload = place, now, max_payload

    def load(self, history: Iterable[Event]) -> None:
        """What is recorded from here on. A step that is open was asked for already: another worker has moved it, and an
        undo registered there is the step's; so is what ran inside of an open transaction."""
        self.recorded.load(
            event
            for event in history
            if not (isinstance(event, _OF_A_STEP) and (event.position in self.open or self.inside(event.position)))
        )

    def inside(self, position: str) -> bool:
        """Whether it is a place inside of an open transaction."""
        return any(position.startswith(f"{group}.") for group in self.groups)

    def take(self) -> tuple[tuple[Event, ...], tuple[StepNode, ...], tuple[str, ...]]:
        """What is new since the last time: events, steps, and tasks that are not needed any more."""
        steps = (*self.steps, *self.unplaced.values()) if self.unplaced else self.steps
        taken = tuple(self.new), tuple(step for step in steps if step.outcome is None), tuple(self.unneeded)
        self.new, self.steps, self.unneeded = [], [], {}
        return taken

    def mark(self) -> tuple[int, int]:
        """A place to go ``back`` to, when the turn that begins here breaks."""
        self._new_leaves.clear()
        return len(self.new), len(self.steps)

    def back(self, mark: tuple[int, int]) -> None:
        for position in self._new_leaves:
            self.open.pop(position, None)
            self._put_off(position)
        del self.new[mark[0] :], self.steps[mark[1] :]

    def forget(self, position: str) -> None:
        """This one has an outcome that nobody goes on with."""
        if (leaf := self.open.pop(position, None)) is not None:
            leaf.outcome = GONE
            self._put_off(position)

    def settle(self, leaf: Node, outcome: Outcome) -> None:
        position = leaf.position
        self.open.pop(position, None)
        if self.groups or self.spent or self.unplaced or not isinstance(leaf, StepNode):
            self._put_off(position)
        leaf.settle(outcome)

    def _put_off(self, position: str) -> None:
        for kept in (self.groups, self.spent, self.unplaced, self.waits, self.gates, self.sends, self.links):
            kept.pop(position, None)

    def refused(self, message: str) -> Broken:
        place = self.place()
        return Broken("code_error", f"{place.file}:{place.line}: {message}", place)

    def linked(self, event: ev.ChildStarted) -> None:
        """It is on record which run a child is."""
        if (node := self.links.pop(event.position, None)) is not None:
            node.asked, node.run_id, node.joined = event, event.run_id, event.joined

    def opened(self, leaf: L) -> L:
        self.open[leaf.position] = leaf
        self._new_leaves.append(leaf.position)
        return leaf

    def ask(self, event: Any) -> Event | None:
        """What history has recorded for a command, or None: then its event is new, and part of the decision."""
        found = self.recorded.claim(event, self.place)
        if found is None:
            self.new.append(event)
        return found

    def emit(self, event: Event) -> None:
        """A consequence that follows from what was applied; recorded once."""
        if not self.recorded.had(event):
            self.new.append(event)

    def won(self, position: str, index: int) -> None:
        self.emit(ev.RaceWon(position=position, index=index))

    def stop(self, node: Node) -> None:
        """Nobody needs this node any more: cancel what has not begun, let what is in flight settle."""
        if node.outcome is not None:
            return
        match node:
            case StepNode():
                node.closing = True
                self.unwanted(node)
            case TimerNode() | SignalNode() | GateNode():
                self.emit(ev.TimerCancelled(position=node.position))
                self.settle(node, GONE)
            case SendNode():
                self.settle(node, GONE)  # it was not sent
            case ChildNode() if not node.owned or node.position in self.links:
                self.settle(node, GONE)  # it goes on without this run, or was not started
            case ChildNode() if not node.closing:
                node.closing = True
                self.emit(ev.ChildCancelRequested(position=node.position))
            case Group():
                node.stop()
            case _:
                pass  # answered at once

    def unwanted(self, node: StepNode) -> None:
        """After an attempt, or when stopped: a step that nobody wants begins no further attempt.

        But what a lost attempt did is not known: it is tried again, under the same key, for that is how it becomes
        known. And one that failed and may have left something is not cancelled, it has failed.
        """
        if not node.closing or node.running or node.stage != ATTEMPT or (node.unheard and not node.harmless):
            return
        if node.elsewhere:
            self.unneeded[node.position] = None
        else:
            self.given_up(node)

    def call(self, node: StepNode, what: str, at: int | None = None) -> None:
        """This is to be called about a step next, by whoever gets it."""
        node.stage, node.elsewhere, node.retry_at = what, False, at
        self.spent.pop(node.position, None)
        self.unplaced[node.position] = node

    def spend(self, node: StepNode) -> None:
        """Nobody has the step any more, and its attempts are spent: it is about to be decided who is asked."""
        node.elsewhere = False
        self.unplaced.pop(node.position, None)
        self.spent[node.position] = node

    def placed(self, node: StepNode) -> None:
        """Somebody has the call that is to be made."""
        self.unplaced.pop(node.position, None)
        self.spent.pop(node.position, None)

    def hold(self, node: StepNode) -> None:
        """The failure of this step was not let stand: it is as if it, and what it has stopped, had not ended."""
        node.stage = DOUBT
        top: Node = node
        while top.watchers and isinstance(group := top.watchers[0][0], GatherNode):
            top = group
        self.held[node.position] = f"{top.position}."

    def adopt(self, scheduled: ev.StepScheduled, step: Step[..., Any] | None) -> StepNode:
        """A step that is in flight although the code has not come to it; it is called further if need be, and settles.

        ``step``: today's definition; without one nobody can be asked.
        """
        known: Any = step or ForgottenStep(scheduled.step)
        call: Call[Any] = Call(known, scheduled.input, Options.from_json(scheduled.options))
        node = StepNode(scheduled.position, call)
        node.traits, node.stage = scheduled.traits, scheduled.call
        node.elsewhere, node.scheduled_seq = scheduled.elsewhere, scheduled.seq
        self.open[node.position] = node
        if not node.elsewhere:
            self.groups[node.position] = node
        return node

    def adopt_child(self, started: ev.ChildStarted) -> None:
        """A child that goes on although the code has not come to it: it is waited for, and nobody has its result."""
        self.open[started.position] = ChildNode(started, None)

    @property
    def busy(self) -> bool:
        """Whether something is open that the run has to wait for before it ends."""
        return any(not (isinstance(leaf, ChildNode) and leaf.detached) for leaf in self.open.values())

    def revived(self, leaf: Leaf) -> bool:
        """Whether a leaf goes on that was cancelled for a failure which a person did not let stand."""
        if not any(leaf.position.startswith(beneath) for beneath in self.held.values()):
            return False
        if isinstance(leaf, StepNode):
            self.call(leaf, ATTEMPT)
        return True

    def given_up(self, node: StepNode) -> None:
        """No further attempt of this step begins, and nobody has it any more."""
        if _leaves_nothing(node):
            self.emit(ev.StepCancelled(position=node.position))
            self.settle(node, GONE)
        else:
            self.spend(node)

    def withdrawn(self, node: StepNode) -> bool:
        """Its task is gone; whether the step was cancelled by that alone."""
        if not _leaves_nothing(node):
            self.spend(node)
        return _leaves_nothing(node)


def _leaves_nothing(node: StepNode) -> bool:
    """Whether a step that is not tried again has nothing to be asked about."""
    return node.effect is Effect.NONE and not (node.failed and node.definition.compensate_handler is not None)
