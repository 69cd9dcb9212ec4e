"""PostgreSQL restarts, crashes or is away for a while: workers come back by themselves, and nothing is lost.

The long outage is for `pytest tests/processes/test_postgres_gone.py -m slow`.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from squidmesh import Handle
from squidmesh.store.migrate import migrate
from tests.processes import flows
from tests.processes.stage import LEASE, Stage, wait_for
from tests.servers import Postgres


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres(fsync=False) as running:
        migrate(running.url)
        yield running


@pytest.fixture
def shaky(tmp_path: Path, server: Postgres, redis_url: str) -> Iterator[Stage]:
    """A stage on a PostgreSQL that may go away, and Redis."""
    playing = Stage(tmp_path, server.url, redis_url)
    try:
        yield playing
    finally:
        playing.close()


def _restart(server: Postgres) -> None:
    server.restart()


def _crash(server: Postgres) -> None:
    server.kill()
    server.start()


def _away(server: Postgres, seconds: float) -> None:
    server.stop()
    back = time.monotonic() + seconds
    wait_for("the outage is long enough", lambda: time.monotonic() >= back, within=seconds + 1)
    server.start()


@pytest.mark.parametrize("harm", [_restart, _crash], ids=["restarted", "crashed"])
def test_all_runs_complete_when_it_restarts(shaky: Stage, server: Postgres, harm: Callable[[Postgres], None]) -> None:
    handles = _load(shaky)
    for goal in (40, 100):
        wait_for("the load is at work", lambda goal=goal: len(shaky.effects()) >= goal)
        harm(server)
    _all_complete(shaky, handles)


@pytest.mark.parametrize("lease", [LEASE, 60], ids=["longer than a lease", "shorter than a lease"])
def test_all_runs_complete_when_it_was_away_for_a_while(shaky: Stage, server: Postgres, lease: float) -> None:
    shaky.lease = lease
    handles = _load(shaky)
    held = shaky.mesh.start(flows.waits("go"))
    wait_for("the load is at work", lambda: len(shaky.effects()) >= 30)
    shaky.begun("chaos_held_up")
    _away(server, 2 * LEASE)
    shaky.signal("go")
    _all_complete(shaky, [*handles, held])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("lease", [1.5, 15, 60])
def test_all_runs_complete_after_half_a_minute_without_it(shaky: Stage, server: Postgres, lease: float) -> None:
    shaky.lease = lease
    handles = _load(shaky)
    held = shaky.mesh.start(flows.waits("go"))
    wait_for("the load is at work", lambda: len(shaky.effects()) >= 30)
    shaky.begun("chaos_held_up")
    _away(server, 30)
    shaky.signal("go")
    _all_complete(shaky, [*handles, held])


def _load(stage: Stage) -> list[Handle[Any]]:
    handles: list[Handle[Any]] = stage.mesh.start_many([flows.mixed(n) for n in range(25)])
    handles += stage.mesh.start_many([flows.spread(40), flows.in_line(25)])
    stage.two_workers("--threads", "4")
    return handles


def _all_complete(stage: Stage, handles: list[Handle[Any]]) -> None:
    for handle in handles:
        handle.result(timeout=60)
    assert {handle.status() for handle in handles} == {"completed"}
    stage.check(handles)
    for worker in stage.workers:
        assert worker.stop() == 0, stage.said()
