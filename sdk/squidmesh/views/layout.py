"""Where the nodes of a graph go when it is drawn: rows from the start down, branches beside each other.

A node stands one row below the lowest of those that lead to it; what stands in one row goes from left to right in the
order of the graph. A branch keeps the column that its fork gave it. What was undone goes on below, in a column of its
own, so that a rollback reads downwards, newest first.

The rule of this file: places only, the same for the same graph; how a node looks is the drawings'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squidmesh.views.graph import Edge, Graph, Node

DOWN = frozenset({"sequence", "parallel", "child", "member", "continued"})
"""Edges that put their target below their source."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A node in its row and column, both from 0."""

    node: Node
    row: int
    column: int


def placed(graph: Graph) -> list[Placed]:
    """The nodes of a graph, each with its place, by row and column. Scopes have none: they are drawn around others."""
    nodes = [node for node in graph.nodes if node.kind != "scope"]
    rows = _rows(nodes, graph.edges)
    forward = [node for node in nodes if not _of_rollback(node)]
    columns = _columns(forward, rows)
    width = 1 + max(columns.values(), default=0)
    columns |= {node.id: width for node in nodes if _of_rollback(node)}
    return sorted((Placed(node, rows[node.id], columns[node.id]) for node in nodes), key=lambda at: (at.row, at.column))


def _rows(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, int]:
    """The row of each node. Nodes come after those that lead to them, but for joins, which wait for their members."""
    into: dict[str, list[str]] = {}
    known = {node.id: node for node in nodes}
    for edge in edges:
        if edge.source in known and edge.target in known and _leads(edge, known):
            into.setdefault(edge.target, []).append(edge.source)
    rows: dict[str, int] = {}
    for node in nodes:
        stack = [node.id]
        while stack:
            missing = [source for source in into.get(stack[-1], ()) if source not in rows]
            if missing:
                stack += missing
            else:
                at = stack.pop()
                rows[at] = 1 + max((rows[source] for source in into.get(at, ())), default=-1)
    return rows


def _leads(edge: Edge, known: dict[str, Node]) -> bool:
    along_a_rollback = edge.kind == "undo" and _of_rollback(known[edge.target])
    return edge.kind in DOWN or along_a_rollback


def _of_rollback(node: Node) -> bool:
    return node.kind in ("rollback", "undo")


def _columns(nodes: Sequence[Node], rows: dict[str, int]) -> dict[str, int]:
    taken: dict[int, int] = {}
    columns: dict[str, int] = {}
    for node in nodes:
        row = rows[node.id]
        columns[node.id] = taken.get(row, 0)
        taken[row] = columns[node.id] + 1
    return columns
