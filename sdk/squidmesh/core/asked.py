"""What a run asks for: commands become nodes of its tree, and events that are new to its history.

The rule of this file: a command is asked for at one position, once. What history has recorded there already is taken
from it, and checked; only what is new is kept here, until the decision takes it. Nothing here runs the body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from squidmesh.core import events as ev
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Call, Command, Options
from squidmesh.core.children import MOST_DEEP, child_id, too_deep
from squidmesh.core.commands import FanOutCommand, Gather, Log, Pending, Publish, Race, Sleep, Spawn
from squidmesh.core.deferring import SUFFIX, Defer, Deferred
from squidmesh.core.effects import Effect, Trait
from squidmesh.core.events import Event
from squidmesh.core.failure import describe
from squidmesh.core.gates import Gate
from squidmesh.core.nodes import (
    ATTEMPT,
    DOUBT,
    GONE,
    Bad,
    ChildNode,
    FanOutNode,
    GateNode,
    GatherNode,
    Gone,
    Group,
    Leaf,
    Node,
    Outcome,
    RaceNode,
    SendNode,
    SignalNode,
    StepNode,
    TimerNode,
    given,
)
from squidmesh.core.payloads import size_check
from squidmesh.core.recorded import Recorded
from squidmesh.core.scopes import AddUndo
from squidmesh.core.signals import SignalSend, SignalWait
from squidmesh.core.step import ForgottenStep, Step
from squidmesh.core.turn import Place
from squidmesh.errors import Cancelled, ChildFailed, PayloadError, StepFailed

_OF_A_STEP = (ev.StepScheduled, ev.UndoRegistered)

L = TypeVar("L", bound=Leaf)


class Asked:
    """The open leaves of one run, and what of them is new.

    ``place`` says where the body stands, for messages; ``now`` gives the time (microseconds) for timers that are set.
    ``strict``: every step must say how it is undone.
    """

    __slots__ = (
        "open", "recorded", "spawned", "new", "steps", "unneeded", "groups", "spent", "waits", "gates", "sends",
        "unplaced", "held", "links", "published", "strict", "run_id", "first", "_new_leaves", "_place", "_now",
        "_max_payload",
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
        self._place, self._now, self._max_payload = place, now, max_payload

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

    def node(self, command: Command[Any], position: str) -> Node:
        """Give a command its place in the tree, and ask for its event."""
        command.taken = True
        match command:
            case Call() if command.definition.is_step:
                return self._schedule(command, position)
            case Call():
                return self._child(command, position)
            case Sleep():
                return self._timer(command, position)
            case SignalWait():
                return self._wait(command, position)
            case SignalSend():
                return self._send(command, position)
            case Gate():
                return self._gate(command, position)
            case Gather(members=members, as_list=as_list):
                gather = GatherNode(position, self.stop, as_list)
                for n, member in enumerate(members, 1):
                    if not gather.stopped:
                        gather.add(self.node(member, f"{position}.{n}"))
                gather.ready = True
                gather.look()
                return gather
            case FanOutCommand():
                fan = FanOutNode(position, self.stop, command.members, command.limit, command.tolerate, self.node)
                fan.ready = True
                fan.look()
                return fan
            case Race(members=members):
                self._no_irreversible(members)
                race = RaceNode(position, self.stop, self._won)
                for n, member in enumerate(members, 1):
                    if race.outcome is None:
                        race.add(self.node(member, f"{position}.{n}"))
                return race
            case Spawn(call=call):
                spawned = self.node(call, position)
                assert isinstance(spawned, (StepNode, ChildNode))
                spawned.spawned = True
                self.spawned[position] = spawned
                return given(position, Pending(position))
            case Pending(position=of):
                spawned = self.spawned[of]
                spawned.observed = True
                return _cancelled(spawned, position) if isinstance(spawned.outcome, Gone) else spawned
            case Defer():
                return self._defer(command, position)
            case Publish():
                return self._publish(command, position)
            case Log(message=message, level=level):
                self._ask(ev.MessageLogged(position=position, message=message, level=level))
                return given(position, None)
            case AddUndo(function=function, input=input):
                self._ask(ev.UndoRegistered(position=position, number=1, function=function, input=input))
                return given(position, None)
            case _:
                raise self._refused(f"{command.told()} is not a command of this version")

    def _publish(self, command: Publish, position: str) -> Node:
        try:
            size_check(command.value, self._max_payload, f"the value published as {command.name!r}")
        except PayloadError as refused:
            raise self._refused(str(refused)) from None
        self.published[command.name] = command.value
        self._ask(ev.ValuePublished(position=position, name=command.name, value=command.value))
        return given(position, None)

    def _no_irreversible(self, members: Iterable[Command[Any]]) -> None:
        for member in members:
            match member:
                case Call() if member.definition.is_step and member.definition.irreversible:  # type: ignore[union-attr]
                    raise self._refused(
                        f"{member.told()} is irreversible and stands in a race, where it would have to be undone if "
                        "it lost: yield it by itself, after the race"
                    )
                case Gather(members=inner) | FanOutCommand(members=inner) | Race(members=inner):
                    self._no_irreversible(inner)
                case _:
                    pass

    def _refused(self, message: str) -> Broken:
        place = self._place()
        return Broken("code_error", f"{place.file}:{place.line}: {message}", place)

    def _schedule(self, call: Call[Any], position: str) -> StepNode:
        node = StepNode(position, call)
        traits = node.definition.traits
        if self.strict and not any(trait in traits for trait in _SAY_HOW):
            raise self._refused(
                f"{call.told()} has no undo, and the workflow is declared strict_undo=True: give the step an undo "
                f"(@{node.step}.undo), or declare it pure=True or irreversible=True"
            )
        asked = ev.StepScheduled(
            at=self._now(), position=position, step=node.step, input=call.input, options=call.overrides.to_json(),
            traits=traits, undo=getattr(node.definition, "undo_name", None),
        )  # fmt: skip
        found = self._ask(asked)
        node.traits = traits
        if found is None:
            self.steps.append(node)
        else:
            assert isinstance(found, ev.StepScheduled)
            node.elsewhere, node.scheduled_seq, node.traits = found.elsewhere, found.seq, found.traits
        if traits and Trait.GROUP in traits:
            self.groups[position] = node
        return self._opened(node)

    def _child(self, call: Call[Any], position: str) -> ChildNode:
        """A child has its id from here on. One with a key may be there already: its holder looks, and says so."""
        flow: Any = call.definition
        if call.overrides.retry is not None:
            raise self._refused(
                f"options(retry=) are for steps: {call.told()} is a workflow, whose steps have their own"
            )
        asked = ev.ChildStarted(
            at=self._now(), position=position, run_id=child_id(self.run_id, position, self._now()), workflow=flow.name,
            input=call.input, options=call.overrides.to_json(), version=flow.version,
            queue=call.overrides.queue or flow.queue or self.first.queue,
        )  # fmt: skip
        if self.first.depth >= MOST_DEEP:
            refused = ChildNode(asked, flow.result)
            refused.settle(too_deep(flow.name))
            return refused
        found = self.recorded.claim(asked, self._place)
        node = ChildNode(found if isinstance(found, ev.ChildStarted) else asked, flow.result)
        if found is None and call.overrides.key is not None:
            self.links[position] = node
        elif found is None:
            self.new.append(asked)
        return self._opened(node)

    def _defer(self, command: Defer, position: str) -> Node:
        at = self._now()
        asked = ev.StepDeferred(
            at=at, position=position, run_id=child_id(self.run_id, position, at), input=command.input(at),
            workflow=f"{self.first.workflow}{SUFFIX}", version=self.first.version, queue=self.first.queue,
        )  # fmt: skip
        found = self._ask(asked)
        return given(position, Deferred(found.run_id if isinstance(found, ev.StepDeferred) else asked.run_id))

    def linked(self, event: ev.ChildStarted) -> None:
        """It is on record which run a child is."""
        if (node := self.links.pop(event.position, None)) is not None:
            node.asked, node.run_id, node.joined = event, event.run_id, event.joined

    def _timer(self, command: Sleep, position: str) -> TimerNode:
        due = self._now() + round(command.duration * 1_000_000) if command.duration is not None else command.until
        assert due is not None
        found = self._ask(ev.TimerSet(position=position, due=due))
        return self._opened(TimerNode(position, found.due if isinstance(found, ev.TimerSet) else due))

    def _wait(self, command: SignalWait, position: str) -> SignalNode:
        due = None if command.timeout is None else self._now() + round(command.timeout * 1_000_000)
        found = self._ask(ev.SignalAwaited(position=position, name=command.signal.name, due=due))
        node = SignalNode(position, command.signal, found.due if isinstance(found, ev.SignalAwaited) else due)
        self.waits[position] = node
        return self._opened(node)

    def _send(self, command: SignalSend, position: str) -> SendNode:
        """A message is sent by the holder of the run, and on record when it was: until then it stays open."""
        try:
            size_check(command.payload, self._max_payload, f"the payload of signal {command.name!r}")
        except PayloadError as refused:
            raise self._refused(str(refused)) from None
        node = SendNode(position, command.run_id, command.name, command.payload)
        sent = ev.SignalSent(position=position, run_id=node.run_id, name=node.name, payload=node.payload)
        if self.recorded.claim(sent, self._place) is None:
            self.sends[position] = node
        return self._opened(node)

    def _gate(self, command: Gate, position: str) -> GateNode:
        due = command.due(self._now())
        asked = ev.GateOpened(
            at=self._now(), position=position, gate=command.kind, name=command.name, needed=command.needed, due=due
        )
        found = self._ask(asked)
        promised = found if isinstance(found, ev.GateOpened) else asked
        node = GateNode(position, command, promised.needed, promised.due)
        self.gates[position] = node
        return self._opened(node)

    def _opened(self, leaf: L) -> L:
        self.open[leaf.position] = leaf
        self._new_leaves.append(leaf.position)
        return leaf

    def _ask(self, event: Any) -> Event | None:
        """What history has recorded for a command, or None: then its event is new, and part of the decision."""
        found = self.recorded.claim(event, self._place)
        if found is None:
            self.new.append(event)
        return found

    def emit(self, event: Event) -> None:
        """A consequence that follows from what was applied; recorded once."""
        if not self.recorded.had(event):
            self.new.append(event)

    def _won(self, position: str, index: int) -> None:
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
            case ChildNode():
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


_SAY_HOW = frozenset({Trait.UNDO, Trait.PURE, Trait.IRREVERSIBLE, Trait.GROUP})


def _cancelled(spawned: StepNode | ChildNode, position: str) -> Node:
    """What the workflow gets that waits for something which was cancelled with the scope that spawned it."""
    name = spawned.step if isinstance(spawned, StepNode) else spawned.workflow
    failure = describe(
        Cancelled(f"{name!r} at position {spawned.position} was cancelled with the scope it belonged to")
    )
    node = Node(position)
    if isinstance(spawned, StepNode):
        node.settle(Bad(StepFailed(name, spawned.position, failure), failure))
    else:
        node.settle(Bad(ChildFailed(spawned.run_id, name, failure), failure))
    return node
