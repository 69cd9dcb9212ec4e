"""A real OTLP receiver on loopback, and what makes a trace well-formed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WITHIN = 30.0  # seconds


class Received:
    """What has come so far; ``raw`` is all of it as bytes."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.raw = b""
        self.address = ""
        self._lock = threading.Lock()

    def take(self, path: str, body: bytes) -> None:
        with self._lock:
            self.raw += body
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            else:
                for found in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    self.metrics.extend(metric for scope in found.scope_metrics for metric in scope.metrics)

    def wait(self, there: Callable[[Received], bool]) -> None:
        until = time.monotonic() + WITHIN
        while not there(self):
            assert time.monotonic() < until, f"it did not come: {sorted(span.name for span in self.spans)}"
            time.sleep(0.02)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Any:
        (span,) = self.named(name)
        return span


@contextmanager
def receiving() -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        received.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield received
        finally:
            server.shutdown()


def attributes(span: Any) -> dict[str, Any]:
    return {known.key: getattr(known.value, known.value.WhichOneof("value")) for known in span.attributes}


def well_formed(spans: Sequence[Any], *, root: str) -> None:
    """One trace with one root; no span twice; every parent there; nothing that ends before it begins."""
    assert len({span.trace_id for span in spans}) == 1
    twice = [name for (name, _), n in Counter((span.name, span.span_id) for span in spans).items() if n > 1]
    assert not twice, f"exported twice: {twice}"
    there = {span.span_id for span in spans}
    assert [span.name for span in spans if not span.parent_span_id] == [root]
    orphans = [span.name for span in spans if span.parent_span_id and span.parent_span_id not in there]
    assert not orphans, f"without their parents: {orphans}"
    for span in spans:
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span.name
