"""Our own encoder gives what the SDK's gives."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from squidmesh.telemetry import instrument, otlp
from squidmesh.testing import VirtualMesh
from tests.telemetry.receiver import receiving
from tests.telemetry.shop import week


def _spans() -> list[Any]:
    tracers, ended = TracerProvider(), []

    class Listening(SpanProcessor):
        def on_end(self, span: Any) -> None:
            ended.append(span)

    tracers.add_span_processor(Listening())
    with VirtualMesh() as mesh:
        telemetry = instrument(mesh, tracers, logs=False)
        mesh.run(week())
        telemetry.remove()
    return ended


def test_plain_spans_are_encoded_as_the_sdk_encodes_them() -> None:
    plain = [span for span in _spans() if otlp.is_plain(span)]
    assert len(plain) == 21
    ours, theirs = ExportTraceServiceRequest.FromString(otlp.encode(plain)), encode_spans(plain)
    assert ours == theirs


def test_an_export_has_every_span_once() -> None:
    spans = _spans()
    with receiving() as received:
        exporter = otlp.SpanExporter(f"{received.address}/v1/traces")
        exporter.export(spans)
        exporter.shutdown()
    assert sorted(span.span_id.hex() for span in received.spans) == sorted(f"{s.context.span_id:016x}" for s in spans)


def test_long_and_negative_values_are_varints() -> None:
    for value in (0, 127, 128, 300, 2**40, -1, True, "x" * 200):
        request = b"\x0a" + otlp._varint(0)
        assert request == b"\x0a\x00"
        from opentelemetry.proto.trace.v1.trace_pb2 import Span

        (known,) = Span.FromString(otlp._attribute("squidmesh.n", value)).attributes
        assert getattr(known.value, known.value.WhichOneof("value")) == value
