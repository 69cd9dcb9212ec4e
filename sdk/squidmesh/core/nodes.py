"""What a run has asked for and not yet got: a small tree of nodes under the command that the workflow waits for.

The rule of this file: a node settles once, with an outcome, and tells those who watch it. Leaves (steps, timers) are
settled by recorded events; groups (gather, fan_out, race) by their members. Nothing here records or decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from squidmesh.core.calls import Call, Command
from squidmesh.core.commands import FanOut
from squidmesh.core.effects import Effect, Trait
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.errors import GatherFailed

if TYPE_CHECKING:
    from squidmesh.core import events as ev
    from squidmesh.core.gates import Gate, Vote
    from squidmesh.core.payloads import Value
    from squidmesh.core.signals import Signal
    from squidmesh.core.step import Step


@dataclass(frozen=True, slots=True)
class Ok:
    value: Any


@dataclass(frozen=True, slots=True)
class Bad:
    error: BaseException  # what the workflow sees
    failure: Failure


@dataclass(frozen=True, slots=True)
class Gone:
    """Cancelled before it had an outcome."""


Outcome = Ok | Bad | Gone
GONE = Gone()


ATTEMPT, CHECK, COMPENSATE, DOUBT = "attempt", "check", "compensate", "doubt"
"""What is made of a step next: an attempt, a call of one of its handlers, or nothing before a person has spoken."""


class Node:
    __slots__ = ("position", "outcome", "watchers")

    def __init__(self, position: str) -> None:
        self.position = position
        self.outcome: Outcome | None = None
        self.watchers: list[tuple[Group, int]] = []

    def settle(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            for group, index in self.watchers:
                group.member_settled(index, outcome)


def given(position: str, value: Any) -> Node:
    """A node that is settled from the beginning."""
    node = Node(position)
    node.settle(Ok(value))
    return node


class StepNode(Node):
    """A step: scheduled, perhaps being tried, perhaps waiting for its next attempt."""

    __slots__ = (
        "call", "elsewhere", "scheduled_seq", "number", "running", "worker", "failed", "lost", "retry_at", "first_at",
        "progress", "closing", "spawned", "observed", "traits", "effect", "failure", "stage", "cycle", "checked",
        "compensated", "unheard", "answer",
    )  # fmt: skip

    def __init__(self, position: str, call: Call[Any]) -> None:
        super().__init__(position)
        self.call = call
        self.elsewhere = False  # a task row has it
        self.scheduled_seq = 0
        self.number = 0  # of the latest attempt
        self.running = False
        self.worker = ""
        self.failed = 0
        self.lost = 0
        self.retry_at: int | None = None
        self.first_at = 0
        self.progress: Any = None
        self.closing = False  # nobody wants a further attempt
        self.spawned = False
        self.observed = False  # the workflow has waited for it
        self.traits: list[str] = []
        self.effect = Effect.NONE  # of the attempts so far
        self.failure: Failure | None = None  # of the latest
        self.stage = ATTEMPT  # what is made of it next, or now
        self.cycle = 1  # of attempts
        self.checked = False
        self.compensated = False
        self.unheard = False  # the latest attempt was lost
        self.answer: Event | None = None  # what follows from what a handler, or a person, has said

    def anew(self) -> None:
        """Begin a fresh cycle of attempts."""
        self.stage, self.failed, self.lost, self.first_at = ATTEMPT, 0, 0, 0
        self.running = self.checked = self.compensated = self.unheard = False
        self.answer = None

    def has(self, trait: Trait) -> bool:
        return trait.value in self.traits

    @property
    def harmless(self) -> bool:
        """Whether a failed attempt certainly leaves nothing: it only reads, or was rolled back."""
        return self.has(Trait.PURE) or self.has(Trait.TRANSACTIONAL)

    @property
    def definition(self) -> Step[..., Any]:
        """What today's code says of the step."""
        found = self.call.definition
        assert found.is_step
        return found  # type: ignore[return-value]

    @property
    def step(self) -> str:
        return self.call.definition.name

    @property
    def group(self) -> Group | None:
        return self.watchers[0][0] if self.watchers else None


class TimerNode(Node):
    __slots__ = ("due",)

    def __init__(self, position: str, due: int) -> None:
        super().__init__(position)
        self.due = due


class SignalNode(Node):
    """A wait for a message."""

    __slots__ = ("signal", "due")

    def __init__(self, position: str, signal: Signal[Any], due: int | None) -> None:
        super().__init__(position)
        self.signal, self.due = signal, due


class SendNode(Node):
    """A message to another run, on its way."""

    __slots__ = ("run_id", "name", "payload")

    def __init__(self, position: str, run_id: str, name: str, payload: Any) -> None:
        super().__init__(position)
        self.run_id, self.name, self.payload = run_id, name, payload


class GateNode(Node):
    """A place where a person decides. ``needed`` and ``due`` are as recorded when it was opened."""

    __slots__ = ("gate", "needed", "due", "votes")

    def __init__(self, position: str, gate: Gate, needed: int, due: int | None) -> None:
        super().__init__(position)
        self.gate, self.needed, self.due = gate, needed, due
        self.votes: dict[str, Vote] = {}  # the first of each actor


class ChildNode(Node):
    """A run that this one has started (or ``joined``), and waits for. ``closing``: it was asked to cancel.

    ``result``: what its result decodes to; None: nobody goes on with it.
    """

    __slots__ = ("workflow", "run_id", "joined", "detached", "result", "closing", "spawned", "observed", "asked")

    def __init__(self, asked: ev.ChildStarted, result: Value | None) -> None:
        super().__init__(asked.position)
        self.asked = asked
        self.workflow, self.run_id, self.joined = asked.workflow, asked.run_id, asked.joined
        self.detached = bool(asked.options.get("detached"))
        self.result = result
        self.closing = False
        self.spawned = False
        self.observed = False

    @property
    def owned(self) -> bool:
        """Whether it is cancelled and undone with this run."""
        return not (self.joined or self.detached)


class Group(Node, ABC):
    """Members that settle one by one. ``stop`` cancels a member (given by the interpreter)."""

    __slots__ = ("members", "out", "stopped", "_stop")

    def __init__(self, position: str, stop: Callable[[Node], None]) -> None:
        super().__init__(position)
        self.members: list[Node] = []
        self.out = 0  # members that have not settled
        self.stopped = False
        self._stop = stop

    def add(self, member: Node) -> None:
        index = len(self.members)
        self.members.append(member)
        self.out += 1
        if member.outcome is None:
            member.watchers.append((self, index))
        else:
            self.member_settled(index, member.outcome)

    def owns(self, member: Node) -> bool:
        """Whether stopping the group stops this member: what was spawned has a life of its own."""
        return not (isinstance(member, (StepNode, ChildNode)) and member.spawned)

    def stop(self) -> None:
        """Cancel what has not settled; the group settles once all have."""
        if not self.stopped and self.outcome is None:
            self.stopped = True
            for member in list(self.members):
                if member.outcome is None and self.owns(member):
                    self._stop(member)
            self.look()

    @abstractmethod
    def member_settled(self, index: int, outcome: Outcome) -> None:
        """Hear that a member has settled."""

    def look(self) -> None:
        """Settle if nothing is out any more."""

    def wake_at(self) -> int:
        """With how many tasks still out somebody must look (see ``ports.Join``)."""
        return 0


class GatherNode(Group):
    __slots__ = ("as_list", "results", "failures", "ready")

    def __init__(self, position: str, stop: Callable[[Node], None], as_list: bool) -> None:
        super().__init__(position, stop)
        self.as_list = as_list
        self.results: dict[int, Any] = {}
        self.failures: dict[int, Failure] = {}
        self.ready = False  # all members are there

    def member_settled(self, index: int, outcome: Outcome) -> None:
        self.out -= 1
        match outcome:
            case Ok(value):
                self.results[index] = value
            case Bad(_, failure):
                self.failures[index] = failure
                if self.failed():
                    self.stop()
            case Gone():
                pass
        self.look()

    def failed(self) -> bool:
        return bool(self.failures)

    def look(self) -> None:
        if self.out or not self.ready or self.outcome is not None:
            return
        if self.failed():
            error = GatherFailed(self.failures, dict(sorted(self.results.items())), self.position)
            self.settle(Bad(error, next(iter(self.failures.values()))))
        elif self.stopped:
            self.settle(GONE)
        else:
            self.settle(Ok(self.value()))

    def value(self) -> Any:
        ordered = [self.results[i] for i in range(len(self.members))]
        return ordered if self.as_list else tuple(ordered)


class FanOutNode(GatherNode):
    """A gather through a window: ``begin(index)`` makes the next member's node (given by the interpreter)."""

    __slots__ = ("commands", "limit", "tolerate", "_begin", "_filling")

    def __init__(
        self,
        position: str,
        stop: Callable[[Node], None],
        commands: Sequence[Command[Any]],
        limit: int | None,
        tolerate: int,
        begin: Callable[[Command[Any], str], Node],
    ) -> None:
        super().__init__(position, stop, as_list=True)
        self.commands, self.limit, self.tolerate = commands, limit, tolerate
        self._begin = begin
        self._filling = False

    def failed(self) -> bool:
        return len(self.failures) > self.tolerate

    def fill(self) -> None:
        """Begin members until the window is full."""
        if self._filling:
            return
        self._filling = True
        total = len(self.commands)
        while not self.stopped and len(self.members) < total and (self.limit is None or self.out < self.limit):
            n = len(self.members)
            self.add(self._begin(self.commands[n], f"{self.position}.{n + 1}"))
        self._filling = False

    def look(self) -> None:
        if self.ready:
            self.fill()
        if not self._filling:
            super().look()

    def value(self) -> Any:
        return FanOut(dict(sorted(self.results.items())), dict(sorted(self.failures.items())))

    def wake_at(self) -> int:
        return self.out - max(1, self.out // 2) if len(self.members) < len(self.commands) else 0


class RaceNode(Group):
    """The first member that settles decides; ``won`` records it (given by the interpreter)."""

    __slots__ = ("_won",)

    def __init__(self, position: str, stop: Callable[[Node], None], won: Callable[[str, int], None]) -> None:
        super().__init__(position, stop)
        self._won = won

    def member_settled(self, index: int, outcome: Outcome) -> None:
        self.out -= 1
        if self.outcome is None and not isinstance(outcome, Gone):
            self._won(self.position, index)
            self.settle(Ok((index, outcome.value)) if isinstance(outcome, Ok) else outcome)
            for n, member in enumerate(self.members):
                if n != index and member.outcome is None and self.owns(member):
                    self._stop(member)
        self.look()

    def look(self) -> None:
        if self.stopped and self.out == 0:
            self.settle(GONE)


Leaf = StepNode | TimerNode | SignalNode | SendNode | GateNode | ChildNode
"""What is open by itself, until an event settles it."""
