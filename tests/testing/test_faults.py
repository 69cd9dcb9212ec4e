"""Faults that a test asks for: a worker that dies here, bells that are lost or come twice."""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh import Flow, RunFailed, WorkflowError, fan_out, sleep, step, workflow
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh

done: list[str] = []


@step(name="faults.reserve")
def reserve(n: int) -> int:
    done.append(f"reserve {n}")
    return n


@step(name="faults.charge")
def charge(n: int) -> int:
    done.append(f"charge {n}")
    return n


@charge.undo
def refund(paid: int, n: int) -> None:
    done.append(f"refund {n}")


@step(name="faults.each")
async def each(n: int) -> int:
    done.append(f"each {n}")
    return n


class No(WorkflowError): ...


@workflow(name="faults.buys")
def buys(n: int) -> Flow[int]:
    yield from reserve(n)
    yield from sleep(60)
    return (yield from charge(n))


@workflow(name="faults.fails")
def fails(n: int) -> Flow[None]:
    yield from charge(n)
    raise No("no")


@workflow(name="faults.many")
def many(n: int) -> Flow[list[int]]:
    return (yield from fan_out(each, list(range(n)))).values()


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


def lost(handle: Any) -> list[str]:
    return [event.position for event in handle.history() if isinstance(event, ev.AttemptLost)]


def test_the_worker_dies_at_the_step_that_is_named_and_not_before(mesh: VirtualMesh) -> None:
    handle = mesh.start(buys(1))
    with mesh.crash_at(charge) as crash:
        assert handle.result() == 1
    assert (crash.happened, lost(handle)) == (1, ["3"])
    assert done == ["reserve 1", "charge 1"]


def test_after_the_effect_and_before_its_outcome_a_step_is_run_again(mesh: VirtualMesh) -> None:
    handle = mesh.start(buys(1))
    with mesh.crash_at("faults.charge", "outcome", times=2) as crash:
        assert handle.result() == 1
    assert crash.happened == 2
    assert done == ["reserve 1", "charge 1", "charge 1", "charge 1"]


def test_the_worker_dies_in_an_undo(mesh: VirtualMesh) -> None:
    handle = mesh.start(fails(1))
    with mesh.crash_at(charge.undo, "outcome") as crash, pytest.raises(RunFailed) as failed:
        handle.result()
    assert (crash.happened, done) == (1, ["charge 1", "refund 1", "refund 1"])
    assert failed.value.rollback.outcome == "clean"
    mesh.check(handle)


def test_a_fault_is_over_with_its_block(mesh: VirtualMesh) -> None:
    with mesh.crash_at(charge) as crash:
        mesh.run(many(2))
    assert mesh.run(buys(1)) == 1
    assert crash.happened == 0


def test_a_fault_of_one_mesh_is_not_felt_in_another() -> None:
    with VirtualMesh() as one, VirtualMesh() as other, one.crash_at(None) as crash:
        assert other.run(buys(1)) == 1
        assert crash.happened == 0
        assert one.run(buys(1)) == 1
        assert crash.happened == 1


def test_steps_beside_the_one_at_which_the_worker_dies_die_with_it(mesh: VirtualMesh) -> None:
    handle = mesh.start(many(5))
    mesh.crash_at(each)
    assert handle.result() == list(range(5))
    assert sorted(set(done)) == [f"each {n}" for n in range(5)]


@pytest.mark.parametrize("how", ["drop_bells", "double_bells"])
def test_bells_that_are_lost_or_come_twice_change_nothing(mesh: VirtualMesh, how: str) -> None:
    handle = mesh.start(many(20))
    with getattr(mesh, how)() as bells:
        assert handle.result() == list(range(20))
    assert bells
    assert sorted(done) == sorted(f"each {n}" for n in range(20))
    mesh.check(handle)


@pytest.mark.parametrize("wrong", [{"lose": "memory"}, {"times": 0}, {"step": 5}])
def test_a_fault_that_there_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with VirtualMesh() as mesh, pytest.raises((ValueError, TypeError), match=r"lose is|times is|a fault is at"):
        mesh.crash_at(**{"step": charge, **wrong})
