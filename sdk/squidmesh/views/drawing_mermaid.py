"""A graph as Mermaid, which many places that show Markdown draw by themselves.

The rule of this file: a pure function of the graph. Names are quoted, so nothing in them is taken for syntax.
"""

from __future__ import annotations

from collections.abc import Iterator

from squidmesh.views.graph import Edge, Graph, Node, inside
from squidmesh.views.palette import tone

_SHAPES = {
    "start": ("([", "])"), "end": ("([", "])"), "timer": ("((", "))"), "signal": ("[/", "/]"), "send": ("[/", "/]"),
    "gate": ("{", "}"), "join": ("{{", "}}"), "race": ("{{", "}}"), "child": ("[[", "]]"), "deferred": ("[[", "]]"),
    "run": ("[[", "]]"), "rollback": ("([", "])"), "undo": ("[", "]"), "step": ("[", "]"), "transaction": ("[[", "]]"),
}  # fmt: skip
_ARROWS = {"undo": "-.->", "child": "==>", "continued": "==>", "forked": "-.->", "member": "---"}
_COLOURS = {
    "good": "fill:#e3f4e6,stroke:#2e7d32", "bad": "fill:#fde7e7,stroke:#c62828", "busy": "fill:#e5effb,stroke:#1565c0",
    "open": "fill:#fff7df,stroke:#b26a00", "gone": "fill:#f0f0f0,stroke:#757575",
    "undone": "fill:#efe7f7,stroke:#6a1b9a",
}  # fmt: skip


def render_mermaid(graph: Graph) -> str:
    """Write a graph as a Mermaid flowchart; each savepoint is a subgraph."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield "flowchart TD"
    ids = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    home = {node: scopes[-1] for node, scopes in inside(graph).items()}
    for node in graph.nodes:
        if node.kind != "scope" and node.id not in home:
            yield f"    {_node(node, ids)}"
    for scope in (node for node in graph.nodes if node.kind == "scope"):
        yield f'    subgraph {ids[scope.id]}["{_quoted(scope.name)} ({scope.status})"]'
        for node in graph.nodes:
            if home.get(node.id) == scope.id:
                yield f"        {_node(node, ids)}"
        yield "    end"
    for edge in graph.edges:
        if edge.kind != "scope":
            yield f"    {_edge(edge, ids)}"
    used = dict.fromkeys(tone(node.status) for node in graph.nodes if node.kind != "scope")
    for name in used:
        yield f"    classDef {name} {_COLOURS[name]}"


def _node(node: Node, ids: dict[str, str]) -> str:
    opening, closing = _SHAPES[node.kind]
    place = f"{node.position} " if node.position and node.kind != "undo" else ""
    label = f"{place}{'undo of ' if node.kind == 'undo' else ''}{_quoted(node.name)}"
    status = "" if node.name == node.status else f"<br/>{_quoted(node.status)}"
    return f'{ids[node.id]}{opening}"{label}{status}"{closing}:::{tone(node.status)}'


def _edge(edge: Edge, ids: dict[str, str]) -> str:
    return f"{ids[edge.source]} {_ARROWS.get(edge.kind, '-->')} {ids[edge.target]}"


def _quoted(text: str) -> str:
    for sign, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        text = text.replace(sign, code)
    return " ".join(text.split())
