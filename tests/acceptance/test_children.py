"""Runs that other runs start: results, failures, keys, cancellation and rollback down the tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pydantic import BaseModel

from squidmesh import (
    ChildFailed,
    Flow,
    GiveUp,
    IllegalState,
    OwnedByParent,
    Retry,
    RunFailed,
    StepFailed,
    WorkflowError,
    fan_out,
    gather,
    race,
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
DONE: list[str] = []
BROKEN: set[str] = set()


@pytest.fixture(params=["sqlite", "postgres"])
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    DONE.clear()
    BROKEN.clear()
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")
    with VirtualMesh(url) as mesh:
        yield mesh


class Room(BaseModel):
    name: str
    nights: int = 1


@step
def kid_book(name: str) -> str:
    DONE.append(f"+{name}")
    return name


@kid_book.undo
def unbook(result: str, name: str) -> None:
    if name in BROKEN:
        raise GiveUp("the desk is closed")
    DONE.append(f"-{name}")


@step(irreversible=True)
def kid_engrave(name: str) -> None:
    DONE.append(f"+{name}")


@step
def kid_refuse(why: str) -> None:
    raise ValueError(why)


@step(pure=True)
def kid_look(name: str) -> str:
    return name


@workflow
def kid_stay(name: str) -> Flow[Room]:
    booked = yield from kid_book(name)
    return Room(name=booked, nights=2)


@workflow
def kid_slow_stay(name: str, seconds: float) -> Flow[str]:
    yield from kid_book(name)
    yield from sleep(seconds)
    yield from kid_book(f"{name}, late")
    return name


@workflow
def kid_bad_stay(name: str) -> Flow[str]:
    yield from kid_book(name)
    yield from kid_refuse(f"{name} is full")
    return name


@workflow
def kid_engraved(name: str) -> Flow[str]:
    yield from kid_book(name)
    yield from kid_engrave(f"{name} in stone")
    return name


@workflow
def kid_reader(name: str) -> Flow[str]:
    return (yield from kid_look(name))


@workflow
def kid_parent_of(name: str) -> Flow[int]:
    room = yield from kid_stay(name)
    assert isinstance(room, Room)
    return room.nights


def test_the_result_of_a_child_is_decoded_by_its_declared_type(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_parent_of("sea"), key="p")
    assert handle.result() == 2
    (child,) = (event for event in handle.history() if isinstance(event, ev.ChildStarted))
    kid = mesh.handle(child.run_id)
    assert kid.result() == Room(name="sea", nights=2)
    assert mesh.list(parent=handle.run_id).items[0].run_id == child.run_id
    assert [event.kind for event in handle.history()] == ["RunStarted", "ChildStarted", "ChildEnded", "RunCompleted"]
    mesh.check(handle)
    mesh.check(kid)


@workflow
def kid_catching(name: str) -> Flow[str]:
    try:
        yield from kid_bad_stay(name)
    except ChildFailed as failed:
        other = failed.run_id != run_info().run_id and failed.failure.matches(ValueError)
        return f"{failed.workflow}: {failed.failure.message}; {failed.rollback.outcome}; {other}"
    return "no"


def test_a_child_that_fails_is_undone_and_raises_its_failure_into_the_parent(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_catching("sea"))
    assert handle.result() == "kid_bad_stay: sea is full; clean; True"
    assert DONE == ["+sea", "-sea"]
    mesh.check(handle)


@workflow
def kid_not_catching(name: str) -> Flow[None]:
    yield from kid_book("before")
    yield from kid_bad_stay(name)


def test_a_childs_failure_that_nobody_catches_is_the_parents_own(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed) as failed:
        mesh.run(kid_not_catching("sea"))
    assert failed.value.failure.matches(ValueError)
    assert failed.value.rollback.outcome == "clean"
    assert DONE == ["+before", "+sea", "-sea", "-before"]


@workflow
def kid_side_by_side(names: list[str]) -> Flow[list[str]]:
    rooms = yield from gather([kid_stay(name) for name in names])
    return [room.name for room in rooms]


def test_children_run_side_by_side(mesh: VirtualMesh) -> None:
    assert mesh.run(kid_side_by_side(["a", "b", "c"])) == ["a", "b", "c"]


@workflow
def kid_through_a_window(count: int, limit: int, tolerate: int) -> Flow[tuple[int, int]]:
    found = yield from fan_out(
        lambda n: kid_bad_stay(str(n)) if n % 10 == 3 else kid_stay(str(n)), range(count), limit, tolerate
    )
    return len(found.results), len(found.failures)


def test_a_fan_out_of_children_keeps_its_window_and_tolerates_failures(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_through_a_window(30, 4, 3))
    assert handle.result() == (27, 3)
    out = most = 0
    for event in handle.history():
        out += isinstance(event, ev.ChildStarted) - isinstance(event, ev.ChildEnded)
        most = max(most, out)
    assert most == 4
    mesh.check(handle)


@workflow
def kid_keyed(name: str, key: str) -> Flow[str]:
    room = yield from kid_stay(name).options(key=key)
    return room.name


def test_a_child_with_a_key_is_started_once_and_then_joined(mesh: VirtualMesh) -> None:
    first, second = mesh.start(kid_keyed("sea", "k")), mesh.start(kid_keyed("sea", "k"))
    assert (first.result(), second.result()) == ("sea", "sea")
    assert DONE == ["+sea"]
    kid = mesh.find("k")
    assert kid is not None
    assert mesh.start(kid_stay("sea"), key="k").run_id == kid.run_id
    joined = [e.joined for h in (first, second) for e in h.history() if isinstance(e, ev.ChildStarted)]
    assert sorted(joined) == [False, True]
    mesh.check(kid)


def test_a_joined_run_is_no_entry_of_the_one_that_joined_it(mesh: VirtualMesh) -> None:
    kid = mesh.start(kid_slow_stay("sea", 100), key="k")
    mesh.drain()
    handle = mesh.start(kid_joins_and_fails("k"))
    mesh.drain()
    assert handle.status() == "failed"
    assert handle.inspect().rollback is None
    assert kid.status() == "waiting"
    assert kid.result() == "sea"


@workflow
def kid_joins_and_fails(key: str) -> Flow[None]:
    yield from spawn(kid_slow_stay("sea", 100).options(key=key))
    yield from kid_refuse("no")


def test_a_key_of_another_input_is_a_failure_that_says_so(mesh: VirtualMesh) -> None:
    mesh.start(kid_stay("land"), key="k")
    with pytest.raises(RunFailed, match="was started with another input"):
        mesh.run(kid_keyed("sea", "k"))


@workflow
def kid_twice_the_key() -> Flow[list[str]]:
    rooms = yield from gather([kid_stay("a").options(key="same"), kid_stay("a").options(key="same")])
    return [room.name for room in rooms]


def test_two_children_of_one_key_in_one_breath_are_one_run(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_twice_the_key())
    assert handle.result() == ["a", "a"]
    assert DONE == ["+a"]
    mesh.check(handle)


@workflow
def kid_deeper(level: int) -> Flow[int]:
    return (yield from kid_deeper(level + 1))


def test_a_workflow_that_starts_itself_without_an_end_fails_and_says_so(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed, match="runs that start one another") as failed:
        mesh.run(kid_deeper(0))
    assert failed.value.failure.matches(RecursionError)
    assert {run.status for run in mesh.list(limit=100)} == {"failed"}


@workflow
def kid_waits_for_itself(key: str) -> Flow[None]:
    yield from kid_waits_for_itself(key).options(key=key)


def test_a_run_that_would_wait_for_itself_fails_and_says_so(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_waits_for_itself("me"), key="me")
    with pytest.raises(RunFailed, match="neither would end"):
        handle.result()


# ---------------------------------------------------------------------------------------------- down the tree


@workflow
def kid_long_parent() -> Flow[None]:
    yield from kid_book("first")
    yield from gather(kid_slow_stay("left", 50), kid_slow_stay("right", 60))


def test_cancelling_a_parent_cancels_its_children_first_and_undoes_all(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_long_parent())
    mesh.advance(10)
    assert handle.status() == "waiting"
    assert handle.explain().reason == "waiting_for_child"
    handle.cancel()
    mesh.drain()
    assert handle.status() == "cancelled"
    assert sorted(DONE[:3]) == ["+first", "+left", "+right"]
    assert sorted(DONE[3:5]) == ["-left", "-right"]
    assert DONE[5] == "-first"
    assert {run.status for run in mesh.list(parent=handle.run_id)} == {"cancelled"}
    mesh.check(handle)


@workflow
def kid_leaves_one_behind() -> Flow[str]:
    yield from spawn(kid_slow_stay("apart", 100).options(detached=True))
    return "done"


def test_a_detached_child_is_not_waited_for(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_leaves_one_behind())
    mesh.drain()
    assert handle.status() == "completed"
    (kid,) = mesh.list(parent=handle.run_id)
    assert kid.status == "waiting"
    assert mesh.handle(kid.run_id).result() == "apart"
    mesh.check(handle)


@workflow
def kid_fails_beside_a_detached_one() -> Flow[None]:
    yield from spawn(kid_slow_stay("apart", 100).options(detached=True))
    yield from kid_refuse("no")


def test_a_detached_child_is_not_cancelled_with_its_parent(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_fails_beside_a_detached_one())
    mesh.drain()
    assert handle.status() == "failed"
    (kid,) = mesh.list(parent=handle.run_id)
    assert mesh.handle(kid.run_id).result() == "apart"
    assert DONE == ["+apart", "+apart, late"]


@workflow
def kid_three_then_fails() -> Flow[None]:
    yield from kid_book("own")
    yield from kid_stay("child")
    yield from kid_three_deep()
    yield from kid_refuse("late")


@workflow
def kid_three_deep() -> Flow[None]:
    yield from kid_stay("grandchild")
    yield from kid_book("middle")


def test_a_rollback_goes_down_the_tree_newest_first_and_embeds_the_reports(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_three_then_fails())
    mesh.drain()
    assert handle.status() == "failed"
    assert DONE[4:] == ["-middle", "-grandchild", "-child", "-own"]
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "clean"
    assert [(entry.kind, entry.step) for entry in report.undone] == [
        ("child", "kid_three_deep"), ("child", "kid_stay"), ("step", "kid_book"),
    ]  # fmt: skip
    assert [child.workflow for child in report.children] == ["kid_three_deep", "kid_stay"]
    assert [child.workflow for child in report.children[0].children] == ["kid_stay"]
    assert report.undone[0].child_run_id == report.children[0].run_id
    assert {mesh.handle(child.run_id).status() for child in report.children} == {"undone"}
    mesh.check(handle)


@workflow
def kid_has_something_engraved() -> Flow[None]:
    yield from kid_engraved("ring")
    yield from kid_refuse("late")


def test_what_cannot_be_undone_in_a_child_shows_in_the_parents_report(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_has_something_engraved())
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "partial"
    assert [entry.step for entry in report.irreversible] == ["kid_engraved"]
    assert [entry.step for entry in report.children[0].irreversible] == ["kid_engrave"]
    assert DONE == ["+ring", "+ring in stone", "-ring"]
    mesh.check(handle)


@workflow
def kid_child_has_failed_partially() -> Flow[None]:
    with suppress(ChildFailed):
        yield from kid_engraved_then_fails("ring")
    yield from kid_refuse("late")


@workflow
def kid_engraved_then_fails(name: str) -> Flow[None]:
    yield from kid_engrave(name)
    yield from kid_refuse("full")


def test_what_a_failed_child_has_left_keeps_the_parents_rollback_from_being_clean(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_child_has_failed_partially())
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "partial"
    assert [entry.step for entry in report.irreversible] == ["kid_engraved_then_fails"]


@workflow(on_failure="keep")
def kid_keeps(name: str) -> Flow[None]:
    yield from kid_book(name)
    yield from kid_refuse("full")


@workflow
def kid_child_keeps() -> Flow[None]:
    yield from kid_keeps("kept")


def test_what_a_child_keeps_is_unaccounted_in_the_parents_rollback(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_child_keeps())
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert report.outcome == "partial"
    assert [entry.step for entry in report.unaccounted] == ["kid_keeps"]
    assert DONE == ["+kept"]


@workflow
def kid_only_reads() -> Flow[None]:
    yield from kid_reader("x")
    yield from kid_refuse("no")


def test_a_child_that_only_read_is_no_entry(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_only_reads())
    mesh.drain()
    assert handle.inspect().rollback is None


def test_a_childs_rollback_that_needs_a_person_shows_through_and_settling_it_frees_the_parent(
    mesh: VirtualMesh,
) -> None:
    BROKEN.add("child")
    handle = mesh.start(kid_three_then_fails())
    mesh.drain()
    assert handle.status() == "undoing"
    told = handle.explain()
    assert told.reason == "waiting_for_child_rollback"
    (kid,) = (run for run in mesh.list(parent=handle.run_id) if run.status == "blocked")
    assert kid.run_id in told.summary
    assert any(kid.run_id in str(action.python) for action in told.next_actions)
    child = mesh.handle(kid.run_id)
    assert child.explain().reason == "undo_failed"
    child.undo_mark_done("kid_book", **BY)
    mesh.drain()
    assert child.status() == "undone"
    assert handle.status() == "failed"
    assert handle.inspect().rollback.outcome == "clean"  # type: ignore[union-attr]
    mesh.check(handle)
    mesh.check(child)


def test_an_abandoned_child_is_a_failed_entry_of_its_parent(mesh: VirtualMesh) -> None:
    BROKEN.add("child")
    handle = mesh.start(kid_three_then_fails())
    mesh.drain()
    (kid,) = (run for run in mesh.list(parent=handle.run_id) if run.status == "blocked")
    mesh.handle(kid.run_id).undo_abandon(**BY)
    mesh.drain()
    report = handle.inspect().rollback
    assert handle.status() == "failed"
    assert report is not None
    assert report.outcome == "partial"
    assert [(entry.step, entry.reason) for entry in report.failed] == [("kid_stay", "child_abandoned")]


def test_a_child_that_its_parent_has_used_is_rolled_back_with_it_or_by_force(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_parent_of("sea"))
    handle.result()
    (kid,) = mesh.list(parent=handle.run_id)
    child = mesh.handle(kid.run_id)
    with pytest.raises(OwnedByParent, match=handle.run_id):
        child.rollback(**BY)
    child.rollback(force=True, **BY)
    mesh.drain()
    assert child.status() == "undone"
    handle.rollback(**BY)
    mesh.drain()
    assert handle.status() == "undone"
    assert handle.inspect().rollback.outcome == "clean"  # type: ignore[union-attr]
    assert DONE == ["+sea", "-sea"]
    mesh.check(handle)
    mesh.check(child)


def test_a_completed_tree_is_undone_by_an_operator(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_side_by_side(["a", "b"]))
    handle.result()
    handle.rollback(**BY)
    mesh.drain()
    assert handle.status() == "undone"
    assert sorted(DONE[2:]) == ["-a", "-b"]
    assert {run.status for run in mesh.list(parent=handle.run_id)} == {"undone"}


@workflow
def kid_races_children() -> Flow[str]:
    won, _ = yield from race(sleep(5), kid_slow_stay("slow", 100))
    return f"{won}"


def test_the_loser_of_a_race_is_cancelled_and_undone(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_races_children())
    mesh.advance(5)
    assert handle.status() == "completed"
    assert DONE == ["+slow", "-slow"]
    assert {run.workflow: run.status for run in mesh.list(parent=handle.run_id)} == {"kid_slow_stay": "cancelled"}
    mesh.check(handle)


@workflow
def kid_in_a_scope() -> Flow[str]:
    try:
        with saga("trip"):
            yield from kid_stay("hotel")
            yield from kid_refuse("no flight")
    except StepFailed:
        return "home"
    return "away"


def test_a_scope_rolls_its_children_back(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_in_a_scope())
    assert handle.result() == "home"
    assert DONE == ["+hotel", "-hotel"]
    mesh.check(handle)


def test_terminating_a_parent_terminates_its_children(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_long_parent())
    mesh.advance(10)
    handle.terminate(**BY)
    mesh.drain()
    assert handle.status() == "terminated"
    assert {run.status for run in mesh.list(parent=handle.run_id)} == {"terminated"}
    assert not any(did.startswith("-") for did in DONE)
    handle.rollback(**BY)
    mesh.drain()
    assert DONE[-1] == "-first"


@workflow
def kid_spawns_and_ends() -> Flow[str]:
    yield from spawn(kid_slow_stay("spawned", 30))
    return "body over"


def test_a_run_does_not_complete_while_a_child_it_spawned_is_in_flight(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_spawns_and_ends())
    mesh.drain()
    assert handle.status() == "waiting"
    mesh.advance(30)
    assert handle.status() == "completed"


@workflow
def kid_spawns_a_failure() -> Flow[str]:
    yield from spawn(kid_bad_stay("spawned"))
    return "body over"


def test_a_spawned_failure_that_nobody_waited_for_fails_the_run(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed, match="spawned is full"):
        mesh.run(kid_spawns_a_failure())


CODE: dict[str, bool] = {"broken": True}


@workflow
def kid_broken_child() -> Flow[str]:
    yield from kid_book("x")
    if CODE["broken"]:
        raise TypeError("a bug")
    return "mended"


@workflow
def kid_parent_of_broken() -> Flow[str]:
    return (yield from kid_broken_child())


def test_a_blocked_child_leaves_its_parent_waiting_and_explain_names_it(mesh: VirtualMesh) -> None:
    CODE["broken"] = True
    handle = mesh.start(kid_parent_of_broken())
    mesh.drain()
    assert handle.status() == "waiting"
    told = handle.explain()
    (kid,) = mesh.list(parent=handle.run_id)
    assert told.reason == "waiting_for_child"
    assert kid.run_id in told.summary
    assert "blocked" in told.summary
    assert any("release" in str(action.python) and kid.run_id in str(action.python) for action in told.next_actions)
    CODE["broken"] = False
    mesh.handle(kid.run_id).release(actor="ann")
    assert handle.result() == "mended"


@step(retry=Retry(max_attempts=2, initial=1, jitter=0))
def kid_flaky() -> str:
    return "x"


def test_a_parent_restarted_at_any_time_meets_the_same_child(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_long_parent())
    mesh.drain()
    kids = {run.run_id for run in mesh.list(parent=handle.run_id)}
    for _ in range(4):
        mesh.restart()
        mesh.advance(20)
    assert handle.status() == "completed"
    assert {run.run_id for run in mesh.list(parent=handle.run_id)} == kids
    mesh.check(handle)


class Full(WorkflowError):
    pass


@workflow
def kid_options_of_a_child() -> Flow[None]:
    yield from kid_slow_stay("x", 100).options(timeout=5)


def test_the_timeout_of_a_child_is_its_deadline(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_options_of_a_child())
    mesh.advance(6)
    assert handle.status() == "failed"
    assert DONE == ["+x", "-x"]


def test_a_run_that_waits_for_a_child_cannot_be_rolled_back(mesh: VirtualMesh) -> None:
    handle = mesh.start(kid_long_parent())
    mesh.drain()
    with pytest.raises(IllegalState):
        handle.rollback(**BY)
