"""Where the time comes from: this machine, or the database that rules it.

The rule of this file: integer microseconds since the epoch. On PostgreSQL leases and due times are compared by the
database's clock; ``SyncedClock`` follows that clock between two questions, without asking it each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from squidmesh.errors import MeshError

_OLD = 30_000_000  # microseconds after which two clocks may have drifted apart by more than a round trip


class SystemClock:
    """The clock of this machine."""

    __slots__ = ()

    def now(self) -> int:
        """The time now, in microseconds since the epoch."""
        return time.time_ns() // 1000


class SyncedClock:
    """The database's clock, as measured when last asked; in between it goes on by this process's monotonic clock.

    It is never ahead, as long as the two run at one speed: what is due now by it is due in the database. It asks
    anew when the last answer is old.

    Args:
        ask: asks the database for its time.
    """

    __slots__ = ("_ask", "_measured", "_offset")

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        self._offset: int | None = None
        self._measured = 0

    def now(self) -> int:
        """The time now, in microseconds since the epoch."""
        here = time.monotonic_ns() // 1000
        if self._offset is None:
            self.measure(self._ask)
        elif here - self._measured > _OLD:
            self._measured = here  # other threads need not ask too
            try:
                self.measure(self._ask)
            except MeshError:  # the database is away; its time goes on as it did
                return here + self._offset
        return time.monotonic_ns() // 1000 + (self._offset or 0)

    def measure(self, ask: Callable[[], int | None]) -> None:
        """Ask for the time, and take it for that of the moment of the answer; None leaves all as it was."""
        there = ask()
        here = time.monotonic_ns() // 1000
        if there is not None:
            self._offset = there - here
            self._measured = here
