"""A storm: workers are killed, frozen, replaced and told to stop, while PostgreSQL and Redis come and go.

Each is for `pytest tests/processes/test_everything.py -m slow`; a seed that failed fails again with the same
sequence of harms, though not at the same instants.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from squidmesh import Handle, RunCancelled
from squidmesh.store.migrate import migrate
from tests.processes import flows
from tests.processes.stage import Stage, wait_for
from tests.servers import Postgres, Redis
from tests.worker.processes import Process

HARMS = 12
WORKERS = 3


class Storm:
    """What may happen to a stage, one at a time."""

    def __init__(self, stage: Stage, database: Postgres, broker: Redis, seed: int) -> None:
        self._stage = stage
        self._database = database
        self._broker = broker
        self._chance = random.Random(seed)
        self._workers: list[Process] = []
        self.harms: tuple[Callable[[], None], ...] = (
            self.kill, self.kill, self.freeze, self.stop, self.empty_redis, self.kill_redis,
            self.restart_postgres, self.crash_postgres,
        )  # fmt: skip

    def blow(self) -> None:
        while len(self._workers) < WORKERS:
            self._workers.append(self._stage.worker("--threads", "4"))
        self._chance.choice(self.harms)()

    def _leaving(self) -> Process:
        return self._workers.pop(self._chance.randrange(WORKERS))

    def kill(self) -> None:
        self._stage.kill(self._leaving())

    def stop(self) -> None:
        self._leaving().send(signal.SIGTERM)

    def freeze(self) -> None:
        """Stopped for a lease and more; it stays, and wakes to what has changed."""
        with self._stage.frozen(self._chance.choice(self._workers)):
            until = time.monotonic() + self._stage.lease * self._chance.uniform(0.5, 1.5)
            wait_for("it slept enough", lambda: time.monotonic() > until)

    def empty_redis(self) -> None:
        with redis.Redis.from_url(self._broker.url) as client:
            client.flushall()

    def kill_redis(self) -> None:
        self._broker.kill()
        self._broker.start()

    def restart_postgres(self) -> None:
        self._database.restart()

    def crash_postgres(self) -> None:
        self._database.kill()
        self._database.start()


@pytest.fixture
def servers() -> Iterator[tuple[Postgres, Redis]]:
    with Postgres(fsync=False) as database, Redis() as broker:
        migrate(database.url)
        yield database, broker


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
def test_all_runs_end_as_they_should(servers: tuple[Postgres, Redis], tmp_path: Path, seed: int) -> None:
    database, broker = servers
    stage = Stage(tmp_path, database.url, broker.url)
    stage.environ["SQUIDMESH_MAX_LOST"] = "50"  # how often a storm hits the same step is no matter here
    storm = Storm(stage, database, broker, seed)
    try:
        handles: list[Handle[Any]] = []
        unwanted: list[Handle[Any]] = []
        for n in range(HARMS):
            handles += stage.mesh.start_many([flows.mixed(100 * n + m) for m in range(6)])
            handles += [stage.mesh.start(flows.spread(25)), stage.mesh.start(flows.various(f"{n}"))]
            unwanted.append(stage.mesh.start(flows.various(f"unwanted-{n}")))
            goal = len(stage.effects()) + 20
            storm.blow()
            wait_for("the load goes on", lambda goal=goal: len(stage.effects()) >= goal or _idle(stage))
            unwanted[-1].cancel()
            stage.signal(f"{n}")
        for handle in handles:
            handle.result(timeout=60)
        for handle in unwanted:
            with pytest.raises(RunCancelled):
                handle.result(timeout=60)
        stage.check([*handles, *unwanted])
    except BaseException:
        print(stage.said())
        raise
    finally:
        stage.close()


def _idle(stage: Stage) -> bool:
    return not stage.mesh.list(status=["pending", "running"], limit=1).items
