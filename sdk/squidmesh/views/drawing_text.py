"""A graph as text for a terminal: one line a node, from the start down, branches indented beside their fork.

The rule of this file: a pure function of the graph; no colours, no width of a terminal. A mark says how a node stands.
"""

from __future__ import annotations

from collections.abc import Iterator

from squidmesh.views.graph import Graph, Node, inside

MARKS = {
    "completed": "✓", "fired": "✓", "received": "✓", "approved": "✓", "resumed": "✓", "delivered": "✓", "undone": "↶",
    "skipped": "↷", "failed": "✗", "rejected": "✗", "expired": "✗", "timed_out": "✗", "irreversible": "✗",
    "undelivered": "✗", "terminated": "✗", "in_doubt": "?", "unaccounted": "?", "cancelled": "–", "running": "▶",
    "compensating": "▶", "walking": "▶", "retrying": "↻", "clean": "↶", "partial": "✗", "refused": "✗", "halted": "✗",
    "abandoned": "✗",
}  # fmt: skip
"""How a status looks at a glance; what is not here has not begun, or is under way."""

_SAID_ITSELF = ("start", "join", "race", "rollback", "end")


def render_text(graph: Graph) -> str:
    """Draw a graph as lines of text, in the order of the workflow; the rollbacks after it.

    Members of a fork are indented under it, steps of a transaction under that; an open circle is what waits.
    """
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield f"{graph.workflow} {graph.run_id} ({graph.status})"
    names = {node.id: node.name for node in graph.nodes if node.kind == "scope"}
    around = inside(graph)
    forks = {node.id for node in graph.nodes if node.kind in ("join", "race")}
    opened: set[str] = set()
    for node in graph.nodes:
        if node.kind in ("start", "scope", "end"):
            continue
        if node.kind in ("rollback", "undo"):
            yield from _undone(node)
            continue
        for fork in _forks(node, forks):
            if fork not in opened:
                opened.add(fork)
                yield f"{_indent(fork)}┬ {fork} in parallel"
        within = "" if "." in node.position else ", ".join(names[scope] for scope in around.get(node.id, ()))
        yield f"{_indent(node.position)}{_mark(node)}{f'  [{within}]' if within else ''}"
    for node in graph.nodes:
        if node.kind == "end":
            yield f"■ {node.status}"


def _forks(node: Node, forks: set[str]) -> Iterator[str]:
    """The forks around a node, outermost first."""
    parts = node.position.split(".")
    for length in range(1, len(parts)):
        outer = ".".join(parts[:length])
        if outer in forks:
            yield outer


def _mark(node: Node) -> str:
    if node.kind in ("join", "race"):
        return f"┴ {node.position} {node.name}: {node.status}"
    kind = "" if node.kind == "step" else f" ({node.kind})"
    return f"{MARKS.get(node.status, '○')} {node.position} {node.name}{kind}: {node.status}"


def _undone(node: Node) -> Iterator[str]:
    if node.kind == "rollback":
        yield f"↶ rollback ({node.name}): {node.status}"
    else:
        yield f"  {MARKS.get(node.status, '○')} {node.position} undo of {node.name}: {node.status}"


def _indent(position: str) -> str:
    return "│ " * position.count(".")
