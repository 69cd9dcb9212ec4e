"""The virtual mesh: its clock, its faults, its stubs."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squidmesh import (
    Cron,
    Flow,
    Retry,
    RunBlocked,
    RunFailed,
    Signal,
    approval,
    fan_out,
    publish,
    run_info,
    sleep,
    sleep_until,
    step,
    workflow,
)
from squidmesh.testing import DrainLimit, Stuck, VirtualMesh


@step(retry=Retry(max_attempts=3, initial=1))
def fetch(url: str, tries: int = 1) -> str:
    raise AssertionError("not called in these tests")


@step
async def fetch_slowly(url: str) -> str:
    return url


@workflow
def fetches(url: str) -> Flow[str]:
    return (yield from fetch(url, tries=2))


@workflow
def fetches_slowly(url: str) -> Flow[str]:
    return (yield from fetch_slowly(url))


@workflow
def fetches_many(urls: list[str]) -> Flow[list[str]]:
    return (yield from fan_out(fetch_slowly, urls)).values()


@workflow
def a_month() -> Flow[int]:
    days = 0
    while days < 30:
        yield from sleep(timedelta(days=1))
        days += 1
    return days


@workflow
def divides() -> Flow[float]:
    yield from sleep(1)
    return 1 / 0


def divides_by_one() -> Flow[float]:
    yield from sleep(1)
    return 1 / 1


def test_a_month_passes_at_once() -> None:
    with VirtualMesh(now=datetime(2026, 3, 1, tzinfo=UTC)) as mesh:
        assert mesh.run(a_month()) == 30
        assert mesh.now == datetime(2026, 3, 31, tzinfo=UTC)


def test_drain_does_what_is_due_and_says_how_much() -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(a_month())
        assert mesh.drain() == 1
        assert mesh.drain() == 0
        assert mesh.advance(timedelta(days=3)) == 3
        assert handle.status() == "waiting"


def test_the_clock_goes_forward_only() -> None:
    with VirtualMesh() as mesh:
        with pytest.raises(ValueError, match="forward"):
            mesh.advance(-1)
        with pytest.raises(ValueError, match="turn it back"):
            mesh.advance(mesh.now - timedelta(seconds=1))
        with pytest.raises(ValueError, match="aware"):
            mesh.advance(datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point


def test_a_stub_stands_in_for_a_step_and_records_its_calls() -> None:
    with VirtualMesh() as mesh:
        with mesh.stub(fetch, lambda url, tries: f"{url}!{tries}") as stub:
            assert mesh.run(fetches("a")) == "a!2"
        assert stub.calls == [{"url": "a", "tries": 2}]
        with mesh.stub(fetch, raises=[ConnectionError("cut"), None], returns="b") as stub:
            assert mesh.run(fetches("a")) == "b"
        assert len(stub.calls) == 2
        with mesh.stub(fetch_slowly, returns="c"):
            assert mesh.run(fetches_slowly("a")) == "c"
        assert mesh.run(fetches_slowly("a")) == "a"
        with pytest.raises(RunFailed, match="not called"):
            mesh.run(fetches("a"))


def test_a_stub_s_result_is_checked_as_the_step_s_own() -> None:
    with VirtualMesh() as mesh, mesh.stub(fetch, returns=5), pytest.raises(RunFailed, match="cannot be stored"):
        mesh.run(fetches("a"))


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
def test_parallel_steps_survive_their_worker(lose: str) -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(fetches_many([str(n) for n in range(40)]))
        mesh.restart(lose=lose)
        mesh.restart(lose=lose)
        assert handle.result() == [str(n) for n in range(40)]


def test_a_virtual_timeout_counts_virtual_seconds() -> None:
    with VirtualMesh() as mesh, pytest.raises(TimeoutError, match="sleep"):
        mesh.run(a_month(), timeout=timedelta(days=10))


def test_what_nobody_can_move_is_stuck() -> None:
    with VirtualMesh(workflows=[a_month]) as mesh, pytest.raises(Stuck) as stuck:
        mesh.run(fetches("a"))
    assert stuck.value.explanation.reason == "no_code"
    assert re.match(r"run [0-9a-f-]{36} has not ended", str(stuck.value))


@pytest.mark.parametrize("given", [fetches, 5, lambda: None])
def test_only_a_step_is_stubbed(given: Any) -> None:
    with VirtualMesh() as mesh, pytest.raises(TypeError, match="takes a step"), mesh.stub(given, returns=1):
        raise AssertionError("it must not begin")


def test_a_result_waits_for_what_mended_code_makes_due(monkeypatch: pytest.MonkeyPatch) -> None:
    with VirtualMesh() as mesh:
        handle = mesh.start(divides())
        with pytest.raises(RunBlocked, match="ZeroDivisionError"):
            handle.result()
        monkeypatch.setattr(divides, "fn", divides_by_one)
        mesh.restart()
        assert handle.result() == 1


# ---------------------------------------------------------------------------------------------- all of its clock

PAID = Signal("virtual.paid", int)


@step(name="virtual.note")
def note(text: str) -> str:
    return text


@workflow(name="virtual.subscription")
def subscription(name: str) -> Flow[list[str]]:
    """30 days: reminded each week until somebody pays, then approved by the desk, then closed at the month's end."""
    told: list[str] = []
    paid = None
    while paid is None:
        paid = yield from PAID.wait(timeout=timedelta(days=7))
        if paid is None:
            told.append((yield from note(f"reminder {len(told) + 1}")))
            yield from publish("reminders", len(told))
    decision = yield from approval("desk", deadline=timedelta(days=5))
    told.append(f"{paid} cents, {'approved' if decision.approved else 'expired'}")
    yield from sleep_until(run_info().started_at + timedelta(days=30))
    return told


@workflow(name="virtual.daily")
def daily() -> Flow[str]:
    return (yield from note(f"{run_info().tick:%d}"))


def test_thirty_days_with_signals_gates_and_a_schedule_pass_on_each_database(mesh: VirtualMesh) -> None:
    began = mesh.now
    schedule = mesh.schedule("virtual.daily", Cron("0 9 * * *"), daily())
    handle = mesh.start(subscription("ann"))
    assert handle.published("reminders", timeout=timedelta(days=10)) == 1
    assert mesh.now == began + timedelta(days=7)
    mesh.advance(timedelta(days=8))
    assert handle.published("reminders") == 2
    handle.signal(PAID, 4200)
    mesh.drain()
    assert handle.explain().reason == "waiting_for_approval"
    handle.approve("desk", actor="ada")
    assert handle.result() == ["reminder 1", "reminder 2", "4200 cents, approved"]
    assert mesh.now == began + timedelta(days=30)
    ticks = schedule.ticks()
    assert len(ticks) == 30
    assert {tick.outcome for tick in ticks} == {"started"}


def test_waiting_goes_no_further_than_its_timeout(mesh: VirtualMesh) -> None:
    began, handle = mesh.now, mesh.start(a_month())
    with pytest.raises(TimeoutError):
        handle.result(timeout=10)
    assert timedelta(seconds=10) <= mesh.now - began < timedelta(seconds=11)
    assert handle.published("nothing", timeout=timedelta(hours=1)) is None
    assert mesh.now - began < timedelta(hours=2)


def test_a_drain_past_its_limit_says_of_which_runs(mesh: VirtualMesh) -> None:
    for n in range(12):
        mesh.start(subscription(str(n)))
    with pytest.raises(DrainLimit) as limit:
        mesh.drain(limit=5)
    assert limit.value.explanations
    assert {explanation.status for explanation in limit.value.explanations} <= {"pending", "running"}
    assert "after 5 pieces of work" in str(limit.value)
    assert mesh.drain() == 7


def test_what_falls_due_while_no_worker_is_up_is_found_late(mesh: VirtualMesh) -> None:
    handle = mesh.start(subscription("ann"))
    mesh.drain()
    mesh.sleep_through(timedelta(days=20))
    assert handle.published("reminders") is None
    mesh.drain()
    assert handle.published("reminders") == 1  # the second week begins when the first reminder was sent


def test_only_a_person_helps_and_that_is_said(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_for_ever())
    with pytest.raises(Stuck) as stuck:
        handle.result()
    assert stuck.value.explanation.reason == "waiting_for_signal"
    with pytest.raises(Stuck):
        handle.published("never", timeout=60)


@workflow(name="virtual.waits_for_ever")
def waits_for_ever() -> Flow[int]:
    return (yield from PAID.wait())


def test_many_meshes_have_a_clock_each() -> None:
    with VirtualMesh() as one, VirtualMesh(now=datetime(2030, 1, 1, tzinfo=UTC)) as other:
        first, second = one.start(a_month()), other.start(a_month())
        one.advance(timedelta(days=3))
        assert (one.now.year, other.now) == (2026, datetime(2030, 1, 1, tzinfo=UTC))
        assert second.result() == 30
        assert first.status() == "waiting"
        assert one.list().items[0].run_id == first.run_id


def test_a_handle_is_awaited_on_this_thread() -> None:
    async def awaited(mesh: VirtualMesh) -> int:
        return await mesh.start(a_month())

    with VirtualMesh() as mesh:
        assert asyncio.run(awaited(mesh)) == 30
