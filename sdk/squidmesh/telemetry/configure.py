"""The OpenTelemetry SDK set up as its environment variables say: for programs that have no set-up of their own.

The rule of this file: nothing is set that somebody has set before. All of the rest is the SDK's: endpoint, headers,
sampler, resource, intervals (``OTEL_*``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from squidmesh.errors import ConfigurationError

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)


def configure(service_name: str | None = None) -> None:
    """Send traces and metrics by OTLP over HTTP, as ``OTEL_*`` variables say (by default to 127.0.0.1:4318).

    Sets the global providers, where they are not set yet, and labels log records made inside steps (``label_logs``).

    :param service_name: what the traces are said to come from; ``OTEL_SERVICE_NAME`` wins; by default ``squidmesh``.
    :raises ConfigurationError: the SDK or its exporter is not installed.
    """
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from squidmesh.telemetry.otlp import SpanExporter
    except ImportError as error:
        raise ConfigurationError(f"OpenTelemetry is not installed ({error}): pip install 'squidmesh[otel]'") from None

    named = Resource.create({"service.name": service_name or "squidmesh"}).merge(OTELResourceDetector().detect())
    if _exports("OTEL_TRACES_EXPORTER") and not isinstance(trace.get_tracer_provider(), TracerProvider):
        tracers = TracerProvider(resource=named)
        tracers.add_span_processor(BatchSpanProcessor(SpanExporter()))
        trace.set_tracer_provider(tracers)
    if _exports("OTEL_METRICS_EXPORTER") and not isinstance(metrics.get_meter_provider(), MeterProvider):
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        metrics.set_meter_provider(MeterProvider([reader], resource=named, exemplar_filter=AlwaysOffExemplarFilter()))
    from squidmesh.telemetry.logs import label_logs

    label_logs()


def configure_if_wanted(environ: Mapping[str, Any] = os.environ) -> bool:
    """``configure``, where the environment names an endpoint; whether it does. For processes that are ours."""
    wanted = any(environ.get(name) for name in _ENDPOINTS) and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    if wanted:
        configure()
    return wanted


def _exports(variable: str) -> bool:
    return os.environ.get(variable, "otlp") != "none"
