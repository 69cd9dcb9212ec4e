"""Redis is emptied, restarted, killed or not there: runs lose time, and nothing else."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from squidmesh import Handle
from tests.processes import flows
from tests.processes.stage import Stage, wait_for
from tests.servers import Redis


@pytest.fixture
def server() -> Iterator[Redis]:
    with Redis() as running:
        yield running


@pytest.fixture
def shaky(tmp_path: Path, postgres_url: str, server: Redis) -> Iterator[Stage]:
    """A stage on PostgreSQL and a Redis that may go away."""
    playing = Stage(tmp_path, postgres_url, server.url)
    try:
        yield playing
    finally:
        playing.close()


def _empty(server: Redis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


def _restart(server: Redis) -> None:
    server.restart()


def _kill(server: Redis) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("harm", [_empty, _restart, _kill], ids=["emptied", "restarted", "killed"])
def test_all_runs_complete(shaky: Stage, server: Redis, harm: Callable[[Redis], None]) -> None:
    shaky.two_workers("--threads", "4")
    handles: list[Handle[Any]] = []
    for wave in range(3):
        handles += shaky.mesh.start_many([flows.mixed(100 * wave + n) for n in range(10)])
        handles.append(shaky.mesh.start(flows.spread(20)))
        goal = 60 * wave + 10
        wait_for("the load is at work", lambda goal=goal: len(shaky.effects()) >= goal)
        harm(server)
    for handle in handles:
        handle.result(timeout=60)
    shaky.check(handles)


def test_start_succeeds_quickly_while_redis_is_away(shaky: Stage, server: Redis) -> None:
    shaky.worker()
    server.stop()
    handles = []
    for n in range(3):
        began = time.monotonic()
        handles.append(shaky.mesh.start(flows.mixed(n)))
        assert time.monotonic() - began < 10
    for handle in handles:
        handle.result(timeout=60)
    server.start()
    handles.append(shaky.mesh.start(flows.spread(10)))
    assert handles[-1].result(timeout=60) == 45
    shaky.check(handles)


def test_a_worker_comes_up_while_redis_is_away_and_hears_when_it_is_back(shaky: Stage, server: Redis) -> None:
    server.stop()
    running = shaky.worker()
    running.wait_for("is away")
    server.start()
    running.wait_for("is back")
    handle = shaky.mesh.start(flows.in_line(3))
    assert handle.result(timeout=60) == 3
    shaky.check([handle])
