"""Three real workers sweep a schedule and die around its ticks: each tick is one run, whoever died at it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from squidmesh import Every
from squidmesh.core.status import ENDED
from squidmesh.store import tables
from tests.processes import people_flows as flows
from tests.processes.stage import Stage, wait_for

TICKS = 16
APART = 0.25  # seconds


def test_workers_that_die_before_and_after_a_tick_and_as_its_run_begins_start_each_once(stage: Stage) -> None:
    stage.environ[flows.TICKS] = "deadly"
    stage.nursery(count=3, threads=1)
    start = datetime.now(UTC) + timedelta(seconds=0.5)
    end = start + timedelta(seconds=APART * (TICKS - 0.5))
    schedule = stage.mesh.schedule("deadly", Every(APART), flows.ticks(100), start=start, end=end, catch_up="all")
    wait_for("all ticks are decided", lambda: len(schedule.ticks(limit=1_000)) >= TICKS)
    found = schedule.ticks(limit=1_000)
    assert [tick.at for tick in found] == [start + n * timedelta(seconds=APART) for n in range(TICKS)]
    assert all(tick.outcome == "started" for tick in found)
    handles = [stage.mesh.handle(tick.run_id or "") for tick in found]
    wait_for("all runs have ended", lambda: all(handle.status() in ENDED for handle in handles))
    assert [handle.result(timeout=60) for handle in handles] == [tick.at for tick in found]
    with stage.mesh.engine.connect() as connection:
        begun = connection.execute(select(func.count()).select_from(tables.runs)).scalar_one()
    assert begun == len({handle.run_id for handle in handles}) == TICKS
    killed = {file.name for file in stage.folder.iterdir()}
    assert killed >= {f"{place} {n}" for place in ("before a tick", "after a tick") for n in range(flows.DEATHS)}
    assert "fuse-100" in killed
    stage.check(handles)
