"""Schedules: each tick starts one run, whatever happens to clocks, workers and those who change the schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import text

from squidmesh import (
    Cron,
    DefinitionError,
    Every,
    Flow,
    InvalidPayload,
    Mesh,
    RunCancelled,
    Schedule,
    ScheduleNotFound,
    Workflow,
    run_info,
    sleep,
    step,
    workflow,
)
from squidmesh.core.registry import REGISTRY
from squidmesh.engine import ticking
from squidmesh.engine.worker import Worker
from squidmesh.testing import Stuck, VirtualMesh
from tests.engine.cluster import Cluster, Fate
from tests.processes.stage import wait_for

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@workflow
def ticks_along(what: str = "tick") -> Flow[tuple[str, datetime | None]]:
    yield from sleep(0)
    return what, run_info().tick


@workflow
def takes(seconds: float) -> Flow[None]:
    yield from sleep(seconds)


@step(pivot=True)
def passes_the_point() -> None: ...


@workflow
def cannot_go_back(seconds: float) -> Flow[None]:
    yield from passes_the_point()
    yield from sleep(seconds)


@workflow
def knows(secret: SecretStr) -> Flow[None]:
    yield from sleep(0)


def told(schedule: Schedule[Any]) -> list[tuple[str, str]]:
    return [(tick.at.strftime("%H:%M"), tick.outcome.value) for tick in schedule.ticks()]


def started(schedule: Schedule[Any]) -> list[datetime]:
    assert all((tick.run_id is None) == (tick.outcome != "started") for tick in schedule.ticks())
    return [tick.at for tick in schedule.ticks() if tick.outcome == "started"]


def runs(mesh: Mesh) -> int:
    with mesh.engine.connect() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM squidmesh_runs")).scalar_one()
    return count


# --------------------------------------------------------------------------------------------------------- each tick


def test_each_tick_starts_one_run_which_knows_its_nominal_time(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("hourly", Cron("0 * * * *"), ticks_along("tock"), attributes={"team": "red"})
    mesh.advance(timedelta(hours=3, minutes=30))
    assert started(schedule) == [NEW_YEAR + n * HOUR for n in (1, 2, 3)]
    results = [mesh.handle(tick.run_id or "").result() for tick in schedule.ticks()]
    assert results == [("tock", NEW_YEAR + n * HOUR) for n in (1, 2, 3)]
    assert len(mesh.list(attributes={"team": "red"})) == runs(mesh) == 3


def test_a_run_that_no_tick_has_started_has_none(mesh: VirtualMesh) -> None:
    assert mesh.run(ticks_along()) == ("tick", None)


def test_intervals_count_from_the_creation_without_drift(mesh: VirtualMesh) -> None:
    mesh.advance(7)
    schedule = mesh.schedule("often", Every(120), ticks_along())
    mesh.advance(1_000)
    assert started(schedule) == [NEW_YEAR + timedelta(seconds=7 + 120 * n) for n in range(1, 9)]


def test_start_and_end_are_honoured_and_intervals_count_from_the_start(mesh: VirtualMesh) -> None:
    start, end = NEW_YEAR + timedelta(seconds=100), NEW_YEAR + timedelta(seconds=220)
    schedule = mesh.schedule("bounded", Every(60), ticks_along(), start=start, end=end)
    assert schedule.next(9) == [start, start + MINUTE, end]
    mesh.advance(DAY)
    assert started(schedule) == [start, start + MINUTE, end]
    assert schedule.inspect().next_at is None
    now = mesh.schedule("now", Every(60), ticks_along(), start=mesh.now)
    mesh.drain()
    assert started(now) == [mesh.now]


def test_a_start_in_the_past_fires_nothing_of_the_past(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("old", Every(HOUR), ticks_along(), start=NEW_YEAR - timedelta(minutes=90))
    mesh.advance(HOUR)
    assert started(schedule) == [NEW_YEAR + timedelta(minutes=30)]


def test_jitter_delays_the_start_and_not_the_tick(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("jittery", Every(HOUR), ticks_along(), jitter=timedelta(minutes=30))
    mesh.advance(5 * HOUR + 30 * MINUTE)
    assert started(schedule) == [NEW_YEAR + n * HOUR for n in range(1, 6)]
    delays = set()
    for tick in schedule.ticks():
        handle = mesh.handle(tick.run_id or "")
        assert handle.result()[1] == tick.at
        event = handle.history()[0]
        delay = timedelta(microseconds=event.start_at or 0) - (tick.at - datetime(1970, 1, 1, tzinfo=UTC))  # type: ignore[attr-defined]
        assert timedelta(0) < delay < timedelta(minutes=30)
        delays.add(delay)
    assert len(delays) == 5


@pytest.mark.parametrize(
    ("now", "expression", "fired"),
    [
        (datetime(2026, 10, 24, 12, tzinfo=UTC), "30 3 * * *", ["25 00:30", "26 01:30"]),  # 03:30 is there twice
        (datetime(2026, 3, 28, 12, tzinfo=UTC), "30 3 * * *", ["29 01:00", "30 00:30"]),  # 03:30 is not there
    ],
)
def test_clocks_that_go_back_or_ahead_fire_once(now: datetime, expression: str, fired: list[str]) -> None:
    with VirtualMesh(now=now, workflows=[ticks_along]) as mesh:
        schedule = mesh.schedule("local", Cron(expression, tz="Europe/Sofia"), ticks_along())
        mesh.advance(2 * DAY)
        assert [at.strftime("%d %H:%M") for at in started(schedule)] == fired


def test_next_is_the_calendar_alone(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("weekday", Cron("0 9 * * 1-5", tz="Europe/Sofia"), ticks_along())
    assert schedule.next(3) == [datetime(2026, 1, day, 7, tzinfo=UTC) for day in (1, 2, 5)]
    assert schedule.next() == schedule.next(1)
    schedule.delete()
    assert len(schedule.next(3)) == 3


def test_the_sweep_wakes_for_the_next_tick(mesh: VirtualMesh) -> None:
    mesh.drain()
    worker = mesh.worker_now
    assert worker.sweep() == mesh.settings.sweep
    mesh.schedule("soon", Every(0.25), ticks_along())
    assert worker.sweep() == pytest.approx(0.25)


def test_a_run_that_waits_for_nothing_but_ticks_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squidmesh.testing.virtual.IN_VAIN", 20)
    with VirtualMesh(workflows=[ticks_along, takes]) as mesh:
        schedule = mesh.schedule("for ever", Every(60), ticks_along())
        mesh.run(takes(3_600))
        with pytest.raises(Stuck):
            mesh.run(cannot_go_back(1))  # nobody here has its code
        assert 80 < len(schedule.ticks()) < 90


def test_with_a_real_worker_ticks_come_by_themselves(database_url: str) -> None:
    with Mesh(database_url, workflows=[ticks_along]) as mesh, mesh.worker(threads=2):
        schedule = mesh.schedule("real", Every(0.2), ticks_along(), catch_up="all")
        wait_for("five ticks", lambda: len(schedule.ticks()) >= 5)
        schedule.pause()
        for tick in schedule.ticks():
            assert mesh.handle(tick.run_id or "").result(timeout=60) == ("tick", tick.at)
        assert len({tick.run_id for tick in schedule.ticks()}) == len(schedule.ticks()) == runs(mesh)


# --------------------------------------------------------------------------------------------------------- downtime


def test_after_downtime_only_the_newest_runs(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("last", Every(HOUR), ticks_along())
    mesh.advance(HOUR)
    mesh.sleep_through(timedelta(hours=4, minutes=20))
    mesh.drain()
    assert told(schedule) == [
        ("01:00", "started"), ("02:00", "missed"), ("03:00", "missed"), ("04:00", "missed"), ("05:00", "started"),
    ]  # fmt: skip
    assert schedule.inspect().next_at == NEW_YEAR + 6 * HOUR


def test_or_all_of_them_in_order_and_in_batches(mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "BATCH", 3)
    schedule = mesh.schedule("all", Every(HOUR), ticks_along(), catch_up="all")
    mesh.sleep_through(timedelta(hours=10, minutes=20))
    mesh.worker_now.sweep()
    assert started(schedule) == [NEW_YEAR + n * HOUR for n in (1, 2, 3)]
    mesh.drain()
    assert started(schedule) == [NEW_YEAR + n * HOUR for n in range(1, 11)]
    ids = [tick.run_id or "" for tick in schedule.ticks()]
    assert ids == sorted(ids)


def test_or_none(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("none", Every(HOUR), ticks_along(), catch_up="none")
    mesh.sleep_through(timedelta(hours=2, minutes=20))
    mesh.drain()
    assert told(schedule) == [("01:00", "missed"), ("02:00", "missed")]
    mesh.advance(HOUR)
    assert told(schedule)[2:] == [("03:00", "started")]


def test_what_is_found_within_a_hiccup_is_not_missed(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("strict", Every(HOUR), ticks_along(), catch_up="none")
    mesh.sleep_through(HOUR + timedelta(seconds=10))
    mesh.drain()
    assert told(schedule) == [("01:00", "started")]


def test_a_long_downtime_is_recorded_tick_by_tick(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("minutely", Cron("* * * * *"), ticks_along())
    mesh.sleep_through(DAY)
    mesh.drain()
    assert [tick.outcome for tick in schedule.ticks()] == ["missed"] * 1_439 + ["started"]
    assert schedule.ticks(limit=2) == schedule.ticks()[-2:]


def test_a_clock_that_jumps_fires_nothing_twice(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("hourly", Every(HOUR), ticks_along(), catch_up="all")
    mesh.advance(3 * HOUR)
    mesh._clock._now -= 3 * 3_600_000_000  # the database's clock is set back
    mesh.drain()
    mesh.advance(timedelta(hours=4))
    assert started(schedule) == [NEW_YEAR + n * HOUR for n in range(1, 5)]
    assert runs(mesh) == 4


# ---------------------------------------------------------------------------------------------------------- overlap


def test_runs_overlap_if_nothing_else_is_said(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("allow", Every(60), takes(150), end=NEW_YEAR + 4 * MINUTE)
    mesh.advance(DAY)
    assert [outcome for _, outcome in told(schedule)] == ["started"] * 4


def test_a_tick_is_skipped_while_an_earlier_run_goes_on(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("skip", Every(60), takes(150), overlap="skip", end=NEW_YEAR + 5 * MINUTE)
    mesh.advance(DAY)
    assert [outcome for _, outcome in told(schedule)] == ["started", "skipped", "skipped", "started", "skipped"]


def test_one_tick_waits_for_the_end_of_the_run_before(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("queue", Every(60), takes(150), overlap="queue", end=NEW_YEAR + 3 * MINUTE)
    mesh.advance(timedelta(seconds=185))
    assert [outcome for _, outcome in told(schedule)] == ["started", "queued", "skipped"]
    assert schedule.inspect().queued == NEW_YEAR + 2 * MINUTE
    mesh.advance(DAY)
    assert [outcome for _, outcome in told(schedule)] == ["started", "started", "skipped"]
    first, second = (mesh.handle(tick.run_id or "") for tick in schedule.ticks()[:2])
    assert second.inspect().created_at == first.inspect().ended_at
    assert second.history()[0].tick is not None  # type: ignore[attr-defined]


def test_the_run_before_is_cancelled_and_then_the_new_one_starts(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("cancel", Every(60), takes(150), overlap="cancel", end=NEW_YEAR + 3 * MINUTE)
    mesh.advance(DAY)
    handles = [mesh.handle(tick.run_id or "") for tick in schedule.ticks()]
    assert [handle.status() for handle in handles] == ["cancelled", "cancelled", "completed"]
    with pytest.raises(RunCancelled, match="schedule 'cancel': the next tick is due"):
        handles[0].result()


def test_what_can_only_go_forward_is_not_cancelled_and_the_newest_tick_waits_for_it(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("pivot", Every(60), cannot_go_back(150), overlap="cancel", end=NEW_YEAR + 3 * MINUTE)
    mesh.advance(timedelta(seconds=185))
    assert [outcome for _, outcome in told(schedule)] == ["started", "skipped", "queued"]
    mesh.advance(DAY)
    assert [outcome for _, outcome in told(schedule)] == ["started", "skipped", "started"]


def test_missed_ticks_that_are_caught_up_meet_each_other(mesh: VirtualMesh) -> None:
    for overlap in ("skip", "queue", "cancel"):
        mesh.schedule(overlap, Every(60), takes(500), overlap=overlap, catch_up="all", end=NEW_YEAR + 4 * MINUTE)  # type: ignore[arg-type]
    mesh.sleep_through(300)
    mesh.drain()
    found = {schedule.name: [outcome for _, outcome in told(schedule)] for schedule in mesh.schedules()}
    assert found == {
        "skip": ["started", "skipped", "skipped", "skipped"],
        "queue": ["started", "queued", "skipped", "skipped"],
        "cancel": ["skipped", "skipped", "skipped", "started"],
    }


# ------------------------------------------------------------------------------------------------- what people do


def test_the_same_schedule_again_changes_nothing(mesh: VirtualMesh) -> None:
    made = mesh.schedule("same", Every(HOUR), ticks_along("a"), attributes={"b": 1, "a": 2}, jitter=5)
    before = mesh.connect_engine().store.schedule("same")
    mesh.advance(30)
    again = mesh.schedule("same", Every(timedelta(minutes=60)), ticks_along("a"), attributes={"a": 2, "b": 1}, jitter=5)
    assert mesh.connect_engine().store.schedule("same") == before
    assert again.next(3) == made.next(3)
    assert [schedule.name for schedule in mesh.schedules()] == ["same"]


def test_another_one_of_the_name_replaces_what_is_ahead(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("changing", Every(HOUR), ticks_along("a"))
    mesh.advance(timedelta(minutes=90))
    mesh.schedule("changing", Every(600), ticks_along("b"))
    mesh.advance(timedelta(minutes=20))
    assert told(schedule) == [("01:00", "started"), ("01:40", "started"), ("01:50", "started")]
    assert [mesh.handle(tick.run_id or "").result()[0] for tick in schedule.ticks()] == ["a", "b", "b"]


def test_a_change_of_the_input_alone_leaves_the_ticks_where_they_were(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("input", Every(HOUR), ticks_along("a"))
    mesh.sleep_through(timedelta(minutes=90))
    mesh.schedule("input", Every(HOUR), ticks_along("b"))
    mesh.advance(timedelta(minutes=40))
    assert started(schedule) == [NEW_YEAR + HOUR, NEW_YEAR + 2 * HOUR]
    assert {mesh.handle(tick.run_id or "").result()[0] for tick in schedule.ticks()} == {"b"}


def test_nothing_fires_while_it_is_paused_and_nothing_of_it_is_caught_up(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("pausing", Every(HOUR), ticks_along(), catch_up="all")
    mesh.advance(HOUR)
    schedule.pause(actor="ann", note="maintenance")
    schedule.pause(actor="bob")
    seen = schedule.inspect()
    assert (seen.paused_at, seen.actor, seen.note, seen.next_at) == (mesh.now, "ann", "maintenance", None)
    mesh.schedule("pausing", Every(HOUR), ticks_along("other"), catch_up="all")
    mesh.advance(timedelta(hours=3, minutes=30))
    assert told(schedule) == [("01:00", "started")]
    schedule.resume(actor="ann")
    mesh.advance(HOUR)
    assert told(schedule) == [("01:00", "started"), ("05:00", "started")]
    schedule.resume()
    assert schedule.inspect().next_at == NEW_YEAR + 6 * HOUR


def test_a_queued_tick_of_a_paused_schedule_waits(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("held", Every(60), takes(90), overlap="queue", end=NEW_YEAR + 2 * MINUTE)
    mesh.advance(130)
    schedule.pause()
    mesh.advance(HOUR)
    assert [outcome for _, outcome in told(schedule)] == ["started", "queued"]
    schedule.resume()
    mesh.drain()
    assert [outcome for _, outcome in told(schedule)] == ["started", "started"]


def test_a_deleted_schedule_is_gone_and_its_ticks_stay(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("deleted", Every(HOUR), ticks_along())
    mesh.advance(HOUR)
    schedule.delete(actor="ann", note="not needed")
    schedule.delete()
    mesh.advance(HOUR)
    assert told(schedule) == [("01:00", "started")]
    assert mesh.schedules() == []
    acts: list[Callable[[], Any]] = [schedule.pause, schedule.resume, schedule.trigger, schedule.inspect]
    for act in (*acts, lambda: schedule.backfill(NEW_YEAR, mesh.now)):
        with pytest.raises(ScheduleNotFound, match="'deleted'"):
            act()


def test_a_tick_has_one_run_ever_even_of_a_schedule_that_was_made_anew(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("anew", Every(HOUR), ticks_along(), start=NEW_YEAR)
    mesh.advance(2 * HOUR)
    before = [tick.run_id for tick in schedule.ticks()]
    schedule.delete()
    again = mesh.schedule("anew", Every(HOUR), ticks_along(), start=NEW_YEAR)
    assert [handle.run_id for handle in again.backfill(NEW_YEAR, mesh.now)] == before
    assert runs(mesh) == len(before) == 3


def test_a_trigger_by_hand_is_no_tick(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("byhand", Every(HOUR), ticks_along("x"), attributes={"a": 1})
    handle = schedule.trigger(actor="ann", note="now")
    assert handle.result() == ("x", None)
    begun = handle.history()[0]
    assert (begun.actor, begun.note, begun.tick) == ("ann", "now", None)  # type: ignore[attr-defined]
    assert handle.inspect().attributes == {"a": 1}
    assert schedule.ticks() == []


def test_a_tick_meets_what_was_triggered_by_hand(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("meets", Every(60), takes(90), overlap="skip")
    schedule.trigger()
    mesh.advance(60)
    assert [outcome for _, outcome in told(schedule)] == ["skipped"]


def test_a_backfill_runs_each_tick_of_a_past_range_once(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("filled", Cron("0 0 * * *"), ticks_along(), overlap="skip")
    handles = schedule.backfill(NEW_YEAR - 3 * DAY, NEW_YEAR + 5 * DAY, actor="ann", note="lost data")
    assert [handle.result()[1] for handle in handles] == [NEW_YEAR - n * DAY for n in (3, 2, 1, 0)]
    again = schedule.backfill(NEW_YEAR - 4 * DAY, NEW_YEAR)
    assert [handle.run_id for handle in again[1:]] == [handle.run_id for handle in handles]
    assert [tick.at for tick in schedule.ticks()] == [NEW_YEAR - n * DAY for n in (4, 3, 2, 1, 0)]
    assert {tick.outcome for tick in schedule.ticks()} == {"started"}
    assert runs(mesh) == 5
    assert handles[0].history()[0].note == "lost data"  # type: ignore[attr-defined]


def test_a_backfill_runs_what_was_missed_and_what_is_due_but_not_twice(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("missed", Every(HOUR), ticks_along(), catch_up="none")
    mesh.sleep_through(timedelta(hours=2, minutes=30))
    mesh.drain()
    mesh.sleep_through(timedelta(hours=2))
    assert told(schedule) == [("01:00", "missed"), ("02:00", "missed")]
    assert len(schedule.backfill(NEW_YEAR + HOUR, mesh.now)) == 4
    mesh.drain()
    assert told(schedule) == [(f"0{n}:00", "started") for n in range(1, 5)]
    assert runs(mesh) == 4


def test_a_backfill_of_a_queued_tick_starts_it_and_no_other_follows(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("ahead", Every(60), takes(150), overlap="queue", end=NEW_YEAR + 2 * MINUTE)
    mesh.advance(121)
    assert [outcome for _, outcome in told(schedule)] == ["started", "queued"]
    schedule.backfill(NEW_YEAR + MINUTE, mesh.now)
    assert [outcome for _, outcome in told(schedule)] == ["started", "started"]
    mesh.advance(HOUR)
    assert runs(mesh) == 2


@pytest.mark.parametrize("end", [NEW_YEAR - DAY, NEW_YEAR + 400 * DAY])
def test_a_range_that_is_none_or_too_long_is_refused(end: datetime) -> None:
    with VirtualMesh(now=NEW_YEAR + 400 * DAY, workflows=[ticks_along]) as mesh:
        schedule = mesh.schedule("ranges", Every(60), ticks_along())
        with pytest.raises(ValueError, match="backfill"):
            schedule.backfill(NEW_YEAR, end)
        assert schedule.ticks() == []


@pytest.mark.parametrize("act", ["pause", "resume", "delete", "trigger"])
def test_who_acts_is_said_by_a_text_or_not_at_all(act: str) -> None:
    with VirtualMesh(workflows=[ticks_along]) as mesh:
        schedule = mesh.schedule("people", Every(60), ticks_along())
        with pytest.raises(ValueError, match="actor="):
            getattr(schedule, act)(actor=" ")
        with pytest.raises(ValueError, match="note="):
            getattr(schedule, act)(note="")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"catch_up": "some"}, "catch_up"), ({"overlap": "no"}, "overlap"), ({"jitter": -1}, "jitter"),
        ({"start": NEW_YEAR, "end": NEW_YEAR - DAY}, "end is before start"), ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"), ({"name": "x" * 3_000}, "name"), ({"name": 5}, "name"),
        ({"when": "0 9 * * *"}, "Cron"), ({"when": Cron("@daily", input={"what": "x"})}, "in the call"),
        ({"call": ticks_along().options(key="k")}, "key"), ({"call": passes_the_point()}, "is a step"),
        ({"call": ticks_along}, "call of a workflow"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_schedule_is_refused(said: dict[str, Any], told: str) -> None:
    wanted: dict[str, Any] = {"name": "refused", "when": Every(60), "call": ticks_along(), **said}
    with VirtualMesh(workflows=[ticks_along]) as mesh:
        with pytest.raises(DefinitionError, match=told):
            mesh.schedule(wanted.pop("name"), wanted.pop("when"), wanted.pop("call"), **wanted)
        assert mesh.schedules() == []


def test_times_must_be_aware_and_attributes_storable() -> None:
    with VirtualMesh(workflows=[ticks_along]) as mesh:
        with pytest.raises(ValueError, match="aware"):
            mesh.schedule("naive", Every(60), ticks_along(), start=datetime(2026, 1, 1))  # noqa: DTZ001 - that is it
        with pytest.raises(InvalidPayload, match="attributes"):
            mesh.schedule("attributes", Every(60), ticks_along(), attributes={"a": object()})


def test_secrets_are_not_shown(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("secret", Every(60), knows(SecretStr("hunter2")))
    assert "hunter2" not in schedule.inspect().model_dump_json() + repr(schedule)


# ----------------------------------------------------------------------------------------- several workers and codes


def test_of_workers_that_sweep_at_once_one_starts_the_run(database_url: str) -> None:
    first = VirtualMesh(database_url)
    others = [VirtualMesh(database_url) for _ in range(3)]
    meshes = [first, *others]
    for other in others:
        other._clock = first._clock
    schedules = [first.schedule(f"s{n}", Every(60), ticks_along(), catch_up="all") for n in range(4)]
    workers = [Worker(mesh.connect_engine()) for mesh in meshes]
    for worker in workers:
        worker.enter()
    try:
        with ThreadPoolExecutor(len(workers)) as pool:
            for _ in range(15):
                first._clock.set(first._clock.now() + 60_000_000)
                barrier = Barrier(len(workers))

                def sweep(worker: Worker, barrier: Barrier = barrier) -> None:
                    barrier.wait()
                    worker.heartbeat()
                    worker.sweep()

                list(pool.map(sweep, workers))
            for worker in workers:
                worker.sweep()  # what two have wanted at the same moment
        for schedule in schedules:
            assert started(schedule) == [NEW_YEAR + n * MINUTE for n in range(1, 16)]
            assert len({tick.run_id for tick in schedule.ticks()}) == 15
        assert runs(first) == 60
    finally:
        for mesh in meshes:
            mesh.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fates=st.lists(st.sampled_from(list(Fate)), max_size=40),
    overlap=st.sampled_from(["allow", "skip", "queue", "cancel"]),
)
def test_whatever_happens_to_two_workers_each_tick_has_one_outcome(fates: list[Fate], overlap: Any) -> None:
    with VirtualMesh(workflows=[ticks_along, takes]) as mesh:
        end = NEW_YEAR + timedelta(seconds=50)
        schedule = mesh.schedule("fated", Every(10), takes(15), overlap=overlap, catch_up="all", end=end)
        cluster = Cluster(mesh, fates, (("default",), ("default",)))
        for _ in range(8):
            cluster.pass_time(10)
            for n in range(2):
                cluster.members[n].round()
        cluster.settle([mesh.handle(tick.run_id) for tick in schedule.ticks() if tick.run_id is not None])
        for _ in range(8):
            cluster.pass_time(40)
            for n in range(2):
                cluster.members[n].round()
        ticks = schedule.ticks()
        assert [tick.at for tick in ticks] == [NEW_YEAR + timedelta(seconds=10 * n) for n in range(1, 6)]
        assert all(tick.outcome == "started" for tick in ticks) or overlap != "allow"
        assert all(tick.outcome in ("started", "skipped") for tick in ticks)
        assert len(started(schedule)) == len({tick.run_id for tick in ticks} - {None}) == runs(mesh)


def test_people_and_workers_at_once_lose_nothing(database_url: str) -> None:
    with VirtualMesh(database_url) as mesh, VirtualMesh(database_url) as other:
        other._clock = mesh._clock
        schedule = mesh.schedule("busy", Every(60), ticks_along(), catch_up="all")
        same = other.schedules()[0]
        mesh.sleep_through(timedelta(minutes=20, seconds=30))
        with ThreadPoolExecutor(4) as pool:
            filled = [pool.submit(it.backfill, NEW_YEAR + MINUTE, mesh.now) for it in (schedule, same)]
            triggered = [pool.submit(it.trigger) for it in (schedule, same, schedule, same)]
            ids = [[handle.run_id for handle in future.result()] for future in filled]
            assert ids[0] == ids[1]
            assert len(ids[0]) == 20
            assert len({future.result().run_id for future in triggered}) == 4
        mesh.drain()
        assert runs(mesh) == 24


def test_a_schedule_whose_code_is_not_at_hand_is_left_to_others(database_url: str) -> None:
    with VirtualMesh(database_url, workflows=[takes]) as without, VirtualMesh(database_url) as mesh:
        without._clock = mesh._clock
        schedule = mesh.schedule("elsewhere", Every(60), ticks_along())
        without.advance(60)
        assert schedule.ticks() == []
        assert without.connect_engine().store.due(without.worker_now.can, 1).next_at is None
        mesh.drain()
        assert [outcome for _, outcome in told(schedule)] == ["started"]


def test_a_tick_starts_the_version_of_its_call_or_where_that_is_gone_the_newest(declared: None) -> None:
    first = _version(1)
    with VirtualMesh() as mesh:
        schedule = mesh.schedule("versions", Every(60), first())
        second = _version(2)
        mesh.advance(60)
        del REGISTRY.workflows["changes_version", 1]
        mesh.advance(60)
        mesh.schedule("versions", Every(60), second())
        del REGISTRY.workflows["changes_version", 2]
        _version(1)
        mesh.restart()
        mesh.advance(60)
        versions = [mesh.handle(tick.run_id or "").inspect().version for tick in schedule.ticks()]
    assert versions == [1, 2]


def _version(number: int) -> Workflow[[], None]:
    @workflow(name="changes_version", version=number)
    def changes_version() -> Flow[None]:
        yield from sleep(0)

    return changes_version


# --------------------------------------------------------------------------------------------------------- triggers


@pytest.fixture
def declared() -> Iterator[None]:
    """What is declared here is forgotten again: triggers would fire in every other test."""
    before = dict(REGISTRY.workflows)
    yield
    REGISTRY.workflows.clear()
    REGISTRY.workflows.update(before)


def triggered(*triggers: Cron | Every, version: int = 1, queue: str | None = None) -> Workflow[..., Any]:
    """A deploy with these triggers; it takes the place of the one before."""

    @workflow(name="nightly_report", triggers=triggers, version=version, queue=queue)
    def nightly_report(region: str = "all") -> Flow[str]:
        yield from sleep(0)
        return region

    return nightly_report


def test_triggers_in_code_are_kept_as_schedules_each_with_its_input(mesh: VirtualMesh, declared: None) -> None:
    triggered(Cron("0 2 * * *", input={"region": "eu"}), Cron("0 3 * * *"), Every(6 * HOUR, input={"region": "us"}))
    mesh.advance(timedelta(hours=6))
    ends = {handle.run_id: mesh.handle(handle.run_id).result() for handle in mesh.list(workflow="nightly_report")}
    assert sorted(ends.values()) == ["all", "eu", "us"]
    seen = [schedule.inspect() for schedule in mesh.schedules()]
    assert {one.when for one in seen} == {"Cron('0 2 * * *', tz='UTC')", "Cron('0 3 * * *', tz='UTC')", "Every(21600)"}
    assert {one.trigger for one in seen} == {"nightly_report"}


def test_they_are_kept_in_step_with_the_code(mesh: VirtualMesh, declared: None) -> None:
    def kept() -> set[str]:
        mesh.restart()
        return {schedule.inspect().when for schedule in mesh.schedules()}

    mesh.schedule("by hand", Every(7), takes(1))
    triggered(Every(60), Every(120))
    assert kept() == {"Every(7)", "Every(60)", "Every(120)"}
    before = {schedule.name: schedule.inspect() for schedule in mesh.schedules()}
    assert kept() == {"Every(7)", "Every(60)", "Every(120)"}
    assert {name: seen.created_at for name, seen in before.items()} == {
        schedule.name: schedule.inspect().created_at for schedule in mesh.schedules()
    }
    triggered(Every(60), Every(180))
    assert kept() == {"Every(7)", "Every(60)", "Every(180)"}
    triggered()
    assert kept() == {"Every(7)"}


def test_only_the_newest_version_has_triggers(mesh: VirtualMesh, declared: None) -> None:
    triggered(Every(60))
    triggered(Every(120), version=2)
    mesh.advance(120)
    assert [run.version for run in mesh.list()] == [2]


def test_a_mesh_without_the_workflow_leaves_its_triggers_alone(mesh: VirtualMesh, declared: None) -> None:
    triggered(Every(60))
    mesh.drain()
    before = [schedule.name for schedule in mesh.schedules()]
    del REGISTRY.workflows["nightly_report", 1]
    mesh.restart()
    mesh.drain()
    assert [schedule.name for schedule in mesh.schedules()] == before != []


def test_two_deploys_side_by_side_each_fire_their_own_and_none_undoes_the_others(
    database_url: str, declared: None
) -> None:
    def ticks(mesh: VirtualMesh) -> dict[str, int]:
        return {schedule.inspect().when: len(schedule.ticks()) for schedule in mesh.schedules()}

    with VirtualMesh(database_url, workflows=[triggered(Every(5), Every(20))]) as old:
        old.drain()
        with VirtualMesh(database_url, workflows=[triggered(Every(5), Every(30))]) as new:
            new._clock = old._clock
            new.drain()
            made = old.connect_engine().store.schedules()
            for mesh in (old, new, old, new):
                mesh.drain()
            assert old.connect_engine().store.schedules() == made
            assert ticks(new) == {"Every(5)": 0, "Every(20)": 0, "Every(30)": 0}
            for _ in range(3):
                old._clock.set(old._clock.now() + 10_000_000)
                old._worker.heartbeat()  # type: ignore[union-attr]
                new.drain()
            assert ticks(new) == {"Every(5)": 6, "Every(20)": 0, "Every(30)": 1}  # that of the others is left to them
            old.drain()
            assert ticks(new) == {"Every(5)": 6, "Every(20)": 1, "Every(30)": 1}
            old._put_away(leave=True)
            for _ in range(2):
                old._clock.set(old._clock.now() + 10_000_000)
                new.drain()
            assert set(ticks(new)) == {"Every(5)", "Every(30)"}


def test_after_downtime_a_trigger_is_caught_up(mesh: VirtualMesh, declared: None) -> None:
    triggered(Every(HOUR))
    mesh.advance(HOUR)
    mesh.sleep_through(timedelta(hours=2, minutes=30))
    mesh.drain()
    (schedule,) = mesh.schedules()
    assert [outcome for _, outcome in told(schedule)] == ["started", "missed", "started"]


def test_the_name_of_a_trigger_s_schedule_is_taken(mesh: VirtualMesh, declared: None) -> None:
    triggered(Every(HOUR))
    mesh.drain()
    with pytest.raises(DefinitionError, match="trigger of workflow 'nightly_report'"):
        mesh.schedule(mesh.schedules()[0].name, Every(5), takes(1))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([Cron("@daily", input={"region": 5})], r"triggers\[0\], Cron.*region"),
        ([Every(5), Every(6, input={"area": "eu"})], r"triggers\[1\], Every\(6\).*area: unknown"),
        (Every(5), "takes a list"), (["@daily"], "Cron"), ([Every(5), Every(5)], "twice"),
    ],
)  # fmt: skip
def test_triggers_are_checked_when_the_code_is_imported(given: Any, told: str, declared: None) -> None:
    with pytest.raises(DefinitionError, match=f"(?s){told}"):

        @workflow(triggers=given)
        def wrongly_triggered(region: str = "all") -> Flow[None]:
            yield from sleep(0)


def test_a_trigger_without_the_input_that_is_needed_is_refused(declared: None) -> None:
    with pytest.raises(DefinitionError, match="region: missing"):

        @workflow(triggers=[Cron("@daily")])
        def lacks_input(region: str) -> Flow[None]:
            yield from sleep(0)


@pytest.mark.parametrize("given", [5, "region", {5: "eu"}])
def test_the_input_of_a_trigger_is_a_dict(given: Any) -> None:
    with pytest.raises(DefinitionError, match="input="):
        Every(5, input=given)
