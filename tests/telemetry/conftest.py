"""A mesh whose runs are traced to a receiver on loopback, with providers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

from squidmesh.telemetry import Instrumentation, instrument
from squidmesh.testing import VirtualMesh
from tests.telemetry.receiver import Received, receiving


@dataclass
class Traced:
    mesh: VirtualMesh
    received: Received
    tracers: TracerProvider
    telemetry: Instrumentation
    reader: InMemoryMetricReader

    @property
    def tracer(self) -> Tracer:
        return self.tracers.get_tracer("theirs")

    def all(self) -> list[Any]:
        """All spans so far."""
        assert self.telemetry.flush(30)
        assert self.tracers.force_flush(30_000)
        return self.received.spans

    def measured(self, name: str) -> dict[tuple[str, ...], Any]:
        """The points of a metric by the values of their attributes: a number, or how many there were."""
        assert self.telemetry.flush(30)
        data = self.reader.get_metrics_data()
        assert data is not None
        for resource in data.resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                if metric.name == name:
                    return {
                        tuple(str(value) for value in (point.attributes or {}).values()): getattr(
                            point, "value", getattr(point, "count", None)
                        )
                        for point in metric.data.data_points
                    }
        return {}


@pytest.fixture
def received() -> Iterator[Received]:
    with receiving() as found:
        yield found


@pytest.fixture
def traced(received: Received) -> Iterator[Traced]:
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{received.address}/v1/traces")))
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    with VirtualMesh() as mesh:
        telemetry = instrument(mesh, tracers, meters, logs=False)
        yield Traced(mesh, received, tracers, telemetry, reader)
        telemetry.remove()
    tracers.shutdown()
    meters.shutdown()
