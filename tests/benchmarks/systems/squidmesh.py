"""Squid Mesh on PostgreSQL and Redis, by its public interface and its worker command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from squidmesh import Handle, Mesh
from tests.benchmarks import workflows
from tests.benchmarks.machine import Servers
from tests.benchmarks.postgres import APPLICATION, copy_of
from tests.benchmarks.processes import workers
from tests.benchmarks.redis import redis_database
from tests.benchmarks.systems.system import PAYLOAD, Session, System

THREADS = 8  # in each worker process, the command's default


# A database that has stood for a while: a third of its runs are open, and some are of each kind that is asked for.
FILL = """
INSERT INTO squidmesh_runs (
    id, workflow, version, status, reason, queue, priority, attributes, created_at, ended_at, deadline, due_at, epoch,
    length, rollback, orphans
)
SELECT (lpad(to_hex(1780000000000 + n), 12, '0') || '7000800000000000' || lpad(to_hex(n % 10000), 4, '0'))::uuid,
    'flow' || n % 20, 1 + n % 3, s.status,
    CASE WHEN s.status = 'waiting' THEN CASE WHEN n % 1000 = 7 THEN 'waiting_for_signal' ELSE 'sleeping' END
        WHEN s.status = 'blocked' THEN 'code_error' END,
    'default', 0,
    CASE WHEN n % 2 = 0 THEN
        json_build_object('customer', n % 100000, 'shop', CASE WHEN n % 10 < 8 THEN 'sofia' ELSE 'burgas' END) END,
    t.now - 1000000::bigint * (%(runs)s - n), CASE WHEN NOT s.open THEN t.now - 1000000::bigint * (%(runs)s - n - 5) END,
    CASE WHEN s.open AND n % 4 = 0 THEN t.now + CASE WHEN n % 400 = 0 THEN -1000000 ELSE 864000000000 END END,
    CASE WHEN s.open THEN t.now + 3600000000 + n END, 1, 5,
    CASE WHEN s.status = 'failed' THEN CASE WHEN n % 50 = 33 THEN 'partial' ELSE 'clean' END END,
    CASE WHEN s.status = 'failed' AND n % 50 = 33 THEN 1 END
FROM generate_series(1, %(runs)s) AS n
CROSS JOIN (SELECT (extract(epoch FROM now()) * 1000000)::bigint AS now) AS t
CROSS JOIN LATERAL (
    SELECT CASE WHEN n % 100 < 30 THEN 'waiting' WHEN n % 100 = 31 THEN 'blocked' WHEN n % 100 < 37 THEN 'failed'
        ELSE 'completed' END AS status, n % 100 < 32 AND n % 100 <> 30 AS open
) AS s
""".replace(" % ", " %% ")


class SquidMesh:
    def __init__(self, mesh: Mesh, database: str, pids: Sequence[int]) -> None:
        self._mesh = mesh
        self.database: str | None = database
        self.pids = pids
        self._undone: Handle[None]
        self._newest: Handle[str]
        self._looking = psycopg.connect(database, autocommit=True, application_name=APPLICATION)

    def sequences(self, runs: int, steps: int) -> None:
        if runs == 1:
            self._newest = self._mesh.start(workflows.sequence(steps, PAYLOAD))
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

    def look(self, view: str) -> None:
        getattr(self._newest, view)()

    def fill(self, runs: int) -> None:
        self._looking.execute(FILL, {"runs": runs})
        self._looking.execute("VACUUM ANALYZE squidmesh_runs")

    def page(self, filters: Mapping[str, Any]) -> None:
        self._mesh.list(limit=50, **filters)

    def finished(self) -> int:
        query = "SELECT count(*) FROM squidmesh_runs WHERE ended_at IS NOT NULL"
        (count,) = self._looking.execute(query).fetchone() or (0,)
        return int(count)

    def close(self) -> None:
        self._looking.close()


@contextmanager
def _open(servers: Servers, processes: int) -> Iterator[Session]:
    with copy_of("squidmesh", servers, _make) as database, redis_database(servers) as broker:
        program = str(Path(sys.executable).with_name("squidmesh"))
        command = [program, "worker", workflows.__name__, "--threads", f"{THREADS}"]
        command += ["--database", database, "--broker", broker]
        with (
            workers([command] * processes, "squidmesh worker ready") as running,
            Mesh(database, broker=broker) as mesh,
        ):
            session = SquidMesh(mesh, database, [worker.pid for worker in running])
            try:
                yield session
            finally:
                session.close()


def _make(database: str) -> None:
    with Mesh(database) as mesh:
        mesh.migrate()


SYSTEMS = (
    System(
        "squidmesh", "redis", durable=True, open=_open, needs="squidmesh",
        measures=frozenset({"w10", "sequential", "latency", "fan_out", "starts", "undo", "lists", "views"}),
    ),
)  # fmt: skip
