"""Decisions taken again: workflows that keep to the rules pass, those that look at what changes do not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from squidmesh import (
    Flow,
    Retry,
    RunFailed,
    Signal,
    WorkflowError,
    approval,
    fan_out,
    gather,
    new_uuid,
    now,
    publish,
    race,
    rng,
    saga,
    sleep,
    step,
    workflow,
)
from squidmesh.core.interpreter import Interpreter
from squidmesh.testing import Redriven, VirtualMesh, redriving

counted = itertools.count()
weather = {"rain": True}
PAID = Signal("redriving.paid")


@step(name="redriving.charge", retry=Retry(max_attempts=3, initial=1))
def charge(n: int) -> int:
    return n


@charge.undo
def refund(paid: int, n: int) -> None: ...


@step(name="redriving.note", pure=True)
def note(text: str) -> str:
    return text


class No(WorkflowError): ...


@workflow(name="redriving.keeps_to_the_rules")
def keeps_to_the_rules(fail: bool = False) -> Flow[str]:
    yield from publish("begun", now().isoformat())
    yield from note(str(new_uuid()))
    yield from gather(charge(1), charge(rng().randrange(100)), sleep(30))
    yield from fan_out(charge, [1, 2, 3, 4], limit=2)
    yield from race(PAID.wait(), sleep(60))
    with saga("part"):
        yield from charge(9)
    decision = yield from approval("desk", deadline=120)
    if fail:
        raise No("no")
    return str(decision.expired)


@workflow(name="redriving.looks_at_the_clock")
def looks_at_the_clock() -> Flow[str]:
    yield from sleep(1)
    return (yield from note(str(time.monotonic_ns())))


@workflow(name="redriving.counts")
def counts() -> Flow[None]:
    if next(counted) % 2:
        yield from note("odd")
    yield from sleep(1)


@workflow(name="redriving.looks_out_of_the_window")
def looks_out_of_the_window() -> Flow[None]:
    yield from note("umbrella" if weather["rain"] else "hat")
    yield from sleep(1)


@step(name="redriving.login")
def login(password: SecretStr, n: int) -> None: ...


@workflow(name="redriving.leaks")
def leaks() -> Flow[None]:
    yield from login(SecretStr("swordfish"), next(counted))


@pytest.fixture(autouse=True)
def _switched_on() -> Iterator[None]:
    was_on = redriving.is_on()
    redriving.on()
    yield
    redriving.off()
    if was_on:  # the whole session is re-driven
        redriving.on()


def test_a_workflow_that_keeps_to_the_rules_decides_the_same_from_every_prefix(mesh: VirtualMesh) -> None:
    assert mesh.run(keeps_to_the_rules()) == "True"
    with pytest.raises(RunFailed):
        mesh.run(keeps_to_the_rules(fail=True))
    redriving.check_all()


def test_it_does_so_when_workers_die_on_the_way(mesh: VirtualMesh) -> None:
    handle: Any = mesh.start(keeps_to_the_rules(fail=True))
    mesh.crash_at(charge, "outcome", times=2)
    mesh.crash_at(charge.undo)
    with mesh.double_bells(), pytest.raises(RunFailed):
        handle.result()
    mesh.check(handle)
    redriving.check_all()


@pytest.mark.parametrize("flow", [looks_at_the_clock, counts])
def test_a_workflow_that_decides_by_what_changes_is_found(flow: Any) -> None:
    with pytest.raises(Redriven, match="does not do the same when it is replayed") as found, VirtualMesh() as mesh:
        mesh.run(flow())
    assert found.value.seq >= 1


def test_so_is_one_that_looks_at_what_the_test_has_changed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = VirtualMesh()
    mesh.run(looks_out_of_the_window())
    monkeypatch.setitem(weather, "rain", False)
    with pytest.raises(Redriven, match="umbrella"):
        mesh.close()


def test_a_test_that_has_failed_already_is_told_of_its_own_failure() -> None:
    def fails() -> None:
        with VirtualMesh() as mesh:
            mesh.run(looks_at_the_clock())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_a_secret_in_what_differs_is_not_told() -> None:
    with pytest.raises(Redriven) as found, VirtualMesh() as mesh:
        mesh.run(leaks())
    assert "swordfish" not in str(found.value)
    assert "**********" in str(found.value)


def test_off_it_is_the_interpreter_s_own_again() -> None:
    on = Interpreter.take
    redriving.off()
    assert Interpreter.take is not on
    with VirtualMesh() as mesh:
        mesh.run(looks_at_the_clock())
