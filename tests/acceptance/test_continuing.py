"""continue_as_new: a chain of runs that is one run to everybody outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh import (
    DefinitionError,
    Every,
    Flow,
    IllegalState,
    KeyConflict,
    Signal,
    approval,
    continue_as_new,
    publish,
    run_info,
    saga,
    sleep,
    spawn,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh

BY: dict[str, Any] = {"actor": "ann", "note": "seen"}
DONE: list[int] = []
ORDER = Signal("order", int)


@pytest.fixture(params=["sqlite", "postgres"])
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    DONE.clear()
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")
    with VirtualMesh(url) as mesh:
        yield mesh


@step
def con_put(n: int) -> int:
    DONE.append(n)
    return n


@con_put.undo
def take_back(result: int, n: int) -> None:
    DONE.append(-n)


@step
def con_refuse() -> None:
    raise ValueError("no")


@workflow
def con_shop(total: int, left: int) -> Flow[int]:
    """Adds up what is ordered; a link for each order."""
    yield from publish("total", total)
    if left == 0:
        return total
    amount = yield from ORDER.wait()
    yield from con_put(amount)
    return (yield from continue_as_new(con_shop(total + amount, left - 1)))


def links(mesh: VirtualMesh) -> int:
    return sum(1 for _ in mesh.list(limit=100))


def test_signals_result_and_published_values_follow_to_the_newest_link(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_shop(0, 3), key="con_shop")
    for amount in (1, 2, 3):
        handle.signal(ORDER, amount)
    assert handle.result() == 6
    assert handle.published("total") == 6
    assert handle.status() == "continued"
    assert links(mesh) == 4
    assert DONE == [1, 2, 3]
    newest = mesh.find("con_shop")
    assert newest is not None
    assert newest.run_id != handle.run_id
    assert newest.status() == "completed"
    assert [event.kind for event in handle.history()].count("RunContinued") == 1


def test_messages_that_were_sent_early_are_taken_in_order_over_all_links(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_shop(0, 2))
    for amount in (5, 7, 9):
        handle.signal(ORDER, amount, key=f"k{amount}")
    mesh.drain()
    assert DONE == [5, 7]
    assert handle.result() == 12


def test_a_key_of_a_message_counts_for_the_whole_chain(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_shop(0, 2))
    handle.signal(ORDER, 5, key="once")
    mesh.drain()
    handle.signal(ORDER, 5, key="once")
    mesh.drain()
    assert DONE == [5]
    handle.signal(ORDER, 6, key="twice")
    assert handle.result() == 11


def test_a_start_with_the_key_is_compared_with_the_first_input(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_shop(0, 1), key="con_shop")
    handle.signal(ORDER, 4)
    assert handle.result() == 4
    again = mesh.start(con_shop(0, 1), key="con_shop")
    assert again.result() == 4
    assert DONE == [4]
    with pytest.raises(KeyConflict):
        mesh.start(con_shop(4, 0), key="con_shop")


def test_a_rollback_of_the_chain_reaches_back_to_what_earlier_links_did(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_shop(0, 3), key="con_shop")
    for amount in (1, 2, 3):
        handle.signal(ORDER, amount)
    handle.result()
    handle.rollback(**BY)
    mesh.drain()
    assert DONE == [1, 2, 3, -3, -2, -1]
    newest = mesh.find("con_shop")
    assert newest is not None
    assert newest.status() == "undone"
    assert handle.status() == "continued"
    report = newest.inspect().rollback
    assert report is not None
    assert report.outcome == "clean"
    for run in mesh.list(limit=50):
        mesh.check(mesh.handle(run.run_id))


@workflow
def con_fails_at_the_end(n: int) -> Flow[None]:
    yield from con_put(n)
    if n == 3:
        yield from con_refuse()
    yield from continue_as_new(con_fails_at_the_end(n + 1))


def test_a_failure_of_the_last_link_undoes_the_whole_chain(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_fails_at_the_end(1), key="f")
    mesh.drain()
    newest = mesh.find("f")
    assert newest is not None
    assert newest.status() == "failed"
    assert DONE == [1, 2, 3, -2, -1] or DONE == [1, 2, 3, -3, -2, -1]
    assert newest.inspect().rollback.outcome == "clean"  # type: ignore[union-attr]
    assert handle.status() == "continued"


@workflow
def con_parent(orders: int) -> Flow[int]:
    return (yield from con_shop(0, orders).options(key="kid"))


def test_a_waiting_parent_gets_the_result_of_the_last_link(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_parent(2))
    mesh.drain()
    kid = mesh.find("kid")
    assert kid is not None
    kid.signal(ORDER, 1)
    kid.signal(ORDER, 2)
    assert handle.result() == 3
    ended = [event for event in handle.history() if isinstance(event, ev.ChildEnded)]
    assert len(ended) == 1
    handle.rollback(**BY)
    mesh.drain()
    assert DONE == [1, 2, -2, -1]
    mesh.check(handle)


def test_a_parent_that_is_cancelled_reaches_the_link_that_goes_on(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_parent(3))
    mesh.drain()
    kid = mesh.find("kid")
    assert kid is not None
    kid.signal(ORDER, 1)
    mesh.drain()
    handle.cancel()
    mesh.drain()
    assert handle.status() == "cancelled"
    assert mesh.find("kid").status() == "cancelled"  # type: ignore[union-attr]
    assert DONE == [1, -1]


@workflow
def con_asks(n: int) -> Flow[str]:
    if n:
        yield from continue_as_new(con_asks(n - 1))
    decision = yield from approval("ok")
    return str(decision.actor)


def test_people_act_on_the_newest_link_whichever_they_name(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_asks(2), attributes={"who": "ada"})
    mesh.drain()
    handle.approve(actor="bob")
    assert handle.result() == "bob"
    assert {run.attributes["who"] for run in mesh.list()} == {"ada"}
    other = mesh.start(con_asks(1), key="c")
    mesh.drain()
    other.cancel(actor="ann")
    mesh.drain()
    assert mesh.find("c").status() == "cancelled"  # type: ignore[union-attr]


@workflow
def con_never_again(n: int, why: str) -> Flow[None]:
    if why == "scope":
        with saga("open"):
            yield from continue_as_new(con_never_again(n + 1, why))
    yield from spawn(con_waits())
    yield from continue_as_new(con_never_again(n + 1, why))


@workflow
def con_waits() -> Flow[None]:
    yield from sleep(100)


@pytest.mark.parametrize("why", ["scope", "spawn"])
def test_it_is_refused_with_open_scopes_or_spawned_work(mesh: VirtualMesh, why: str) -> None:
    handle = mesh.start(con_never_again(0, why))
    mesh.drain()
    assert handle.status() == "blocked"
    told = handle.explain()
    assert told.reason == "code_error"
    assert "continue_as_new()" in told.summary


def test_it_takes_the_call_of_a_workflow() -> None:
    with pytest.raises(DefinitionError, match="call of a workflow"):
        continue_as_new(con_put(1))


@workflow
def con_counts(n: int, most: int) -> Flow[int]:
    if n == most:
        return n
    return (yield from continue_as_new(con_counts(n + 1, most)))


def test_a_long_loop_keeps_each_history_short(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_counts(0, 300), key="long")
    mesh.drain(limit=100_000)
    assert handle.result() == 300
    newest = mesh.find("long")
    assert newest is not None
    assert len(newest.history()) == 2
    assert len(handle.history()) == 2


@workflow
def con_whose(n: int) -> Flow[str]:
    if n:
        yield from continue_as_new(con_whose(n - 1))
    return f"{run_info().key} {run_info().tick is not None}"


def test_a_schedule_takes_the_chain_for_one_run(mesh: VirtualMesh) -> None:
    schedule = mesh.schedule("often", Every(60), con_shop(0, 1), overlap="skip")
    mesh.advance(61)
    runs = list(mesh.list(limit=50))
    mesh.signal(runs[-1].run_id, ORDER, 1)
    mesh.drain()
    mesh.advance(60)
    outcomes = [tick.outcome for tick in schedule.ticks()]
    assert outcomes[0] == "started"
    schedule.delete(actor="ann")


def test_a_rollback_of_a_link_that_goes_on_is_refused_as_of_the_newest(mesh: VirtualMesh) -> None:
    handle = mesh.start(con_shop(0, 2))
    handle.signal(ORDER, 1)
    mesh.drain()
    assert handle.status() == "continued"
    with pytest.raises(IllegalState):
        handle.rollback(**BY)
