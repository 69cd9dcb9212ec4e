"""What was measured: one object for each measure, system and setup, and how rounds become one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.measures import Measure
from tests.benchmarks.measures.measure import Figures
from tests.benchmarks.systems import System

#: Figures that are given for a step (a start, where nothing else is done), from what was counted in all.
PER_STEP = {
    "write_commits": "write_commits_per_step",
    "wal_bytes": "wal_bytes_per_step",
    "wal_page_image_bytes": "wal_page_image_bytes_per_step",
    "rows": "rows_per_step",
    "table_bytes": "table_bytes_per_step",
    "index_bytes": "index_bytes_per_step",
    "round_trips": "round_trips_per_step",
    "messages": "messages_per_step",
    "redis_commands": "redis_commands_per_step",
    "python_cpu_us": "python_cpu_us_per_step",
    "postgres_cpu_us": "postgres_cpu_us_per_step",
}


@dataclass(slots=True)
class Result:
    """All rounds of one measure of one system; ``statements`` come from its counted pass."""

    measure: Measure
    system: System
    rounds: list[Figures] = field(default_factory=list)
    counted: Figures = field(default_factory=dict)
    statements: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def leading(self) -> float:
        return statistics.median(figures[self.measure.leading] for figures in self.rounds)

    def to_json(self) -> dict[str, Any]:
        """Medians of the rounds; ``lowest`` and ``highest`` are of the leading figure."""
        leading = [figures[self.measure.leading] for figures in self.rounds]
        named: dict[str, Any] = {
            "measure": self.measure.name,
            "system": self.system.name,
            "mode": ", ".join(part for part in (self.system.setup, self.measure.case) if part),
            "setup": self.system.setup,
            "case": self.measure.case,
            "durable": self.system.durable,
            "rounds": len(self.rounds),
            "leading": self.measure.leading,
            "lowest": _tidy(min(leading)),
            "highest": _tidy(max(leading)),
        }
        return (
            named
            | {name: _tidy(value) for name, value in medians([*self.rounds]).items()}
            | {name: _tidy(value) for name, value in self.counted.items()}
        )


def per_step(figures: Mapping[str, float], counted: Mapping[str, float]) -> Figures:
    """What was counted, for a step (for a start, where no steps were done)."""
    unit = figures.get("steps") or figures["starts"]
    suffix = "_per_step" if "steps" in figures else "_per_start"
    return {
        PER_STEP[name].replace("_per_step", suffix): value / unit for name, value in counted.items() if name in PER_STEP
    }


def medians(rounds: Sequence[Figures]) -> Figures:
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: statistics.median(f[name] for f in rounds if name in f) for name in names}


def _tidy(value: float) -> float:
    """Four digits that count; whole numbers as such."""
    if value == int(value):
        return int(value)
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)
