"""Lists, counts and workers of a mesh, as an operator asks for them; on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from squidmesh import Flow, Retry, WorkflowError, sleep, step, workflow
from squidmesh.testing import VirtualMesh


class Refused(WorkflowError): ...


@step(name="lists.book")
def book(n: int) -> int:
    return n


@book.undo
def unbook(result: int, n: int) -> None: ...


@step(name="lists.ship", irreversible=True)
def ship(n: int) -> int:
    return n


@step(name="lists.stays", undo_retry=Retry(max_attempts=1))
def stays(n: int) -> int:
    return n


@stays.undo
def no_way_back(result: int, n: int) -> None:
    raise ValueError("no")


@workflow(name="lists.short")
def short() -> Flow[int]:
    return (yield from book(1))


@workflow(name="lists.long")
def long() -> Flow[None]:
    yield from sleep(timedelta(days=10))


@workflow(name="lists.fails")
def fails(what: str) -> Flow[int]:
    step_ = {"book": book, "ship": ship, "stays": stays}[what]
    yield from step_(1)
    raise Refused


@pytest.fixture(params=["sqlite", "postgres"])
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")
    mesh = VirtualMesh(url, workflows=[short, long, fails])
    yield mesh
    mesh.close()


def found(mesh: VirtualMesh, **filters: Any) -> list[str]:
    """The keys of the runs of a filter; read in pages of two, which together are the list."""
    keys, after = [], None
    while True:
        page = mesh.list(limit=2, after=after, **filters)
        keys += [summary.key or "" for summary in page]
        if (after := page.next) is None:
            return keys


def test_open_ended_and_reasons_in_one_list(mesh: VirtualMesh) -> None:
    for key in ("a", "b"):
        mesh.start(short(), key=key)
        mesh.start(long(), key=f"{key}-long")
    mesh.drain()
    mesh.start(long(), key="c-new")
    assert found(mesh) == ["c-new", "b-long", "b", "a-long", "a"]
    assert found(mesh, workflow=long) == ["c-new", "b-long", "a-long"]
    assert found(mesh, workflow=[long, short], status=["pending", "completed"]) == ["c-new", "b", "a"]
    assert found(mesh, status="waiting") == found(mesh, reason="sleeping") == ["b-long", "a-long"]
    assert found(mesh, reason=["sleeping", "completed"]) == ["b-long", "b", "a-long", "a"]
    assert found(mesh, reason="sleeping", status="completed") == found(mesh, reason="held") == []
    assert found(mesh, version=1) == found(mesh)
    assert found(mesh, version=2) == found(mesh, workflow="lists.none") == found(mesh, status="terminated") == []
    assert found(mesh, workflow="lists.short", status="completed", key="a") == ["a"]


def test_a_run_that_is_held_by_a_worker_is_in_its_list(mesh: VirtualMesh) -> None:
    mesh.start(short(), key="a")
    worker, store = mesh.worker_now, mesh.connect_engine().store
    assert store.claim_next(worker.id, "default", 0, worker.can, lambda _: 0) is not None
    assert found(mesh, status="running") == found(mesh, workflow=short) == ["a"]
    assert found(mesh, status="pending") == []
    (view,) = mesh.workers()
    assert (view.id, view.runs, view.tasks, view.lease) == (worker.id, 1, 0, "held")
    assert mesh.counts().statuses == {"running": 1}


def test_deadlines_by_how_they_stand(mesh: VirtualMesh) -> None:
    for key, hours in (("soon", 10), ("later", 30), ("none", None)):
        mesh.start(long(), key=key, deadline=None if hours is None else timedelta(hours=hours))
    mesh.drain()
    mesh.sleep_through(timedelta(hours=9.5))
    assert found(mesh, deadline="due_soon") == found(mesh, deadline="due_soon", workflow=long) == ["soon"]
    assert found(mesh, deadline="on_time") == found(mesh, deadline="on_time", status="waiting") == ["later"]
    mesh.sleep_through(timedelta(hours=1))
    assert found(mesh, deadline="overdue") == found(mesh, deadline="overdue", reason="sleeping") == ["soon"]
    assert found(mesh, deadline="overdue", status="blocked") == []
    mesh.drain()
    assert found(mesh, deadline="overdue") == []  # it has failed: it is no more open


def test_orphaned_runs_are_those_with_effects_that_nobody_has_answered_for(mesh: VirtualMesh) -> None:
    handles = {what: mesh.start(fails(what), key=what) for what in ("book", "ship", "stays")}
    mesh.drain()
    assert found(mesh, has_rollback=True) == ["stays", "ship", "book"]
    assert found(mesh, orphaned=True) == ["stays", "ship"]
    assert found(mesh, orphaned=True, status="failed") == ["ship"]
    assert found(mesh, orphaned=False) == ["book"]
    assert [s.orphans for s in mesh.list()] == [1, 1, 0]
    handles["stays"].undo_mark_done("lists.stays", actor="ada", note="by hand")
    handles["ship"].undo_mark_done("lists.ship", actor="ada", note="by hand")
    mesh.drain()
    assert found(mesh, orphaned=True) == []


def test_attributes_are_found_among_the_newest_and_by_their_index(mesh: VirtualMesh) -> None:
    mesh.start(long(), key="old", attributes={"shop": "sofia", "n": 1, "tags": ["a", "b"]})
    mesh.start_many([long()] * 300, keys=[f"x{n}" for n in range(300)], attributes={"shop": "burgas"})
    mesh.start(long(), key="new", attributes={"shop": "sofia", "n": 2})
    assert found(mesh, attributes={"shop": "sofia"}) == ["new", "old"]
    assert found(mesh, attributes={"shop": "sofia"}, workflow=long, status="pending") == ["new", "old"]
    assert found(mesh, attributes={"shop": "sofia", "n": 1}) == ["old"]
    assert found(mesh, attributes={"tags": ["a"]}) == found(mesh, attributes={"shop": "sofia"}, version=2) == []
    assert len(found(mesh, attributes={"shop": "burgas"})) == 300


def test_counts_are_by_status_and_by_workflow(mesh: VirtualMesh) -> None:
    mesh.start(short())
    mesh.start(long())
    mesh.drain()
    mesh.start(short())
    counts = mesh.counts()
    assert (counts.total, counts.statuses) == (3, {"pending": 1, "waiting": 1, "completed": 1})
    assert counts.workflows == {"lists.short": {"completed": 1, "pending": 1}, "lists.long": {"waiting": 1}}
    assert mesh.counts(workflow=long).total == mesh.counts(reason="sleeping").total == 1
    assert mesh.counts(created_before=datetime(2020, 1, 1, tzinfo=UTC)).total == 0


def test_a_worker_says_what_it_serves(mesh: VirtualMesh) -> None:
    assert mesh.worker_now
    (view,) = mesh.workers()
    assert "default" in view.queues  # beside those of other code that is imported
    assert (view.lease, ("lists.short", 1) in view.workflows) == ("held", True)
    assert "lists.book" in view.steps


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"status": "done"}, "status takes a name, one of pending"),
        ({"reason": "tired"}, "reason takes a name, one of queued"),
        ({"deadline": "late"}, "deadline takes a name, one of on_time"),
        ({"deadline": ["overdue", "on_time"]}, "deadline takes one of"),
        ({"orphaned": "yes"}, "orphaned takes True or False"),
    ],
)
def test_what_there_cannot_be_is_refused_by_name(filters: dict[str, Any], told: str) -> None:
    mesh = VirtualMesh(workflows=[short])
    with pytest.raises(ValueError, match=told):
        mesh.list(**filters)
    with pytest.raises(TypeError, match="no filter 'colour'"):
        mesh.counts(colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    mesh.close()
