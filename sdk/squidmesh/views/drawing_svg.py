"""A graph as an SVG picture: boxes in rows from the start down, coloured by how they stand.

The rule of this file: a pure function of the graph; the picture stands alone (no script, no font or style from
elsewhere), and the same graph gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from squidmesh.views.graph import Graph, Node, inside
from squidmesh.views.layout import Placed, placed
from squidmesh.views.palette import tone

WIDE, TALL = 200, 48  # of a box
APART, BELOW = 40, 34  # between two boxes
MARGIN = 28
LANES = 6  # of lines that go back
MOST = 28  # letters of a name

_COLOURS = {
    "good": ("#e3f4e6", "#2e7d32"), "bad": ("#fde7e7", "#c62828"), "busy": ("#e5effb", "#1565c0"),
    "open": ("#fff7df", "#b26a00"), "gone": ("#f0f0f0", "#757575"), "undone": ("#efe7f7", "#6a1b9a"),
}  # fmt: skip
_ROUND = {"start": 24, "end": 24, "rollback": 24, "timer": 18, "signal": 2, "send": 2}

Box = tuple[float, float]
"""The upper left corner of a box."""


def render_svg(graph: Graph) -> str:
    """Draw a graph as an SVG document."""
    where = placed(graph)
    boxes = _boxes(where)
    width = max((x for x, _ in boxes.values()), default=0) + WIDE + MARGIN
    height = max((y for _, y in boxes.values()), default=0) + TALL + MARGIN
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" font-family="system-ui, sans-serif" font-size="13">'
        ),
        f"<title>{escape(f'{graph.workflow} {graph.run_id} ({graph.status})')}</title>",
        (
            '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="#616161"/></marker></defs>'
        ),
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        *_scopes(graph, boxes),
        *_edges(graph, boxes),
        *(_box(at.node, boxes[at.node.id]) for at in where),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _boxes(where: Sequence[Placed]) -> dict[str, Box]:
    """Rows are centred over the widest one, but for the column of rollbacks, which stands to their right."""
    forward = [at for at in where if at.node.kind not in ("rollback", "undo")]
    counts: dict[int, int] = {}
    for at in forward:
        counts[at.row] = max(counts.get(at.row, 0), at.column + 1)
    widest = max(counts.values(), default=1)
    boxes: dict[str, Box] = {}
    for at in where:
        behind = at.node.kind in ("rollback", "undo")
        left = (widest if behind else (widest - counts[at.row]) / 2 + at.column) * (WIDE + APART)
        boxes[at.node.id] = (MARGIN + left + (APART if behind else 0), MARGIN + at.row * (TALL + BELOW))
    return boxes


def _box(node: Node, box: Box) -> str:
    (x, y), (fill, line) = box, _COLOURS[tone(node.status)]
    corner = _ROUND.get(node.kind, 6)
    double = node.kind in ("child", "deferred", "run", "transaction")
    inner = (
        f'<rect x="{x + 4:g}" y="{y + 4:g}" width="{WIDE - 8}" height="{TALL - 8}" rx="3" fill="none" '
        f'stroke="{line}" stroke-width="0.7"/>'
        if double
        else ""
    )
    name = _short(f"undo of {node.name}" if node.kind == "undo" else node.name)
    what = _short(" · ".join(part for part in (node.position, _kind(node), node.status) if part))
    middle, said = x + WIDE / 2, f"{node.name} ({node.kind}, {node.position or '-'}): {node.status}"
    return (
        f"<g><title>{escape(said)}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{WIDE}" height="{TALL}" rx="{corner}" fill="{fill}" stroke="{line}" '
        f'stroke-width="1.4"/>{inner}'
        f'<text x="{middle:g}" y="{y + 20:g}" text-anchor="middle" font-weight="600">{escape(name)}</text>'
        f'<text x="{middle:g}" y="{y + 37:g}" text-anchor="middle" font-size="11" fill="{line}">{escape(what)}</text>'
        "</g>"
    )


def _kind(node: Node) -> str:
    return "" if node.kind in ("step", "undo") else node.kind


def _edges(graph: Graph, boxes: dict[str, Box]) -> Iterator[str]:
    kinds, lane = {node.id: node.kind for node in graph.nodes}, 0
    for edge in graph.edges:
        if edge.kind == "scope" or edge.source not in boxes or edge.target not in boxes:
            continue
        back = edge.kind == "undo" and kinds[edge.target] != "undo" and kinds[edge.source] == "undo"
        source, target = boxes[edge.source], boxes[edge.target]
        path = _across(source, target, lane % LANES) if back else _down(source, target)
        lane += back
        colour = _COLOURS["undone"][1] if edge.kind == "undo" else "#616161"
        dashes = ' stroke-dasharray="4 4"' if back else ""
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.3"{dashes} marker-end="url(#to)"/>'


def _down(source: Box, target: Box) -> str:
    """From the lower edge of a box to the upper edge of one below it."""
    x, y, to_x, to_y = source[0] + WIDE / 2, source[1] + TALL, target[0] + WIDE / 2, target[1]
    if x == to_x:
        return f"M{x:g} {y:g} L{to_x:g} {to_y:g}"
    bend = to_y - BELOW / 2
    return f"M{x:g} {y:g} L{x:g} {bend:g} L{to_x:g} {bend:g} L{to_x:g} {to_y:g}"


def _across(source: Box, target: Box, lane: int) -> str:
    """From the left edge of an undo to the right edge of what it undid; neighbours go side by side."""
    x, y, to_x, to_y = source[0], source[1] + TALL / 2, target[0] + WIDE, target[1] + TALL / 2
    middle = x - APART / 2 - 8 + lane * 5
    return f"M{x:g} {y:g} L{middle:g} {y:g} L{middle:g} {to_y:g} L{to_x:g} {to_y:g}"


def _scopes(graph: Graph, boxes: dict[str, Box]) -> Iterator[str]:
    for scope in (node for node in graph.nodes if node.kind == "scope"):
        around = _within(graph, scope.id, boxes)
        if not around:
            continue
        left, top = min(x for x, _ in around) - 10, min(y for _, y in around) - 16
        width, height = max(x for x, _ in around) + WIDE + 10 - left, max(y for _, y in around) + TALL + 10 - top
        yield (
            f'<g><rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="8" fill="#fafafa" '
            f'stroke="#9e9e9e" stroke-dasharray="3 3"/><text x="{left + 6:g}" y="{top + 11:g}" font-size="10" '
            f'fill="#616161">{escape(f"{scope.name} ({scope.status})")}</text></g>'
        )


def _within(graph: Graph, scope: str, boxes: dict[str, Box]) -> list[Box]:
    """The boxes of a savepoint's commands, and of their members."""
    return [boxes[node] for node, scopes in inside(graph).items() if scope in scopes and node in boxes]


def _short(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"
