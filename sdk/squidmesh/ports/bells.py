"""The clock and the doorbell.

The rule of this file: a bell carries ids only, and nothing depends on its being heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Clock(Protocol):
    """Gives the time; never goes by the machine's clock where a database has one of its own."""

    def now(self) -> int:
        """The time now, in microseconds since the epoch."""
        ...


class BellKind(StrEnum):
    ADVANCE = "advance"  # this run is due
    ATTEMPTS = "attempts"  # this run has tasks on this queue
    DRAIN = "drain"  # this queue has due work: take until there is none


@dataclass(frozen=True, slots=True)
class Bell:
    """A message that says that work is due. It carries ids only; a lost or doubled one changes nothing but latency."""

    kind: BellKind
    queue: str
    run_id: str | None = None
    trace: str | None = None  # of the run, as a traceparent: for those who watch messages


class Doorbell(Protocol):
    """Tells workers that work is due. Never raises for a broker that is away: the sweep finds what was not rung."""

    def ring(self, bells: Sequence[Bell]) -> None: ...

    def close(self) -> None: ...
