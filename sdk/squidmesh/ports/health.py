"""How a database is doing, as values: what is late, what nobody holds, how large it is.

The rule of this file: counts and times only; whether that is good or bad is said elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many of something there are, and since when the oldest (microseconds since the epoch)."""

    count: int = 0
    oldest: int | None = None


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table. ``rows`` and ``dead`` (versions that nobody sees any more) are the database's estimates."""

    name: str
    rows: int
    dead: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Health:
    """``due``: work that is due and that nobody has. ``stranded``: held by a worker that is gone.

    ``inbox``: what arrived for runs and was not folded in. ``late_schedules``: with a tick that is due. ``free``: bytes
    of a SQLite file that hold nothing.
    """

    server: str
    now: int
    due_runs: Waiting
    due_tasks: Waiting
    stranded_runs: int
    stranded_tasks: int
    inbox: Waiting
    late_schedules: Waiting
    tables: tuple[TableSize, ...] = ()
    bytes: int = 0
    free: int = 0
