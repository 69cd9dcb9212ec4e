"""Subscribers to committed events: log lines, traces, metrics. They hear; they change nothing.

On where a global provider of the OpenTelemetry SDK is set; ``instrument`` for one mesh, or providers of one's own;
``configure`` for programs that have no set-up of their own; ``label_logs`` for log records made inside steps.
"""

from squidmesh.telemetry.configure import configure
from squidmesh.telemetry.instrument import Instrumentation, instrument
from squidmesh.telemetry.logs import label_logs

__all__ = ["Instrumentation", "configure", "instrument", "label_logs"]
