"""A collector-less viewer: it receives OTLP over HTTP on a loopback port, and draws what came as a waterfall."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROW, LEFT, WIDTH = 26, 330, 720  # pixels
COLOURS = {"Run": "#3b6ea5", "Att": "#8fb3d9", "Und": "#c9822b", "Rol": "#a35d00", "Sle": "#9aa0a6", "Wai": "#9aa0a6"}


@dataclass(frozen=True)
class Bar:
    """A span in the order of the picture: ``depth`` below the root; times in milliseconds since the trace began."""

    name: str
    depth: int
    start: float
    length: float
    outcome: str
    failed: bool


@contextmanager
def listening() -> Iterator[tuple[str, list[Any]]]:
    """The address of a receiver, and the list that the spans it is sent go to."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", spans
        finally:
            server.shutdown()


def bars(spans: Sequence[Any]) -> list[Bar]:
    """Parents before their children, siblings by time."""
    below: dict[bytes, list[Any]] = {}
    for span in sorted(spans, key=lambda span: (span.start_time_unix_nano, span.name)):
        below.setdefault(span.parent_span_id, []).append(span)
    begin = min((span.start_time_unix_nano for span in spans), default=0)

    def walk(parent: bytes, depth: int) -> Iterator[Bar]:
        for span in below.get(parent, ()):
            told = {known.key: known.value.string_value for known in span.attributes}
            length = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
            start = (span.start_time_unix_nano - begin) / 1e6
            yield Bar(span.name, depth, start, length, told.get("squidmesh.outcome", ""), span.status.code == 2)
            yield from walk(span.span_id, depth + 1)

    return list(walk(b"", 0))


def as_text(spans: Sequence[Any], width: int = 48) -> str:
    found = bars(spans)
    whole = max((bar.start + bar.length for bar in found), default=0) or 1
    lines = []
    for bar in found:
        at, size = int(bar.start / whole * width), max(1, round(bar.length / whole * width))
        drawn = " " * min(at, width - 1) + ("x" if bar.failed else "=") * min(size, width - min(at, width - 1))
        lines.append(f"{'  ' * bar.depth + bar.name:<34}|{drawn:<{width}}| {bar.length:7.0f} ms {bar.outcome}".rstrip())
    return "\n".join(lines)


def as_page(spans: Sequence[Any]) -> str:
    found = bars(spans)
    whole = max((bar.start + bar.length for bar in found), default=0) or 1
    drawn = "\n".join(_row(n, bar, whole) for n, bar in enumerate(found))
    height, across = ROW * len(found) + 16, LEFT + WIDTH + 200
    return (
        "<!doctype html><meta charset=utf-8><title>trace</title>"
        "<style>body { margin: 16px } svg { display: block; font: 13px system-ui, sans-serif }</style>"
        f"<svg width={across} height={height}>\n{drawn}\n</svg>"
    )


def _row(n: int, bar: Bar, whole: float) -> str:
    x, y = LEFT + bar.start / whole * WIDTH, n * ROW + 8
    size = max(3.0, bar.length / whole * WIDTH)
    colour = "#c5393b" if bar.failed and not bar.name.startswith("RunW") else COLOURS.get(bar.name[:3], "#5f8f5f")
    told = f"{bar.length:,.0f} ms {bar.outcome}".strip()
    shade = "#f5f6f8" if n % 2 else "#fff"
    return (
        f"<rect x=0 y={y} width=100% height={ROW} fill='{shade}'/>"
        f"<text x={12 + 18 * bar.depth} y={y + 17}>{escape(bar.name)}</text>"
        f"<rect x={x:.1f} y={y + 6} width={size:.1f} height={ROW - 12} rx=3 fill='{colour}'/>"
        f"<text x={x + size + 6:.1f} y={y + 17} fill='#555' font-size=11>{escape(told)}</text>"
    )
