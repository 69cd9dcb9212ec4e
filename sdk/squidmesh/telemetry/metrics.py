"""Metrics as OpenTelemetry instruments, recorded in batches.

The rule of this file: names, units and what they mean stand in the table; what is recorded comes from a tally.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from squidmesh.telemetry.tally import Tally

COUNTERS = {
    "squidmesh.runs": ("{run}", "Runs that have ended, by workflow and outcome"),
    "squidmesh.attempts": ("{attempt}", "Attempts of steps and undos that are over, by step and outcome"),
    "squidmesh.rollbacks": ("{rollback}", "Rollbacks that are over, by workflow, cause and outcome"),
}

HISTOGRAMS = {
    "squidmesh.step.duration": "From the first attempt of a step to its outcome, retries included",
    "squidmesh.queue.wait": "From when a run or a step could begin to when a worker began it, by kind (run, step)",
    "squidmesh.sweep.lag": "From when a timer or a retry was due to when it was taken up, by kind (timer, retry)",
}

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 86_400)
"""Bounds of the histograms' buckets, in seconds."""


class Metrics:
    """``open_runs`` gives the number of runs that have not ended, by status; it is asked at each collection."""

    def __init__(self, provider: MeterProvider, open_runs: Callable[[], Iterable[Mapping[str, int]]]) -> None:
        meter = provider.get_meter("squidmesh")
        self._counters = {name: meter.create_counter(name, unit, told) for name, (unit, told) in COUNTERS.items()}
        self._histograms = {
            name: meter.create_histogram(name, "s", told, explicit_bucket_boundaries_advisory=BOUNDS)
            for name, told in HISTOGRAMS.items()
        }

        def look(options: CallbackOptions) -> Iterable[Observation]:
            counted: dict[str, int] = {}
            for found in open_runs():
                counted |= found
            return [Observation(count, {"squidmesh.status": status}) for status, count in counted.items()]

        told = "Runs that have not ended, by status, as the database has them"
        meter.create_observable_gauge("squidmesh.runs.open", [look], "{run}", told)

    def record(self, tally: Tally) -> None:
        """Record what was counted, and empty the tally."""
        counts, tally.counts = tally.counts, {}
        times, tally.times = tally.times, {}
        for (name, labels), count in counts.items():
            self._counters[name].add(count, _attributes(labels))
        for (name, labels), values in times.items():
            record, attributes = self._histograms[name].record, _attributes(labels)
            for value in values:
                record(value / 1e6, attributes)


def _attributes(labels: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {f"squidmesh.{name}": value for name, value in labels}
