"""What a system under test is: something that runs sequences of steps and fan-outs, with workers of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import psycopg

from squidmesh import Mesh
from tests.benchmarks.machine import Servers

#: What every step is given and gives back.
PAYLOAD = "x" * 100


class Session(Protocol):
    """A system with its workers up, on a database and a Redis database that nobody else uses.

    ``database``: the URL of its PostgreSQL database, None when it has none; ``pids``: its worker processes.
    """

    @property
    def database(self) -> str | None: ...

    @property
    def pids(self) -> Sequence[int]: ...

    def sequences(self, runs: int, steps: int) -> None:
        """Start so many runs of so many steps each, as fast as the system's interface allows."""
        ...

    def fan_out(self, width: int) -> None:
        """Start one run with so many parallel steps, which ends when all of them have."""
        ...

    def start(self) -> None:
        """Start one run of 10 steps."""
        ...

    def start_many(self, runs: int) -> None:
        """Start so many runs of 10 steps each, in one call or transaction where there is such a thing."""
        ...

    def finished(self) -> int:
        """How many runs have ended so far, as one cheap look gives it."""
        ...


class Undoing(Session, Protocol):
    """A system that undoes what a failed run has done."""

    def undo(self, steps: int) -> None:
        """Start one run of so many steps, which then fails, and undoes them."""
        ...

    def undo_seconds(self) -> float:
        """How long the undoing of the latest such run took."""
        ...


class Meshed(Session, Protocol):
    """Squid Mesh, where something is measured that the others do not have, or do not show."""

    @property
    def mesh(self) -> Mesh: ...

    @property
    def looking(self) -> psycopg.Connection:
        """A connection of the benchmark's own to the database."""
        ...


class Pruning(Session, Protocol):
    """A system that deletes what has ended."""

    def finish(self, runs: int) -> None:
        """Make so many finished runs of 10 steps, older than all others."""
        ...

    def prune(self, rest: Callable[[float], None]) -> None:
        """Delete those again, at the system's own pace; ``rest`` is called for each rest, with its seconds."""
        ...

    def prunable(self) -> int:
        """How many of those are there."""
        ...

    def unfinished(self) -> int:
        """How many runs have not ended, as one cheap look gives it."""
        ...

    def reclaim(self) -> None:
        """Make room of what was deleted."""
        ...

    def bytes(self) -> int:
        """What the tables of runs take up, with their indexes."""
        ...


@dataclass(frozen=True, slots=True)
class System:
    """A system in one of the setups it may be used in.

    ``measures``: the measures that it can do, by name, or by name and case (`starts one by one`);
    ``durable``: whether its runs survive the loss of every process; ``open``: give a session with so many
    worker processes; ``needs``: the module without which it cannot be measured here.
    """

    name: str
    setup: str
    durable: bool
    measures: frozenset[str]
    open: Callable[[Servers, int], AbstractContextManager[Session]]
    needs: str

    @property
    def installed(self) -> bool:
        return find_spec(self.needs) is not None
