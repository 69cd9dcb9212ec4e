"""Reruns and forks of runs with children, deferred calls and successors: whose is what, and what begins anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from squidmesh import (
    ChildFailed,
    Every,
    Flow,
    IllegalState,
    NotApplied,
    NothingToUndo,
    Signal,
    UnsafeRerun,
    continue_as_new,
    defer,
    fan_out,
    gather,
    publish,
    run_info,
    spawn,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh
from tests.engine.shop import WHO, after, broken, buys, charge, did, opened, reserve, ship, ships, spawns, started

VERIFIED: set[int] = set()
MORE = Signal("more", int)


@pytest.fixture(autouse=True)
def _open(mesh: VirtualMesh) -> Iterator[None]:
    VERIFIED.clear()
    with opened(mesh):
        yield


@workflow(name="kin.parent")
def parent(n: int) -> Flow[int]:
    bought = yield from buys(n)
    return bought + (yield from charge(n + 1))


@workflow(name="kin.pair")
def pair(n: int) -> Flow[list[Any]]:
    first, second = yield from gather(buys(n), buys(n + 1))
    return [first, second, run_info().parent]


@workflow(name="kin.forgives")
def forgives(n: int) -> Flow[str]:
    try:
        yield from buys(n, fails=True)
    except ChildFailed as failed:
        yield from charge(n)
        return failed.workflow
    return "none"


@step(name="kin.verified", pure=True)
def verified(n: int) -> bool:
    return n in VERIFIED


@workflow(name="kin.onboards")
def onboards(n: int) -> Flow[str]:
    later = yield from defer(reserve(n), until=verified(n), every=3600, deadline=timedelta(days=9))
    yield from charge(n)
    return later.run_id


@workflow(name="kin.adds")
def adds(total: int, left: int) -> Flow[int]:
    yield from publish("total", total)
    if left == 0:
        yield from charge(total)
        return total
    amount = yield from MORE.wait()
    yield from reserve(amount)
    yield from continue_as_new(adds(total + amount, left - 1))
    raise AssertionError


@workflow(name="kin.ships_for")
def ships_for(n: int) -> Flow[int]:
    yield from ships(n)
    return (yield from charge(n))


@workflow(name="kin.ships_on")
def ships_on(n: int) -> Flow[int]:
    if n:
        yield from charge(n)
        yield from continue_as_new(ships_on(0))
    return (yield from ship(7))


@workflow(name="kin.ships_later")
def ships_later(n: int) -> Flow[None]:
    yield from defer(ship(n), until=verified(n), every=3600)
    yield from charge(n)


def rolled_back(mesh: VirtualMesh, handle: Any) -> list[str]:
    """What a rollback of a run does."""
    did.clear()
    handle.rollback(**WHO)
    mesh.drain()
    return list(did)


def begun(handle: Any) -> ev.RunStarted:
    first = handle.history()[0]
    assert isinstance(first, ev.RunStarted)
    return first


# ------------------------------------------------------------------------------------------------ children


def test_a_kept_child_is_not_run_again_and_stays_the_old_runs_to_undo(mesh: VirtualMesh) -> None:
    handle = started(mesh, parent(4))
    (child,) = handle.inspect().children
    did.clear()
    again = handle.rerun(from_position="2")
    assert again.result() == 9
    assert did == ["charge 5"]
    assert [kept.run_id for kept in again.inspect().children] == [child.run_id]
    assert rolled_back(mesh, again) == ["refund 5"]
    assert mesh.handle(child.run_id).status() == "completed"
    assert rolled_back(mesh, handle) == ["refund 5", "refund 4", "release r-4"]
    assert mesh.handle(child.run_id).status() == "undone"
    with pytest.raises(IllegalState, match=rf"undone in run {handle.run_id} .repair.buys at 1."):
        again.rerun(from_position="2")
    with pytest.raises(IllegalState, match=r"was undone .repair.buys at 1.: name the first of these"):
        handle.rerun(from_position="2")


def test_a_child_from_the_position_on_is_a_new_run_of_the_forks_own(mesh: VirtualMesh) -> None:
    handle = started(mesh, pair(1))
    did.clear()
    again = handle.rerun(from_position="1.2")
    assert again.result() == [1, 2, None]
    assert did == ["reserve 2", "charge 2"]
    old, new = handle.inspect().children, again.inspect().children
    assert (new[0].run_id == old[0].run_id, new[1].run_id == old[1].run_id) == (True, False)
    assert mesh.handle(new[1].run_id).inspect().parent == again.run_id
    assert rolled_back(mesh, again) == ["refund 2", "release r-2"]
    assert mesh.handle(old[0].run_id).status() == "completed"


def test_a_kept_child_that_had_failed_is_caught_again_as_it_was(mesh: VirtualMesh) -> None:
    handle = started(mesh, forgives(3))
    did.clear()
    again = handle.rerun(from_position="2")
    assert again.result() == "repair.buys"
    assert did == ["charge 3"]


def test_a_child_that_was_cancelled_with_its_parent_is_in_the_way(mesh: VirtualMesh) -> None:
    broken.add("slow")
    handle = started(mesh, holds(1))
    handle.cancel()
    mesh.advance(7200)
    with pytest.raises(IllegalState, match=r"ended before its child repair.spawns at 1: name that position"):
        handle.rerun(from_position="2")
    broken.clear()
    assert handle.rerun(from_position="1").result() == 1


@workflow(name="kin.holds")
def holds(n: int) -> Flow[int]:
    pending = yield from spawn(spawns(n))
    yield from charge(n)
    return (yield from pending)


def test_a_rerun_of_a_child_is_nobodys_child(mesh: VirtualMesh) -> None:
    handle = started(mesh, pair(1))
    child = mesh.handle(handle.inspect().children[0].run_id)
    again = child.rerun()
    assert again.result() == 1
    first = begun(again)
    assert (first.parent, first.parent_position, first.parent_queue, first.depth) == (None, None, None, 0)
    assert again.inspect().parent is None
    assert rolled_back(mesh, again) == ["refund 1", "release r-1"]
    assert [kin.outcome for kin in handle.inspect().children] == ["completed", "completed"]


def test_a_rerun_of_a_ticks_run_is_no_tick(mesh: VirtualMesh) -> None:
    mesh.schedule("hourly", Every(3600), ticks(1))
    mesh.advance(3600)
    handle = mesh.handle(next(iter(mesh.list(workflow="kin.ticks"))).run_id)
    assert begun(handle).tick is not None
    assert handle.result() == [True, True]
    for place, result in ((None, [False, False]), ("2", [True, False])):
        again = handle.rerun(from_position=place)
        assert begun(again).tick is None
        assert again.result() == result
    mesh.schedules()[0].delete(**WHO)


@workflow(name="kin.ticks")
def ticks(n: int) -> Flow[list[bool]]:
    before = run_info().tick is not None
    yield from charge(n)
    after_it = run_info().tick is not None
    yield from charge(n)
    return [before, run_info().tick is not None and after_it]


def test_who_waited_for_the_old_run_by_its_key_is_not_told_by_a_fork(mesh: VirtualMesh) -> None:
    mesh.start(buys(4), key="shared")
    joins = started(mesh, waits_for(4))
    assert joins.result() == 4
    shared = mesh.find("shared")
    assert shared is not None
    again = shared.rerun(from_position="2")
    mesh.drain()
    assert not [event for event in again.history() if isinstance(event, ev.RunJoined)]
    assert [event.kind for event in joins.history()].count("ChildEnded") == 1


@workflow(name="kin.waits_for")
def waits_for(n: int) -> Flow[int]:
    return (yield from buys(n).options(key="shared"))


# ------------------------------------------------------------------------------------------- deferred calls


def test_a_kept_deferred_call_goes_on_and_stays_the_old_runs_to_undo(mesh: VirtualMesh) -> None:
    handle = started(mesh, onboards(2))
    later = mesh.handle(handle.result())
    again = handle.rerun(from_position="2")
    assert again.result() == later.run_id
    assert rolled_back(mesh, again) == ["refund 2"]
    assert later.status() == "waiting"
    VERIFIED.add(2)
    mesh.advance(3600)
    assert later.result() == "r-2"
    assert again.status() == "undone"
    assert rolled_back(mesh, handle) == ["release r-2", "refund 2"]
    with pytest.raises(IllegalState, match="was undone in run"):
        again.rerun(from_position="2")


def test_a_deferred_call_from_the_position_on_is_deferred_anew(mesh: VirtualMesh) -> None:
    handle = started(mesh, onboards(2))
    again = handle.rerun(from_position="1")
    assert again.result() != handle.result()
    assert rolled_back(mesh, again) == ["refund 2"]
    assert mesh.handle(again.result() if again.status() == "completed" else begun_there(again)).status() == "cancelled"
    assert mesh.handle(handle.result()).status() == "waiting"


def begun_there(handle: Any) -> str:
    """The run of its deferred call."""
    (child,) = handle.inspect().children
    return str(child.run_id)


# ---------------------------------------------------------------------------------------------- successors


def chain(mesh: VirtualMesh) -> list[Any]:
    """A chain of three links, the oldest first."""
    handle = mesh.start(adds(0, 2), key="adds", attributes={"shop": "sofia"})
    for amount in (5, 7):
        handle.signal(MORE, amount, key=f"k{amount}")
        mesh.drain()
    assert handle.result() == 12
    links = [handle]
    while (on := links[-1].inspect().continued_as) is not None:
        links.append(mesh.handle(on))
    return links


def test_a_rerun_of_a_link_begins_with_its_input_as_a_chain_of_its_own(mesh: VirtualMesh) -> None:
    links = chain(mesh)
    did.clear()
    again = links[1].rerun(key="again")
    mesh.drain()
    first = begun(again)
    assert (first.input, first.continues, first.carried) == ({"total": 5, "left": 1}, None, None)
    assert again.published("total") == 5
    again.signal(MORE, 7, key="k7")  # heard by the old chain, not by this one
    mesh.drain()
    assert again.result() == 12
    assert did == ["reserve 7", "charge 12"]
    assert links[1].rerun(key="again").run_id == again.run_id  # whose successor has the key now
    newest = mesh.find("again")
    assert newest is not None
    assert newest.run_id != again.run_id
    assert rolled_back(mesh, again) == ["refund 12", "release r-7"]
    assert links[-1].status() == "completed"


def test_a_fork_of_a_link_has_what_the_link_had_and_undoes_nothing_of_its_chain(mesh: VirtualMesh) -> None:
    links = chain(mesh)
    did.clear()
    again = links[1].rerun(from_position="3")
    mesh.drain()
    assert again.result() == 12
    assert did == ["reserve 7", "charge 12"]
    first = begun(again)
    assert (first.continues, first.attributes) == (None, {"shop": "sofia"})
    assert again.published("total") == 12
    assert rolled_back(mesh, again) == ["refund 12", "release r-7"]
    assert links[-1].status() == "completed"
    assert rolled_back(mesh, links[0]) == ["refund 12", "release r-7", "release r-5"]


def test_a_fork_of_a_link_shows_what_was_published_before_it_and_hears_no_message_twice(mesh: VirtualMesh) -> None:
    links = chain(mesh)
    again = links[1].rerun(from_position="1")
    assert again.published("total") == 0  # as when the link began
    again.signal(MORE, 5, key="k5")
    mesh.drain()
    assert [event.payload for event in again.history() if isinstance(event, ev.SignalReceived)] == [7]
    assert again.result() == 12


def test_a_fork_of_the_last_link_with_nothing_of_its_own_has_nothing_to_undo(mesh: VirtualMesh) -> None:
    links = chain(mesh)
    again = links[-1].rerun(from_position="2")
    mesh.drain()
    assert rolled_back(mesh, again) == ["refund 12"]
    with pytest.raises(NothingToUndo):
        again.rollback(**WHO)
    assert links[-1].status() == "completed"


# ------------------------------------------------------------------------------------- what is done twice


def test_an_irreversible_step_of_a_child_is_not_run_again_unawares(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships_for(1))
    (child,) = handle.inspect().children
    with pytest.raises(UnsafeRerun) as unsafe:
        handle.rerun()
    assert unsafe.value.steps == (f"repair.ship at 2 of run {child.run_id}",)
    with pytest.raises(UnsafeRerun):
        handle.rerun(from_position="1")
    did.clear()
    assert handle.rerun(from_position="2").result() == 1
    assert did == ["charge 1"]
    assert handle.rerun(allow_irreversible=True, **WHO).result() == 1


def test_an_irreversible_step_of_a_successor_is_not_run_again_unawares(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships_on(2))
    last = handle.inspect().continued_as
    for place in (None, "1"):
        with pytest.raises(UnsafeRerun, match=f"repair.ship at 1 of run {last}"):
            handle.rerun(from_position=place)


def test_an_irreversible_step_that_was_deferred_is_not_run_again_unawares(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships_later(3))
    assert handle.rerun(from_position="2").status() == "pending"
    VERIFIED.add(3)
    mesh.advance(3600)
    with pytest.raises(UnsafeRerun, match=r"repair\.ship at"):
        handle.rerun()
    assert handle.rerun(from_position="2").status() == "pending"


def test_a_child_in_which_it_did_not_happen_is_no_obstacle(mesh: VirtualMesh) -> None:
    broken.add("ship")
    handle = started(mesh, ships_for(1))
    (child,) = handle.inspect().children
    mesh.handle(child.run_id).resolve_step("2", NotApplied(), **WHO)
    mesh.drain()
    broken.clear()
    assert handle.rerun().result() == 1


# ------------------------------------------------------------------------------------------------- as shown


def test_a_fork_tells_where_it_comes_from(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(4))
    again = started_again(mesh, handle, "2")
    view = again.inspect()
    assert (view.rerun_of, view.from_position) == (handle.run_id, "2")
    assert [entry.position for entry in view.entries] == ["2"]
    assert f"It goes on from position 2 of run {handle.run_id}" in again.explain().summary
    drawn = again.graph()
    origin = next(node for node in drawn.nodes if node.kind == "run")
    assert (origin.id, origin.name, origin.status) == (f"run:{handle.run_id}", "repair.buys", "forked")
    assert [(edge.source, edge.target) for edge in drawn.edges if edge.kind == "forked"] == [(origin.id, "2")]
    assert (handle.inspect().rerun_of, handle.inspect().from_position) == (None, None)
    assert "goes on from" not in handle.explain().summary


def started_again(mesh: VirtualMesh, handle: Any, position: str) -> Any:
    again = handle.rerun(from_position=position)
    mesh.drain()
    return again


def test_a_fork_into_a_fan_out_beside_others_survives_a_restart(mesh: VirtualMesh) -> None:
    handle = started(mesh, windows(3))
    did.clear()
    again = handle.rerun(from_position="1.1.3")
    mesh.restart()
    assert again.result() == [[0, 1, 2, 3], "r-3"]
    assert sorted(did) == ["charge 2", "charge 3", "reserve 3"]
    mesh.restart()
    assert rolled_back(mesh, again)[:1] != []
    assert sorted(did) == ["refund 2", "refund 3", "release r-3"]


@workflow(name="kin.windows")
def windows(n: int) -> Flow[list[Any]]:
    charged, made = yield from gather(fan_out(charge, range(n + 1), limit=1), reserve(n))
    return [charged.values(), made]


def test_a_place_that_cannot_be_gone_on_from_is_told_the_nearest(mesh: VirtualMesh) -> None:
    broken.add("after")
    handle = started(mesh, beside(1))
    with pytest.raises(IllegalState, match=r"for repair.after at 1.1, .* had not come out well: name position 1.1"):
        handle.rerun(from_position="1.2")
    broken.clear()
    assert handle.rerun(from_position="1.1").result() == 1


@workflow(name="kin.beside")
def beside(n: int) -> Flow[int]:
    first, _ = yield from gather(after(n), charge(n))
    return first
