"""One storm from beginning to end: servers and workers up, crowd and adversary at work, calm, and a look at all.

The rule of this file: it says who comes after whom, and for how long the calm may take; nothing is checked before every
worker has been told to stop.
"""

import time
from dataclasses import dataclass, field

import psycopg

from squidmesh import Mesh
from squidmesh.store.migrate import migrate
from tests.chaos.adversary import Adversary, schedule
from tests.chaos.arena import LEASE, SWEEP, Arena
from tests.chaos.checker import check
from tests.chaos.checks.violation import Violation
from tests.chaos.crowd import Crowd
from tests.chaos.effects import read
from tests.chaos.ledger import Ledger
from tests.chaos.steps import BANK

CALM = 180.0
"""Seconds that open runs have to end when the storm is over."""


@dataclass(slots=True)
class Outcome:
    """What a storm has shown. ``errors``: of the harness itself, or of a mesh that raised what it must not."""

    faults: dict[str, int]
    missed: dict[str, int]
    outages: dict[str, int]
    ledger: Ledger
    effects: int
    violations: list[Violation]
    errors: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    calm: float = 0.0


def storm(arena: Arena, seconds: float, seed: int, rate: float, only: frozenset[str]) -> Outcome:
    """Run one on an arena that is up."""
    migrate(arena.database_url)
    with arena.connect() as connection:
        connection.execute(BANK)
    with Mesh(arena.database_url, broker=arena.broker_url, lease=LEASE, sweep=SWEEP) as mesh:
        crowd = Crowd(mesh, seed, rate, only, lambda key: any(done.key == key for done in read(arena.log)))
        adversary = Adversary(arena, schedule(seed, seconds))
        arena.fill()
        try:
            crowd.begin()
            adversary.begin()
            time.sleep(seconds)
            adversary.end()
            crowd.rest()
            calm = _calm_down(arena, crowd)
        finally:
            adversary.end()
            crowd.close()
    errors = [*adversary.errors, *crowd.errors, *arena.stop()]
    with arena.connect() as connection:
        ledger = Ledger.read(connection)
    effects = read(arena.log)
    return Outcome(
        dict(adversary.done), dict(adversary.missed), dict(crowd.outages), ledger, len(effects),
        check(ledger, effects, crowd.promises), errors, arena.said(), calm,
    )  # fmt: skip


def _calm_down(arena: Arena, crowd: Crowd) -> float:
    """Wait until nothing goes on any more; how long that took."""
    begun = time.monotonic()
    while time.monotonic() < begun + CALM:
        try:
            with arena.connect() as connection:
                blocked, left = _standing(connection)
        except psycopg.OperationalError:
            continue
        if not left and not crowd.busy:
            break
        crowd.look_after(blocked)
        time.sleep(1.0)
    return time.monotonic() - begun


def _standing(connection: psycopg.Connection[tuple[object, ...]]) -> tuple[list[str], int]:
    """Ids of runs that are blocked, and how many have not ended, or have something to do still."""
    rows = connection.execute("SELECT id::text, status FROM squidmesh_runs WHERE ended_at IS NULL").fetchall()
    due = connection.execute("SELECT count(*) FROM squidmesh_runs WHERE due_at IS NOT NULL OR worker IS NOT NULL")
    busy = due.fetchone()
    return [str(row[0]) for row in rows if row[1] == "blocked"], len(rows) + (int(str(busy[0])) if busy else 0)
