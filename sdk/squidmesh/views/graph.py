"""A run as a graph, as it happened: what it asked for, in the order of its workflow, and what was undone.

    sequence   from each command to the next              parallel   from a fork to its members, from them to their join
    child      to a run that was started from here        scope      from a savepoint to each command inside it
    member     from a transaction to its steps            undo       along a rollback, and from an undo to what it undid
    continued  to the run that goes on from here      forked     from the run that a fork goes on from, to its place

The rule of this file: drawn from recorded facts alone, so it is the same when the code is gone. It grows with the
history and no faster: members meet in a join, and never each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel

from squidmesh.core.chain import Rollback
from squidmesh.core.events import Event
from squidmesh.core.status import StepStatus
from squidmesh.ports import RunRow, TaskRow
from squidmesh.views.folding import Folded, folded
from squidmesh.views.happened import Happened, happened
from squidmesh.views.outside import gates, waits
from squidmesh.views.run import standing

NodeKind = Literal[
    "start", "end", "step", "transaction", "timer", "signal", "gate", "child", "deferred", "send", "join", "race",
    "scope", "rollback", "undo", "run",
]  # fmt: skip
EdgeKind = Literal["sequence", "parallel", "child", "scope", "member", "undo", "continued", "forked"]


class Node(BaseModel, frozen=True):
    """One thing of a run. ``position`` is its place in the workflow; "" for what has none (start, end, a rollback)."""

    id: str
    kind: NodeKind
    name: str
    position: str = ""
    status: str


class Edge(BaseModel, frozen=True):
    """From one node to another, by their ids."""

    source: str
    target: str
    kind: EdgeKind


class Graph(BaseModel, frozen=True):
    """Nodes in the order of the workflow, rollbacks after what they undo; edges in the order of their targets."""

    schema_version: int = 1
    run_id: str
    workflow: str
    status: str
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()


def graph(row: RunRow, events: Sequence[Event], tasks: Sequence[TaskRow] = ()) -> Graph:
    """The graph of a run.

    :param events: its history, followed by the events that wait in its inbox.
    """
    run, told = folded(events, tasks), happened(events)
    status = standing(row, run)[0].value
    drawing = _Drawing(row, run, told, status)
    drawing.draw()
    return Graph(
        run_id=row.run_id, workflow=row.workflow, status=status,
        nodes=tuple(drawing.nodes.values()), edges=tuple(dict.fromkeys(drawing.edges)),
    )  # fmt: skip


def places(position: str) -> tuple[int, ...]:
    """A position as numbers, to sort by."""
    return tuple(int(part) if part.isdigit() else 0 for part in position.partition(":")[0].split("."))


def inside(graph: Graph) -> dict[str, list[str]]:
    """The scopes around each command, by the ids of both, the outermost first; members are where their group is."""
    around: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.kind == "scope":
            around.setdefault(edge.target, []).append(edge.source)
    own = (node for node in graph.nodes if node.position and node.kind not in ("scope", "rollback", "undo"))
    return {node.id: around[top] for node in own if (top := node.position.partition(".")[0]) in around}


class _Drawing:
    """A graph in the making. ``leaves`` are what the workflow asked for, by position."""

    def __init__(self, row: RunRow, run: Folded, told: Happened, status: str) -> None:
        self.run, self.told, self.row, self.status = run, told, row, status
        self.over = run.end is not None
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.leaves = {node.position: node for node in self._leaves()}
        self.under: dict[str, list[str]] = {}
        for position in sorted(self.leaves, key=places):
            self._place(position)

    def draw(self) -> None:
        last = self._node(Node(id="start", kind="start", name=self.row.workflow, status=self.status)).id
        for position in self.under.get("", ()):
            last = self._command(position, last, "sequence")
        self._forked()
        self._scopes()
        for rollback in self.run.chain.rollbacks:
            self._rollback(rollback, last)
        self._end(last)

    def _place(self, position: str) -> None:
        """Put a position under that of its group, which may be no leaf itself."""
        while True:
            parent = position.rpartition(".")[0]
            known = self.under.setdefault(parent, [])
            if position in known[-1:]:
                return
            known.append(position)
            if not parent:
                return
            position = parent

    def _command(self, position: str, before: str, kind: EdgeKind) -> str:
        """Draw what was asked for at a position, behind a node; gives the node that what follows stands behind."""
        leaf, members = self.leaves.get(position), self.under.get(position, ())
        if leaf is not None:
            self._node(leaf)
            into: EdgeKind = "child" if leaf.kind in ("child", "deferred") else kind
            self.edges.append(Edge(source=before, target=leaf.id, kind=into))
            for member in members:
                self._command(member, leaf.id, "member")
            return leaf.id
        ends = [self._command(member, before, "parallel") for member in members]
        join = self._node(self._join(position, ends))
        self.edges += [Edge(source=end, target=join.id, kind="parallel") for end in ends]
        return join.id

    def _join(self, position: str, ends: Sequence[str]) -> Node:
        won = self.told.races.get(position)
        open_ = any(self.nodes[end].status in _OPEN for end in ends) and not self.over
        return Node(
            id=position, position=position, kind="join" if won is None else "race",
            name="gather" if won is None else "race",
            status=f"won by {position}.{won + 1}" if won is not None else "running" if open_ else "completed",
        )  # fmt: skip

    def _leaves(self) -> Iterator[Node]:
        run, told = self.run, self.told
        for step in run.steps.values():
            kind: NodeKind = "transaction" if "group" in step.traits else "step"
            yield _at(step.position, kind, step.name, step.status.value)
        for timer in told.timers.values():
            yield _at(timer.position, "timer", timer.name, self._still(timer.status, "waiting"))
        for wait in waits(run.outside, self.over):
            yield _at(wait.position, "signal", wait.name, wait.status)
        for gate in gates(run.outside, self.over):
            yield _at(gate.position, "gate", gate.name, gate.status)
        for child in run.children.values():
            kind = "deferred" if child.deferred else "child"
            yield _at(child.begun.position, kind, child.begun.workflow, child.status)
        for sent in told.sent.values():
            yield _at(sent.position, "send", sent.name, sent.status)

    def _still(self, status: str, open_: str) -> str:
        return "cancelled" if self.over and status == open_ else status

    def _forked(self) -> None:
        """The run that a fork goes on from leads to the first command that runs anew."""
        first = self.run.started
        if first is None or first.rerun_of is None or first.from_position is None:
            return
        run_id, place = f"run:{first.rerun_of}", places(first.from_position)
        self._node(Node(id=run_id, kind="run", name=self.row.workflow, status="forked"))
        anew = (position for position in sorted(self.leaves, key=places) if places(position) >= place)
        self.edges.append(Edge(source=run_id, target=next(anew, "start"), kind="forked"))

    def _scopes(self) -> None:
        top = self.under.get("", ())
        for scope in self.told.scopes.values():
            left = self.told.left.get(scope.scope)
            status = "open" if left is None else "failed" if left.failed else "committed" if scope.commit else "left"
            node = self._node(
                Node(id=f"scope:{scope.scope}", kind="scope", name=scope.name, position=scope.position, status=status)
            )
            first, end = places(scope.position), None if left is None else places(left.position)
            inside = (at for at in top if places(at) >= first and (end is None or places(at) < end))
            self.edges += [Edge(source=node.id, target=at, kind="scope") for at in inside if at in self.nodes]

    def _rollback(self, rollback: Rollback, before: str) -> None:
        status = rollback.outcome or ("halted" if rollback.halted is not None else "walking")
        top = Node(id=f"rollback:{rollback.number}", kind="rollback", name=rollback.begun.cause, status=status)
        self._node(top)
        self.edges.append(Edge(source=before, target=top.id, kind="undo"))
        last = top.id
        for entry_id in rollback.planned or ():
            entry, settled = self.run.chain.entries[entry_id], rollback.settled.get(entry_id)
            state = settled.state if settled is not None else "failed" if entry.failed is not None else "pending"
            if settled is None and (entry.running or entry.retry_at is not None):
                state = "running" if entry.running else "retrying"
            node = self._node(
                Node(id=f"{top.id}:{entry_id}", kind="undo", name=entry.step, position=entry.position, status=state)
            )
            self.edges.append(Edge(source=last, target=node.id, kind="undo"))
            if entry.position in self.nodes:
                self.edges.append(Edge(source=node.id, target=entry.position, kind="undo"))
            last = node.id

    def _end(self, last: str) -> None:
        if (went_on := self.told.continued) is not None:
            run_id = f"run:{went_on.run_id}"
            self._node(Node(id=run_id, kind="run", name=went_on.workflow, status="started"))
            self.edges.append(Edge(source=last, target=run_id, kind="continued"))
        elif self.over:
            self._node(Node(id="end", kind="end", name=self.status, status=self.status))
            self.edges.append(Edge(source=last, target="end", kind="sequence"))

    def _node(self, node: Node) -> Node:
        return self.nodes.setdefault(node.id, node)


_OPEN = frozenset({
    StepStatus.SCHEDULED.value, StepStatus.RUNNING.value, StepStatus.RETRYING.value, StepStatus.COMPENSATING.value,
    StepStatus.IN_DOUBT.value, "waiting", "open", "started",
})  # fmt: skip
"""Statuses of members that their join waits for."""


def _at(position: str, kind: NodeKind, name: str, status: str) -> Node:
    return Node(id=position, kind=kind, name=name, position=position, status=status)
