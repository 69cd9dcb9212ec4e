"""What is measured, one measure a file, in the order in which they are run."""

from tests.benchmarks.measures import (
    children,
    fan_out,
    latency,
    lists,
    prune,
    sequential,
    signals,
    starts,
    starts_beside,
    telemetry,
    ticks,
    timers,
    undo,
    views,
    w10,
    waiting,
)
from tests.benchmarks.measures.measure import Measure

MEASURES: tuple[Measure, ...] = (
    w10.MEASURE,
    sequential.MEASURE,
    *latency.MEASURES,
    *fan_out.MEASURES,
    *children.MEASURES,
    *starts.MEASURES,
    *undo.MEASURES,
    *signals.MEASURES,
    *ticks.MEASURES,
    *waiting.MEASURES,
    *timers.MEASURES,
    starts_beside.MEASURE,
    prune.MEASURE,
    lists.MEASURE,
    *views.MEASURES,
    telemetry.MEASURE,
)

__all__ = ["MEASURES", "Measure"]
