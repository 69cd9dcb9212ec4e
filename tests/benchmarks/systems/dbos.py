"""DBOS on PostgreSQL, in the two ways it may be used: its queue, and workflows started in the process that runs them.

Queue: a client enqueues, two processes take from the queue, which they look at every 100 ms. In process: each
of the two processes starts its half of the workflows itself, so nothing is handed over.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy.engine import make_url

from tests.benchmarks.machine import Servers
from tests.benchmarks.postgres import APPLICATION, copy_of
from tests.benchmarks.processes import Worker, workers
from tests.benchmarks.systems.system import PAYLOAD, Session, System

MODULE = "tests.benchmarks.systems.dbos_worker"
FINISHED = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"


class _Dbos:
    def __init__(self, database: str, running: Sequence[Worker]) -> None:
        self.database: str | None = database
        self.pids = [worker.pid for worker in running]
        self._looking = psycopg.connect(database, autocommit=True, application_name=APPLICATION)

    def finished(self) -> int:
        (count,) = self._looking.execute(FINISHED).fetchone() or (0,)
        return int(count)

    def sequences(self, runs: int, steps: int) -> None:
        raise NotImplementedError

    def fan_out(self, width: int) -> None:
        raise NotImplementedError("measured in process only")

    def start(self) -> None:
        raise NotImplementedError("in process there is no client that starts")

    def start_many(self, runs: int) -> None:
        raise NotImplementedError("in process there is no client that starts")

    def close(self) -> None:
        self._looking.close()


class InProcess(_Dbos):
    def __init__(self, database: str, running: Sequence[Worker]) -> None:
        super().__init__(database, running)
        self._running = running

    def sequences(self, runs: int, steps: int) -> None:
        for number, worker in enumerate(self._running):
            share = runs // len(self._running) + (number < runs % len(self._running))
            if share:
                worker.tell(f"sequences {share} {steps}")

    def fan_out(self, width: int) -> None:
        self._running[0].tell(f"fan_out {width}")


class Queue(_Dbos):
    def __init__(self, database: str, running: Sequence[Worker]) -> None:
        super().__init__(database, running)
        from dbos import DBOSClient

        from tests.benchmarks.systems.dbos_worker import QUEUE, VERSION

        self._options: Any = {"workflow_name": "sequence", "queue_name": QUEUE, "app_version": VERSION}
        self._client = DBOSClient(system_database_url=database, application_name="benchmark")
        url = make_url(database).set(drivername="postgresql+psycopg")
        self._engine = sqlalchemy.create_engine(url)

    def sequences(self, runs: int, steps: int) -> None:
        if runs == 1:
            self._client.enqueue(self._options, steps, PAYLOAD)
        else:
            self._enqueue(runs, steps)

    def start(self) -> None:
        self.sequences(1, 10)

    def start_many(self, runs: int) -> None:
        self._enqueue(runs, 10)

    def close(self) -> None:
        super().close()
        self._client.destroy()
        self._engine.dispose()

    def _enqueue(self, runs: int, steps: int) -> None:
        """A hundred in one transaction: the quickest way that the client has, and the first may begin soon."""
        for at in range(0, runs, 100):
            with self._engine.begin() as connection:
                for _ in range(min(100, runs - at)):
                    self._client.enqueue_in_transaction(connection, self._options, steps, PAYLOAD)


@contextmanager
def _open(setup: str, servers: Servers, processes: int) -> Iterator[Session]:
    with copy_of("dbos", servers, _make) as database:
        python = [sys.executable, "-m", MODULE, database]
        commands = [[*python, f"{number}", setup] for number in range(processes)]
        with workers(commands, "ready") as running:
            session: _Dbos = Queue(database, running) if setup == "queue" else InProcess(database, running)
            try:
                yield session
            finally:
                session.close()


def _make(database: str) -> None:
    """In a process of its own: importing DBOS has its price, and so has whatever it keeps running."""
    with workers([[sys.executable, "-m", MODULE, database, "0", "queue"]], "ready"):
        pass


# A fan-out over the queue is child workflows, ten times slower than in process: only the better mode is measured.
_BOTH = frozenset({"w10", "sequential", "latency"})
_QUEUE = _BOTH | {"starts"}
SYSTEMS = (
    System(
        "dbos",
        "queue",
        durable=True,
        measures=_QUEUE,
        open=partial(_open, "queue"),
        needs="dbos",
    ),
    System(
        "dbos",
        "in-process",
        durable=True,
        measures=_BOTH | {"fan_out"},
        open=partial(_open, "in-process"),
        needs="dbos",
    ),
)
