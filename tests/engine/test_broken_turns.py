"""What a turn of the body had asked for when it broke, or when the run was ended, is not waited for."""

from __future__ import annotations

import pytest

from squidmesh import Flow, RunCancelled, Signal, StepFailed, context, gather, saga, sleep, spawn, step, workflow
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds

TOLD = Signal("broken_turn.told", str)


@step
def turn_works(x: int) -> int:
    return x


@workflow(strict_undo=True)
def turn_sends_and_breaks(other: str) -> Flow[None]:
    yield from gather(TOLD.send(other, "hello"), TOLD.wait(), turn_works(1))


@workflow
def turn_listens() -> Flow[list[str]]:
    return [(yield from TOLD.wait()), (yield from TOLD.wait())]


@workflow
def turn_sends_later(other: str) -> Flow[None]:
    yield from sleep(10)
    yield from TOLD.send(other, "hello")
    yield from sleep(10)


saved: list[object] = []


@step
def turn_books(what: str) -> str:
    return what


@turn_books.undo
def turn_cancels(booked: str, what: str) -> None:
    saved.append(context().progress)
    context().checkpoint({"asked": what})
    if len(saved) == 1:
        raise ConnectionError("ask again")


@step
def turn_fails() -> None:
    raise ValueError("no")


@workflow
def turn_goes_another_way() -> Flow[str]:
    try:
        with saga("hotel"):
            yield from turn_books("room")
            yield from turn_fails()
    except StepFailed:
        return "another way"
    return "the first way"


broken = [True]


@workflow
def turn_breaks_beside() -> Flow[str]:
    pending = yield from spawn(turn_works(1))
    waited = yield from gather(TOLD.wait(timeout=5), sleep(1))
    if broken[0]:
        raise TypeError("not mended yet")
    yield from pending
    return str(waited[0])


def test_a_message_of_a_turn_that_broke_is_not_sent_and_not_waited_for(mesh: VirtualMesh) -> None:
    other = mesh.start(turn_listens())
    handle = mesh.start(turn_sends_and_breaks(other.run_id))
    mesh.drain()
    assert handle.explain().reason == "code_error"
    handle.cancel()
    with pytest.raises(RunCancelled):
        handle.result()
    assert "SignalReceived" not in kinds(other)


def test_an_undo_inside_a_run_that_goes_on_has_its_checkpoints_too(mesh: VirtualMesh) -> None:
    saved.clear()
    assert mesh.run(turn_goes_another_way()) == "another way"
    assert saved == [None, {"asked": "room"}]


def test_a_run_that_is_cancelled_before_it_sends_sends_nothing(mesh: VirtualMesh) -> None:
    other = mesh.start(turn_listens())
    handle = mesh.start(turn_sends_later(other.run_id))
    mesh.drain()
    handle.cancel()
    mesh.advance(30)
    assert handle.status() == "cancelled"
    assert "SignalReceived" not in kinds(other)


def test_a_message_that_was_taken_before_the_code_broke_is_not_waited_for_after_a_cancel(mesh: VirtualMesh) -> None:
    broken[0] = True
    handle = mesh.start(turn_breaks_beside())
    mesh.drain()
    handle.signal(TOLD, "hello")
    mesh.advance(2)
    assert handle.explain().reason == "code_error"
    mesh.restart()
    handle.cancel()
    with pytest.raises(RunCancelled):
        handle.result()
    mesh.check(handle)
