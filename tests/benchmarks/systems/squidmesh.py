"""Squid Mesh on PostgreSQL and Redis, by its public interface and its worker command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from squidmesh import Handle, Mesh
from tests.benchmarks import workflows
from tests.benchmarks.collector import collector
from tests.benchmarks.machine import Servers
from tests.benchmarks.postgres import APPLICATION, copy_of
from tests.benchmarks.processes import workers
from tests.benchmarks.redis import redis_database
from tests.benchmarks.systems.system import PAYLOAD, Session, System

THREADS = 8  # in each worker process, the command's default


class SquidMesh:
    def __init__(self, mesh: Mesh, database: str, pids: Sequence[int]) -> None:
        self._mesh = mesh
        self.database: str | None = database
        self.pids = pids
        self._undone: Handle[None]
        self._looking = psycopg.connect(database, autocommit=True, application_name=APPLICATION)

    def sequences(self, runs: int, steps: int) -> None:
        if runs == 1:
            self._mesh.start(workflows.sequence(steps, PAYLOAD))
        else:
            self._mesh.start_many([workflows.sequence(steps, PAYLOAD) for _ in range(runs)])

    def fan_out(self, width: int) -> None:
        self._mesh.start(workflows.spread(width))

    def start(self) -> None:
        self.sequences(1, 10)

    def start_many(self, runs: int) -> None:
        self.sequences(runs, 10)

    def undo(self, steps: int) -> None:
        self._undone = self._mesh.start(workflows.undone(steps, PAYLOAD))

    def undo_seconds(self) -> float:
        times = {event.kind: event.at for event in self._undone.history()}
        return (times["RollbackEnded"] - times["RollbackStarted"]) / 1e6

    def finished(self) -> int:
        query = "SELECT count(*) FROM squidmesh_runs WHERE ended_at IS NOT NULL"
        (count,) = self._looking.execute(query).fetchone() or (0,)
        return int(count)

    def close(self) -> None:
        self._looking.close()


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
        measures=frozenset({"w10", "sequential", "latency", "fan_out", "starts", "undo", "telemetry"}),
    ),
    System(
        "squidmesh", "redis, traced", durable=True, open=_open_traced, needs="opentelemetry.sdk",
        measures=frozenset({"telemetry"}),
    ),
)  # fmt: skip
