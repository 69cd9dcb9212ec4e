"""Squid Mesh on PostgreSQL and Redis, by its public interface and its worker command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from squidmesh import Handle, Mesh
from squidmesh.engine import pruning
from tests.benchmarks import finished, workflows
from tests.benchmarks.collector import collector
from tests.benchmarks.machine import Servers
from tests.benchmarks.postgres import APPLICATION, copy_of
from tests.benchmarks.processes import workers
from tests.benchmarks.redis import redis_database
from tests.benchmarks.systems.system import PAYLOAD, Session, System

AGE = 3_600  # seconds, of the youngest of the runs that are made finished
THREADS = 8  # in each worker process, the command's default


class SquidMesh:
    def __init__(self, mesh: Mesh, database: str, pids: Sequence[int]) -> None:
        self.mesh = mesh
        self.database: str | None = database
        self.pids = pids
        self._undone: Handle[None]
        self.looking = psycopg.connect(database, autocommit=True, application_name=APPLICATION)

    def sequences(self, runs: int, steps: int) -> None:
        if runs == 1:
            self.mesh.start(workflows.sequence(steps, PAYLOAD))
        else:
            self.mesh.start_many([workflows.sequence(steps, PAYLOAD) for _ in range(runs)])

    def fan_out(self, width: int) -> None:
        self.mesh.start(workflows.spread(width))

    def start(self) -> None:
        self.sequences(1, 10)

    def start_many(self, runs: int) -> None:
        self.sequences(runs, 10)

    def undo(self, steps: int) -> None:
        self._undone = self.mesh.start(workflows.undone(steps, PAYLOAD))

    def undo_seconds(self) -> float:
        times = {event.kind: event.at for event in self._undone.history()}
        return (times["RollbackEnded"] - times["RollbackStarted"]) / 1e6

    def finished(self) -> int:
        query = "SELECT count(*) FROM squidmesh_runs WHERE ended_at IS NOT NULL"
        (count,) = self.looking.execute(query).fetchone() or (0,)
        return int(count)

    def finish(self, runs: int) -> None:
        assert self.database is not None
        with Mesh(self.database) as mesh:  # without a broker: nobody else is told of the one that is copied
            like = mesh.start(workflows.sequence(10, PAYLOAD), priority=-1)
            with mesh.worker(threads=1):
                like.result(30)
        first = time.time_ns() // 1_000 - AGE * 1_000_000 - runs * finished.APART
        finished.make(self.database, like.run_id, runs, first)

    def prune(self, rest: Callable[[float], None]) -> None:
        engine = self.mesh.connect_engine()
        wanted = pruning.wanted(engine.clock.now(), {"completed": AGE})
        pruning.prune(engine, wanted, limit=None, dry_run=False, archive=None, pace=0.1, rest=rest)

    def prunable(self) -> int:
        return self._count("key LIKE 'finished-%'")

    def unfinished(self) -> int:
        return self._count("status = ANY('{pending,running,waiting}')")

    def _count(self, where: LiteralString) -> int:
        query = sql.SQL("SELECT count(*) FROM squidmesh_runs WHERE {}").format(sql.SQL(where))
        (count,) = self.looking.execute(query).fetchone() or (0,)
        return int(count)

    def reclaim(self) -> None:
        pruning.reclaim(self.mesh.connect_engine(), 1.0)

    def bytes(self) -> int:
        return sum(finished.sizes(self.looking).values())

    def close(self) -> None:
        self.looking.close()


@contextmanager
def _open(servers: Servers, processes: int, env: Mapping[str, str] | None = None) -> Iterator[Session]:
    with copy_of("squidmesh", servers, _make) as database, redis_database(servers) as broker:
        program = str(Path(sys.executable).with_name("squidmesh"))
        command = [program, "worker", workflows.__name__, "--threads", f"{THREADS}"]
        command += ["--database", database, "--broker", broker]
        with (
            workers([command] * processes, "squidmesh worker ready", env) as running,
            Mesh(database, broker=broker) as mesh,
        ):
            session = SquidMesh(mesh, database, [worker.pid for worker in running])
            try:
                yield session
            finally:
                session.close()


@contextmanager
def _open_traced(servers: Servers, processes: int) -> Iterator[Session]:
    """The same, with workers that export all their runs' spans and metrics to a receiver on this machine."""
    with collector() as address, _open(servers, processes, {"OTEL_EXPORTER_OTLP_ENDPOINT": address}) as session:
        yield session


def _make(database: str) -> None:
    with Mesh(database) as mesh:
        mesh.migrate()


SYSTEMS = (
    System(
        "squidmesh", "redis", durable=True, open=_open, needs="squidmesh",
        measures=frozenset({
            "w10", "sequential", "latency", "fan_out", "starts", "undo", "signals", "ticks", "waiting", "timers",
            "starts_beside", "prune", "lists", "views", "children", "telemetry",
        }),
    ),
    System(
        "squidmesh", "redis, traced", durable=True, open=_open_traced, needs="opentelemetry.sdk",
        measures=frozenset({"telemetry"}),
    ),
)  # fmt: skip
