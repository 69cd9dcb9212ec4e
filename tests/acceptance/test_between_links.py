"""What reaches a run that goes on in a successor just then, and what is run again of such a chain or of a tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import (
    Flow,
    GiveUp,
    IllegalState,
    Signal,
    UnsafeRerun,
    continue_as_new,
    publish,
    run_info,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.core.codec import encode
from squidmesh.engine import post, sending
from squidmesh.testing import VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
DONE: list[str] = []
GO = Signal("go", str)


@pytest.fixture(params=["sqlite", "postgres"])
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    DONE.clear()
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")
    with VirtualMesh(url) as mesh:
        yield mesh


@step
def lnk_do(name: str) -> str:
    DONE.append(name)
    return name


@lnk_do.undo
def lnk_undo(result: str, name: str) -> None:
    raise GiveUp("the desk is closed")


@step(irreversible=True)
def lnk_engrave(name: str) -> None:
    DONE.append(name)


@workflow
def lnk_counts(n: int, most: int) -> Flow[int]:
    """Takes a message in each link; publishes which it is."""
    yield from publish("n", n)
    if n == most:
        return n
    text = yield from GO.wait()
    yield from lnk_do(text)
    yield from continue_as_new(lnk_counts(n + 1, most))


def to_an_older_link(mesh: VirtualMesh, run_id: str, event: ev.Event, key: str | None, reopen: str) -> None:
    """As if it had been on its way when the link ended."""
    put = mesh.connect_engine().store.post(run_id, event.kind, encode([event]), key, reopen=reopen)
    assert put is not None


def received(text: str, key: str) -> ev.SignalReceived:
    return ev.SignalReceived(at=1, name="go", payload=text, key=key)


def test_a_message_is_not_lost_with_another_one_whose_key_is_there_already(mesh: VirtualMesh) -> None:
    first = mesh.start(lnk_counts(0, 4), key="chain")
    first.signal(GO, "0")
    mesh.drain()
    newest = mesh.find("chain")
    assert newest is not None
    assert newest.run_id != first.run_id
    for text, key in (("1", "a"), ("2", "b")):
        to_an_older_link(mesh, first.run_id, received(text, key), key, "continued")
    newest.signal(GO, "1", key="a")
    mesh.drain()
    assert DONE == ["0", "1", "2"]


def test_what_came_for_a_link_that_is_being_rolled_back_is_passed_on(mesh: VirtualMesh) -> None:
    first = mesh.start(lnk_counts(0, 1), key="chain")
    first.signal(GO, "0")
    assert first.result() == 1
    first.rollback(**BY)
    mesh.drain()
    assert first.status() == "blocked"
    waits = mesh.start(lnk_waits_for_the_chain())
    mesh.drain()
    joined = next(event for event in waits.history() if isinstance(event, ev.ChildStarted))
    event = ev.RunJoined(at=1, run_id=waits.run_id, position=joined.position, queue="default")
    to_an_older_link(mesh, first.run_id, event, None, "blocked")
    mesh.drain()
    newest = mesh.find("chain")
    assert newest is not None
    assert sum(isinstance(event, ev.RunJoined) for event in newest.history()) == 2


@workflow
def lnk_waits_for_the_chain() -> Flow[int]:
    return (yield from lnk_counts(0, 1).options(key="chain"))


def test_a_message_that_meets_the_end_of_a_link_goes_to_its_successor(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = mesh.start(lnk_counts(0, 2))
    handle.signal(GO, "0")
    looked = sending.newest

    def looked_and_gone_on(*args: Any) -> Any:
        row = looked(*args)
        mesh.drain()
        return row

    monkeypatch.setattr(sending, "newest", looked_and_gone_on)
    handle.signal(GO, "1")
    monkeypatch.undo()
    assert handle.result() == 2
    assert DONE == ["0", "1"]


def test_a_rollback_that_meets_the_end_of_a_link_is_refused_as_of_the_one_that_goes_on(
    mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = mesh.start(lnk_counts(0, 3))
    handle.signal(GO, "0")
    mesh.drain()
    handle.signal(GO, "1")  # the second link has it to come
    looked = post.newest

    def looked_and_gone_on(*args: Any) -> Any:
        row = looked(*args)
        mesh.drain()
        return row

    monkeypatch.setattr(post, "newest", looked_and_gone_on)
    with pytest.raises(IllegalState):
        handle.rollback(**BY)
    monkeypatch.undo()
    mesh.drain()
    handle.signal(GO, "2")
    assert handle.result() == 3
    recorded = [event for run in mesh.list() for event in mesh.handle(run.run_id).history()]
    assert not any(isinstance(event, ev.RollbackStarted) for event in recorded)


# ------------------------------------------------------------------------------------------------------ run again


def test_a_link_is_run_again_as_the_run_it_is_and_hears_what_it_is_sent(mesh: VirtualMesh) -> None:
    first = mesh.start(lnk_counts(0, 2), key="chain")
    for text in ("0", "1"):
        first.signal(GO, text, key=text)
    assert first.result() == 2
    (second,) = [run.run_id for run in mesh.list() if mesh.handle(run.run_id).inspect().input == {"n": 1, "most": 2}]
    again = mesh.handle(second).rerun(key="again", **BY)
    again.signal(GO, "0", key="0")
    assert again.result() == 2
    assert DONE == ["0", "1", "0"]
    assert mesh.start(lnk_counts(1, 2), key="again").run_id == mesh.find("again").run_id  # type: ignore[union-attr]


def test_a_chain_that_goes_on_is_not_run_again(mesh: VirtualMesh) -> None:
    first = mesh.start(lnk_counts(0, 2))
    first.signal(GO, "0")
    mesh.drain()
    assert first.status() == "continued"
    with pytest.raises(IllegalState):
        first.rerun(**BY)


@workflow
def lnk_engraves_last(n: int) -> Flow[str]:
    if n == 0:
        yield from continue_as_new(lnk_engraves_last(1))
    yield from lnk_engrave("ring")
    return run_info().run_id


@workflow
def lnk_has_it_engraved() -> Flow[None]:
    yield from lnk_engraves_last(0)


@pytest.mark.parametrize("flow", [lambda: lnk_engraves_last(0), lnk_has_it_engraved], ids=["chain", "child"])
def test_what_a_child_or_a_later_link_did_for_good_is_not_done_again_unawares(mesh: VirtualMesh, flow: Any) -> None:
    handle = mesh.start(flow())
    handle.result()
    with pytest.raises(UnsafeRerun, match="lnk_engrave"):
        handle.rerun(**BY)
    assert DONE == ["ring"]
    handle.rerun(allow_irreversible=True, **BY).result()
    assert DONE == ["ring", "ring"]
