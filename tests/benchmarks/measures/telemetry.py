"""What telemetry costs: W10 by a system that exports traces and metrics, and, by turns, by one that does not."""

from __future__ import annotations

from tests.benchmarks.measures.measure import Measure, warm_up
from tests.benchmarks.measures.w10 import perform

MEASURE = Measure("telemetry", "", perform, warm_up, full=600, quick=60, counted=0, leading="steps_per_s")
