"""How people end a run; who must say what, and how often it counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from squidmesh import IllegalState, KeyConflict, NotApplied, RunCancelled, RunTerminated
from squidmesh.engine import steering
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds
from tests.engine.shop import WHO, broken, buys, did, goes_on, in_a_scope, opened, spent, started, waits


@pytest.fixture(autouse=True)
def _open(mesh: VirtualMesh) -> Iterator[None]:
    with opened(mesh):
        yield


def test_a_cancelled_run_is_undone_unless_nobody_wants_that(mesh: VirtualMesh) -> None:
    one, other = started(mesh, waits(1)), started(mesh, waits(2))
    stands = one.cancel(actor="ada", note="enough")
    assert stands is not None
    assert [entry.step for entry in stands.pending] == ["repair.reserve"]
    assert other.cancel(undo=False) is None
    assert one.cancel() == stands
    mesh.drain()
    assert (one.status(), other.status()) == ("cancelled", "cancelled")
    with pytest.raises(RunCancelled, match="enough") as cancelled:
        one.result()
    assert cancelled.value.rollback.id == stands.id
    assert cancelled.value.rollback.outcome == "clean"
    assert did == ["reserve 1", "reserve 2", "release r-1"]
    with pytest.raises(IllegalState, match="cancel is not possible; allowed now: rollback, rerun"):
        other.cancel()
    other.rollback(**WHO)
    mesh.drain()
    assert (other.status(), did[-1]) == ("cancelled", "release r-2")


def test_a_cancel_while_a_scope_is_rolled_back_follows_it(mesh: VirtualMesh) -> None:
    broken.update(("after", "release"))
    handle = started(mesh, in_a_scope(1))
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    stands = handle.cancel(**WHO)
    assert stands is not None
    assert (stands.cause, [entry.step for entry in stands.pending]) == ("cancel", ["repair.charge"])
    mesh.drain()
    assert (handle.status(), did[-1]) == ("blocked", "release r-1")
    broken.clear()
    handle.undo_retry("repair.reserve", **WHO)
    mesh.drain()
    assert handle.status() == "cancelled"
    assert [(report.cause, report.outcome) for report in handle.inspect().rollbacks] == [
        ("scope", "clean"),
        ("cancel", "clean"),
    ]
    assert did[-2:] == ["release r-1", "refund 1"]


def test_a_terminated_run_ends_at_once_and_can_be_rolled_back_later(mesh: VirtualMesh) -> None:
    handle = started(mesh, waits(1))
    handle.terminate(**WHO)
    mesh.drain()
    assert (handle.status(), did) == ("terminated", ["reserve 1"])
    with pytest.raises(RunTerminated, match="looked at it"):
        handle.result()
    assert "terminated by ada" in handle.explain().summary
    handle.rollback(**WHO)
    mesh.drain()
    assert (handle.status(), did[-1]) == ("terminated", "release r-1")


def test_a_run_is_failed_by_a_person(mesh: VirtualMesh) -> None:
    one, other = started(mesh, waits(1)), started(mesh, waits(2))
    one.fail(**WHO)
    other.fail(undo=False, **WHO)
    mesh.drain()
    assert (one.status(), other.status()) == ("failed", "failed")
    assert did == ["reserve 1", "reserve 2", "release r-1"]
    with pytest.raises(IllegalState, match="fail is not possible"):
        one.fail(**WHO)


def test_a_rollback_that_stands_can_be_terminated(mesh: VirtualMesh) -> None:
    broken.add("refund")
    handle = started(mesh, buys(1, fails=True))
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    with pytest.raises(IllegalState, match="allowed now: undo_retry, undo_skip, undo_mark_done, undo_abandon, term"):
        handle.fail(**WHO)
    handle.terminate(**WHO)
    mesh.drain()
    assert handle.status() in ("terminated", "failed")


# ------------------------------------------------------------------------------------ who, why, and once only


COMMANDS: dict[str, Callable[..., Any]] = {
    "terminate": lambda handle, **who: handle.terminate(**who),
    "fail": lambda handle, **who: handle.fail(**who),
    "rollback": lambda handle, **who: handle.rollback(**who),
    "undo_retry": lambda handle, **who: handle.undo_retry("1", **who),
    "undo_skip": lambda handle, **who: handle.undo_skip("1", **who),
    "undo_mark_done": lambda handle, **who: handle.undo_mark_done("1", **who),
    "undo_abandon": lambda handle, **who: handle.undo_abandon(**who),
    "resolve_step": lambda handle, **who: handle.resolve_step("1", NotApplied(), **who),
    "retry_step": lambda handle, **who: handle.retry_step("1", **who),
    "skip_step": lambda handle, **who: handle.skip_step("1", 1, **who),
    "cancel": lambda handle, **who: handle.cancel(force=True, **who),
    "rerun": lambda handle, **who: handle.rerun(allow_irreversible=True, **who),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_who_decides_must_say_who_and_why(mesh: VirtualMesh, command: str) -> None:
    handle = started(mesh, waits(1))
    before = handle.history()
    for who, missing in (
        ({"actor": "", "note": "why"}, "actor"),
        ({"actor": " ", "note": "why"}, "actor"),
        ({"actor": None, "note": "why"}, "actor"),
        ({"actor": "ada", "note": "\n"}, "note"),
        ({"actor": "ada", "note": None}, "note"),
    ):
        with pytest.raises(ValueError, match=f"{command}: {missing}= says"):
            COMMANDS[command](handle, **who)
    mesh.drain()
    assert (handle.history(), handle.status()) == (before, "waiting")


def test_a_plain_cancel_needs_nobody_s_name_but_no_empty_one(mesh: VirtualMesh) -> None:
    handle = started(mesh, waits(1))
    with pytest.raises(ValueError, match="cancel: actor="):
        handle.cancel(actor="")
    handle.cancel()
    mesh.drain()
    assert handle.status() == "cancelled"


def test_the_same_key_again_gives_the_same_and_records_nothing(mesh: VirtualMesh) -> None:
    handle = started(mesh, waits(1))
    first = handle.cancel(key="k-1", **WHO)
    assert handle.cancel(key="k-1", **WHO) == first
    mesh.drain()
    before = handle.history()
    again = handle.cancel(key="k-1", **WHO)
    assert again is not None
    assert first is not None
    assert (again.id, again.outcome) == (first.id, "clean")
    with pytest.raises(KeyConflict, match="another command"):
        handle.rollback(key="k-1", **WHO)
    with pytest.raises(IllegalState):
        handle.cancel(key="k-2", **WHO)
    mesh.drain()
    assert handle.history() == before


def test_a_rollback_with_the_same_key_is_the_same_one_also_when_it_is_over(mesh: VirtualMesh) -> None:
    handle = started(mesh, buys(1))
    first = handle.rollback(key="k", **WHO)
    mesh.drain()
    before = handle.history()
    again = handle.rollback(key="k", **WHO)
    assert (again.id, again.outcome) == (first.id, "clean")
    mesh.drain()
    assert handle.history() == before


def test_an_undo_is_skipped_once_by_one_key(mesh: VirtualMesh) -> None:
    broken.update(("refund", "release"))
    handle = started(mesh, goes_on(1))
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    for _ in range(2):
        handle.undo_skip("2", key="k", **WHO)
    mesh.drain()
    handle.undo_skip("2", key="k", **WHO)
    assert kinds(handle).count("UndoSkipped") == 1


def test_a_command_is_judged_anew_when_the_run_has_ended_since_it_was_looked_at(mesh: VirtualMesh) -> None:
    handle = started(mesh, waits(1))

    class EndsFirst:
        """The store, in which the run ends just before the command is put down."""

        def __init__(self, store: Any) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            if name == "post":
                mesh.advance(7200)
            return getattr(self._store, name)

    engine = mesh.connect_engine()
    late: Any = dataclasses.replace(engine, store=EndsFirst(engine.store))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(IllegalState, match="is completed: cancel is not possible; allowed now: rollback, rerun"):
        steering.cancel(late, handle.run_id, True, False, None, None, None)
    assert "CancelRequested" not in kinds(handle)
