"""Where it happens: the servers, a way to them for each worker that can be cut, and the workers.

The rule of this file: it starts, ends and restarts; when, and what for, is the adversary's. Whatever it has started
ends with it, by its process id.
"""

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg
import redis
from sqlalchemy.engine import make_url

from tests.chaos.effects import LOG
from tests.chaos.skew import SKEW
from tests.servers import Postgres, Redis, fresh_database
from tests.worker.processes import SQUIDMESH, Process
from tests.worker.proxy import Proxy

ROOT = Path(__file__).parents[2]

LEASE, SWEEP, MAX_LOST = 2.0, 0.25, 1_000  # how often a storm hits the same step is no matter here
THREADS = 4


class Seat:
    """A place for one worker, with its own ways to the database and to the broker."""

    def __init__(self, arena: "Arena", number: int) -> None:
        self._arena = arena
        self.number = number
        self.to_database = _proxy(arena.database_url)
        self.to_broker = _proxy(arena.broker_url)
        self.process: Process | None = None
        self.said: list[str] = []
        self.frozen = False

    def fill(self, skew: float = 0.0) -> None:
        """Start a worker here; its clock is ``skew`` seconds off."""
        command = (
            *SQUIDMESH, "worker", "tests.chaos.workload", "--threads", str(THREADS),
            "--database", _through(self._arena.database_url, self.to_database),
            "--broker", _through(self._arena.broker_url, self.to_broker),
        )  # fmt: skip
        environ = {
            LOG: str(self._arena.log), "SQUIDMESH_LEASE": str(LEASE), "SQUIDMESH_SWEEP": str(SWEEP),
            "SQUIDMESH_MAX_LOST": str(MAX_LOST), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self.process = Process(command, ROOT, environ | ({SKEW: str(skew)} if skew else {}))

    def send(self, signum: signal.Signals) -> None:
        if self.process is not None:
            self.process.send(signum)

    def empty(self) -> None:
        """End what is here as a crash would."""
        if self.process is not None:
            self.process.close()
            self.said += self.process.lines
            self.process = None
        self.frozen = False

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        if self.frozen:
            self.send(signal.SIGCONT)
        self.frozen = False

    def mend(self) -> None:
        for proxy in (self.to_database, self.to_broker):
            proxy.delay = 0.0
            proxy.mend()

    def close(self) -> None:
        self.empty()
        self.to_database.close()
        self.to_broker.close()


class Arena:
    """Servers and ``seats`` workers; a context manager. Servers that were given by URL are used and never restarted."""

    def __init__(
        self, folder: Path, seats: int, database_url: str | None = None, redis_url: str | None = None,
        rabbitmq_url: str | None = None,
    ) -> None:  # fmt: skip
        self.log = folder / "effects.jsonl"
        self._given = (database_url, redis_url, rabbitmq_url)
        self._count = seats
        self._stack = ExitStack()
        self.postgres: Postgres | None = None
        self.redis: Redis | None = None
        self.database_url = self.broker_url = ""
        self.seats: list[Seat] = []

    def __enter__(self) -> "Arena":
        database, redis_, rabbitmq = self._given
        try:
            if database is None:
                self.postgres = self._stack.enter_context(Postgres(fsync=False))
                self.database_url = self.postgres.url
            else:
                self.database_url = self._stack.enter_context(fresh_database(database))
            if rabbitmq is None and redis_ is None:
                self.redis = self._stack.enter_context(Redis())
            self.broker_url = rabbitmq or redis_ or (self.redis.url if self.redis is not None else "")
            for number in range(self._count):
                self.seats.append(Seat(self, number))
                self._stack.callback(self.seats[-1].close)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def on_redis(self) -> bool:
        return self.broker_url.startswith("redis")

    def lists(self) -> redis.Redis:
        """A client that goes straight to Redis."""
        return redis.Redis.from_url(self.broker_url, socket_timeout=5)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection straight to the database."""
        return psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True, connect_timeout=5)

    def fill(self) -> None:
        """Have a worker in every seat, and wait until all are ready."""
        for seat in self.seats:
            if seat.process is None:
                seat.fill()
        for seat in self.seats:
            assert seat.process is not None
            seat.process.wait_for("squidmesh worker ready")

    def stop(self) -> list[str]:
        """Tell all workers to stop; what went wrong with that."""
        for seat in self.seats:
            seat.send(signal.SIGTERM)
        codes: Sequence[tuple[Seat, int]] = [(s, s.process.ended(60)) for s in self.seats if s.process is not None]
        return [f"worker {seat.number} ended with code {code} when told to stop" for seat, code in codes if code]

    def said(self) -> list[str]:
        """What the workers said."""
        lines = []
        for seat in self.seats:
            now = seat.process.lines if seat.process is not None else []
            lines += [f"[{seat.number}] {line}" for line in (*seat.said, *now)]
        return lines


def _proxy(url: str) -> Proxy:
    parsed = make_url(url)
    return Proxy(parsed.host or "127.0.0.1", parsed.port or {"amqp": 5672, "redis": 6379}.get(parsed.drivername, 5432))


def _through(url: str, proxy: Proxy) -> str:
    return make_url(url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
