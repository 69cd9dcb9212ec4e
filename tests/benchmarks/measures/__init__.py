"""What is measured, one measure a file, in the order in which they are run."""

from tests.benchmarks.measures import fan_out, latency, sequential, starts, telemetry, undo, w10
from tests.benchmarks.measures.measure import Measure

MEASURES: tuple[Measure, ...] = (
    w10.MEASURE,
    sequential.MEASURE,
    *latency.MEASURES,
    *fan_out.MEASURES,
    *starts.MEASURES,
    *undo.MEASURES,
    telemetry.MEASURE,
)

__all__ = ["MEASURES", "Measure"]
