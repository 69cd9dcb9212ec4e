"""What a run asks for: commands become nodes of its tree, and events that are new to its history.

The rule of this file: a command is asked for at one position, once. What history has recorded there already is taken
from it, and checked; only what is new is kept here, until the decision takes it. Nothing here runs the body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Call, Command
from squidmesh.core.commands import FanOutCommand, Gather, Log, Pending, Publish, Race, Sleep, Spawn
from squidmesh.core.events import Event
from squidmesh.core.nodes import (
    GONE,
    FanOutNode,
    GatherNode,
    Group,
    Node,
    Ok,
    Outcome,
    RaceNode,
    StepNode,
    TimerNode,
)
from squidmesh.core.payloads import size_check
from squidmesh.core.recorded import Recorded
from squidmesh.core.turn import Place
from squidmesh.errors import PayloadError


class Asked:
    """The open leaves of one run, and what of them is new.

    ``place`` says where the body stands, for messages; ``now`` gives the time (microseconds) for timers that are set.
    """

    __slots__ = ("open", "recorded", "spawned", "new", "steps", "unneeded", "_place", "_now", "_max_payload")

    def __init__(self, place: Callable[[], Place], now: Callable[[], int], max_payload: int) -> None:
        self.open: dict[str, StepNode | TimerNode] = {}  # asked for, and not settled
        self.recorded = Recorded()
        self.spawned: dict[str, StepNode] = {}
        self.new: list[Event] = []
        self.steps: list[StepNode] = []  # newly scheduled
        self.unneeded: dict[str, None] = {}  # positions of tasks that nobody should begin any more
        self._place, self._now, self._max_payload = place, now, max_payload

    def load(self, history: Iterable[Event]) -> None:
        """What is recorded from here on. A step that is open was asked for already: another worker has moved it."""
        self.recorded.load(
            event for event in history if not (isinstance(event, ev.StepScheduled) and event.position in self.open)
        )

    def take(self) -> tuple[tuple[Event, ...], tuple[StepNode, ...], tuple[str, ...]]:
        """What is new since the last time: events, steps, and tasks that are not needed any more."""
        taken = tuple(self.new), tuple(step for step in self.steps if step.outcome is None), tuple(self.unneeded)
        self.new, self.steps, self.unneeded = [], [], {}
        return taken

    def mark(self) -> tuple[int, int]:
        """A place to go ``back`` to, when the turn that begins here breaks."""
        return len(self.new), len(self.steps)

    def back(self, mark: tuple[int, int]) -> None:
        for event in self.new[mark[0] :]:
            if isinstance(event, (ev.StepScheduled, ev.TimerSet)):
                self.open.pop(event.position, None)
        del self.new[mark[0] :], self.steps[mark[1] :]

    def forget(self, position: str) -> None:
        """This one has an outcome that nobody goes on with."""
        if (leaf := self.open.pop(position, None)) is not None:
            leaf.outcome = GONE

    def settle(self, leaf: Node, outcome: Outcome) -> None:
        self.open.pop(leaf.position, None)
        leaf.settle(outcome)

    def node(self, command: Command[Any], position: str) -> Node:
        """Give a command its place in the tree, and ask for its event."""
        command.taken = True
        match command:
            case Call() if command.definition.is_step:
                return self._schedule(command, position)
            case Call():
                raise self._refused(f"{command.told()} is a workflow: child runs are not supported yet")
            case Sleep():
                return self._timer(command, position)
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
                race = RaceNode(position, self.stop, self._won)
                for n, member in enumerate(members, 1):
                    if race.outcome is None:
                        race.add(self.node(member, f"{position}.{n}"))
                return race
            case Spawn(call=call):
                spawned = self.node(call, position)
                assert isinstance(spawned, StepNode)
                spawned.spawned = True
                self.spawned[position] = spawned
                return _given(position, Pending(position))
            case Pending(position=of):
                spawned = self.spawned[of]
                spawned.observed = True
                return spawned
            case Publish(name=name, value=value):
                try:
                    size_check(value, self._max_payload, f"the value published as {name!r}")
                except PayloadError as refused:
                    raise self._refused(str(refused)) from None
                self._ask(ev.ValuePublished(position=position, name=name, value=value))
                return _given(position, None)
            case Log(message=message, level=level):
                self._ask(ev.MessageLogged(position=position, message=message, level=level))
                return _given(position, None)
            case _:
                raise self._refused(f"{command.told()} is not a command of this version")

    def _refused(self, message: str) -> Broken:
        place = self._place()
        return Broken("code_error", f"{place.file}:{place.line}: {message}", place)

    def _schedule(self, call: Call[Any], position: str) -> StepNode:
        node = StepNode(position, call)
        asked = ev.StepScheduled(position=position, step=node.step, input=call.input, options=call.overrides.to_json())
        found = self._ask(asked)
        if found is None:
            self.steps.append(node)
        else:
            assert isinstance(found, ev.StepScheduled)
            node.elsewhere, node.scheduled_seq = found.elsewhere, found.seq
        self.open[position] = node
        return node

    def _timer(self, command: Sleep, position: str) -> TimerNode:
        due = self._now() + round(command.duration * 1_000_000) if command.duration is not None else command.until
        assert due is not None
        found = self._ask(ev.TimerSet(position=position, due=due))
        timer = TimerNode(position, found.due if isinstance(found, ev.TimerSet) else due)
        self.open[position] = timer
        return timer

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
            case TimerNode():
                self.emit(ev.TimerCancelled(position=node.position))
                self.settle(node, GONE)
            case Group():
                node.stop()
            case _:
                pass  # answered at once

    def unwanted(self, node: StepNode) -> None:
        """After an attempt, or when stopped: a step that nobody wants begins no further attempt."""
        if not node.closing or node.running:
            return
        if node.elsewhere:
            self.unneeded[node.position] = None
        else:
            self.emit(ev.StepCancelled(position=node.position))
            self.settle(node, GONE)


def _given(position: str, value: Any) -> Node:
    node = Node(position)
    node.settle(Ok(value))
    return node
