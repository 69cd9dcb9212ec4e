"""The virtual mesh: its clock, its faults, its stubs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squidmesh import Flow, Retry, RunBlocked, RunFailed, fan_out, sleep, step, workflow
from squidmesh.testing import Stuck, VirtualMesh


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
