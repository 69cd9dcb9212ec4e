"""A raw Dramatiq pipeline on Redis with Dramatiq's own broker: nothing durable, the price of messages alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import redis

from tests.benchmarks.machine import Servers
from tests.benchmarks.processes import workers
from tests.benchmarks.redis import redis_database
from tests.benchmarks.systems.system import PAYLOAD, Session, System

THREADS = 8  # in each worker process, Dramatiq's default
MODULE = "tests.benchmarks.systems.dramatiq_actors"
URL_VARIABLE = "BENCHMARK_DRAMATIQ_URL"


class Dramatiq:
    database: str | None = None

    def __init__(self, url: str, pids: Sequence[int]) -> None:
        os.environ[URL_VARIABLE] = url
        from tests.benchmarks.systems import dramatiq_actors as actors

        self.pids = pids
        self._actors = actors
        self._broker = actors.use(url)
        self._redis = redis.Redis.from_url(url)

    def sequences(self, runs: int, steps: int) -> None:
        for _ in range(runs):
            first, *rest = [self._actors.noop.message_with_options(args=args) for args in _arguments(steps)]
            last = self._actors.finish.message_with_options()
            dramatiq.pipeline([first, *rest, last]).run()  # type: ignore[no-untyped-call]

    def fan_out(self, width: int) -> None:
        group: Any = dramatiq.group([self._actors.noop.message(PAYLOAD) for _ in range(width)])  # type: ignore[no-untyped-call]
        group.add_completion_callback(self._actors.finish.message("joined"))
        group.run()

    def start(self) -> None:
        self.sequences(1, 10)

    def start_many(self, runs: int) -> None:
        self.sequences(runs, 10)

    def finished(self) -> int:
        return int(self._redis.get(self._actors.FINISHED) or 0)

    def close(self) -> None:
        self._broker.close()
        self._redis.close()


def _arguments(steps: int) -> list[tuple[str, ...]]:
    """The first actor is given the payload; each other gets what the one before it gave back."""
    return [(PAYLOAD,), *[()] * (steps - 1)]


@contextmanager
def _open(servers: Servers, processes: int) -> Iterator[Session]:
    with redis_database(servers) as url:
        program = str(Path(sys.executable).with_name("dramatiq"))
        command = [program, MODULE, "--processes", f"{processes}", "--threads", f"{THREADS}"]
        env = {URL_VARIABLE: url}
        with workers([command] if processes else [], "Worker process is ready", env) as running:
            session = Dramatiq(url, [worker.pid for worker in running])
            try:
                yield session
            finally:
                session.close()


SYSTEMS = (
    System(
        "dramatiq", "pipeline", durable=False, open=_open, needs="dramatiq",
        measures=frozenset({"w10", "sequential", "latency", "fan_out", "starts one by one"}),
    ),
)  # fmt: skip
