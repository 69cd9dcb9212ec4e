"""What is counted and timed while runs are followed, kept until somebody records it in one go.

The rule of this file: names and labels, no OpenTelemetry. Times come in as microseconds.
"""

from __future__ import annotations

Label = tuple[str, str]
Key = tuple[str, tuple[Label, ...]]
"""The name of a metric, and its labels."""


class Tally:
    __slots__ = ("counts", "times")

    def __init__(self) -> None:
        self.counts: dict[Key, int] = {}
        self.times: dict[Key, list[int]] = {}

    def count(self, metric: str, *labels: Label) -> None:
        key = (metric, labels)
        self.counts[key] = self.counts.get(key, 0) + 1

    def value(self, metric: str, microseconds: int, *labels: Label) -> None:
        self.times.setdefault((metric, labels), []).append(max(0, microseconds))


class _NoTally(Tally):
    """For history that others have committed, and counted."""

    def count(self, metric: str, *labels: Label) -> None: ...

    def value(self, metric: str, microseconds: int, *labels: Label) -> None: ...


NO_TALLY = _NoTally()
