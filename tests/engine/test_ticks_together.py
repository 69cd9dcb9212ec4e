"""Ten workers sweep one schedule while clocks go forward, and while they go back: each tick is one run, ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import text

from squidmesh import Cron, Flow, run_info, sleep, workflow
from squidmesh.engine.worker import Worker
from squidmesh.testing import VirtualMesh

WORKERS = 10
NIGHTLY = Cron("*/20 2-4 * * *", tz="Europe/Sofia")

FORWARD = [(0, 0), (0, 20), (0, 40), (1, 0), (1, 20), (1, 40)]
"""UTC, 2026-03-29: after 02:40 comes 04:00, which is also when 03:00, 03:20 and 03:40 fire."""
BACK = [(0, 0), (0, 20), (0, 40), (2, 0), (2, 20), (2, 40)]
"""UTC, 2026-10-25: 03:00 to 03:40 are shown again from 01:00 on, and have fired."""


@workflow(name="together.ticks")
def ticks() -> Flow[datetime | None]:
    yield from sleep(0)
    return run_info().tick


@pytest.mark.parametrize("catch_up", ["all", "last"])
@pytest.mark.parametrize(
    ("evening", "night"),
    [
        (datetime(2026, 3, 28, 23, 50, tzinfo=UTC), [datetime(2026, 3, 29, *at, tzinfo=UTC) for at in FORWARD]),
        (datetime(2026, 10, 24, 23, 50, tzinfo=UTC), [datetime(2026, 10, 25, *at, tzinfo=UTC) for at in BACK]),
    ],
    ids=["forward", "back"],
)
def test_each_tick_is_one_run_when_clocks_change(
    database_url: str, evening: datetime, night: list[datetime], catch_up: str
) -> None:
    with ExitStack() as open_, ThreadPoolExecutor(WORKERS) as pool:
        meshes = [open_.enter_context(VirtualMesh(database_url, now=evening)) for _ in range(WORKERS)]
        clock = meshes[0]._clock
        for mesh in meshes:
            mesh._clock = clock
        schedule = meshes[0].schedule("nightly", NIGHTLY, ticks(), catch_up=catch_up, end=evening + timedelta(hours=9))  # type: ignore[arg-type]
        workers = [Worker(mesh.connect_engine()) for mesh in meshes]
        for worker in workers:
            worker.enter()

        def sweep(worker: Worker, together: Barrier) -> None:
            together.wait(30)
            worker.heartbeat()
            worker.sweep()

        for _ in range(20):  # shorter than the schedule's own steps, so that no tick is late
            clock.set(clock.now() + 10 * 60_000_000)
            together = Barrier(WORKERS)
            for swept in [pool.submit(sweep, worker, together) for worker in workers]:
                swept.result(60)
            workers[0].sweep()  # what all have wanted at the same moment
        found = schedule.ticks()
        assert [tick.at for tick in found] == night
        assert all(tick.outcome == "started" for tick in found)
        assert len({tick.run_id for tick in found}) == len(night)
        with meshes[0].engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM squidmesh_runs")).scalar_one() == len(night)
        for worker in workers:
            worker.leave()
        meshes[0].drain()
        assert [meshes[0].handle(tick.run_id or "").result() for tick in found] == night
