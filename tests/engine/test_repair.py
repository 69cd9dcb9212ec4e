"""What people do about an undo that has failed, a step in doubt, and a run past its pivot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from squidmesh import Applied, IllegalState, InvalidPayload, NoSuchEntry, NotApplied, PastPivot, RunBlocked, RunFailed
from squidmesh.testing import VirtualMesh
from tests.engine.shop import (
    WHO,
    broken,
    buys,
    buys_twice,
    did,
    goes_on,
    opened,
    opens,
    past_its_pivot,
    reserve,
    ship,
    ships,
    spent,
    started,
)


@pytest.fixture(autouse=True)
def _open(mesh: VirtualMesh) -> Iterator[None]:
    with opened(mesh):
        yield


# -------------------------------------------------------------------------------------- an undo that has failed


def test_an_undo_that_failed_for_good_is_called_again_when_a_person_says_so(mesh: VirtualMesh) -> None:
    broken.add("release")
    handle = started(mesh, buys(1, fails=True))
    assert handle.explain().reason == "undo_retry_scheduled"
    assert "Attempt 1 of the undo of step 'repair.reserve' (position 1) failed" in handle.explain().summary
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    told = handle.explain()
    failed_for_good = "the undo of step 'repair.reserve' (position 1) has failed for good after 2 attempts"
    assert told.blockers == [f"{failed_for_good} (ValueError: the shop is closed)"]
    assert [(waiting.kind, waiting.name, waiting.position) for waiting in told.waiting_on] == [
        ("person", "repair.reserve", "1")
    ]
    assert [action.cli.split()[1] for action in told.next_actions if action.cli] == [
        "undo-retry", "undo-skip", "undo-mark-done", "undo-abandon"
    ]  # fmt: skip
    with pytest.raises(RunBlocked):
        handle.result()
    broken.clear()
    assert handle.undo_retry("repair.reserve", **WHO) == "blocked"
    mesh.drain()
    with pytest.raises(RunFailed, match="sold out") as failed:
        handle.result()
    assert failed.value.rollback.outcome == "clean"
    assert did[2:] == ["refund 1", "release r-1", "release r-1", "release r-1"]


def test_an_undo_that_failed_is_skipped_and_the_older_ones_go_on(mesh: VirtualMesh) -> None:
    broken.add("refund")
    handle = started(mesh, buys(1, fails=True))
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    handle.undo_skip(**WHO)
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert (handle.status(), report.outcome, did[-1]) == ("failed", "partial", "release r-1")
    (skipped,) = report.skipped
    assert (skipped.step, skipped.reason, skipped.by, skipped.note) == (
        "repair.charge", "operator", "ada", "looked at it"
    )  # fmt: skip
    left = "Not all of it was undone: 'repair.charge' at position 2 (was skipped, as ada knows)."
    assert handle.explain().summary.endswith(left)
    with pytest.raises(RunFailed, match="rollback partial: 1 undone, 1 skipped"):
        handle.result()


def test_where_several_undos_have_failed_each_is_named(mesh: VirtualMesh) -> None:
    broken.update(("refund", "release"))
    handle = started(mesh, goes_on(1))
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    assert {waiting.name for waiting in handle.explain().waiting_on} == {"repair.charge", "repair.reserve"}
    with pytest.raises(NoSuchEntry, match=r"repair\.charge at 2, repair\.reserve at 1") as which:
        handle.undo_skip(**WHO)
    assert which.value.candidates == ("repair.charge at 2", "repair.reserve at 1")
    with pytest.raises(NoSuchEntry, match=r"'repair\.ship'"):
        handle.undo_retry("repair.ship", **WHO)
    broken.clear()
    handle.undo_retry("2", **WHO)
    handle.undo_skip(reserve, **WHO)
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert (report.outcome, [e.step for e in report.undone], [e.step for e in report.skipped]) == (
        "partial", ["repair.charge"], ["repair.reserve"]
    )  # fmt: skip


def test_a_name_that_several_entries_have_takes_a_position(mesh: VirtualMesh) -> None:
    broken.add("refund")
    handle = started(mesh, buys_twice(1))
    handle.rollback(**WHO)
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    with pytest.raises(NoSuchEntry, match=r"repair\.charge at 2, repair\.charge at 1"):
        handle.undo_mark_done("repair.charge", **WHO)
    handle.undo_mark_done("2", **WHO)
    broken.clear()
    mesh.drain()
    assert (handle.status(), did[-1]) == ("undone", "refund 1")


def test_what_was_registered_is_named_by_its_function_or_its_id(mesh: VirtualMesh) -> None:
    broken.add("lock")
    handle = started(mesh, opens(1))
    handle.rollback(**WHO)
    assert spent(mesh, handle) == ("blocked", "undo_failed")
    with pytest.raises(NoSuchEntry, match="lock_again at 3:undo:1, books at 2, lock_again at 1:undo:1"):
        handle.undo_mark_done("lock_again", **WHO)
    handle.undo_skip("lock_again", **WHO)
    mesh.drain()
    assert handle.explain().waiting_on[0].position == "1"
    handle.undo_mark_done("1:undo:1", **WHO)
    mesh.drain()
    report = handle.inspect().rollback
    assert report is not None
    assert [(entry.kind, entry.step, entry.by) for entry in report.undone] == [
        ("transaction", "books", None),
        ("registered", "lock_again", "ada"),
    ]
    assert did == ["lock back", "unbook 2", "unbook 1", "lock front"]


def test_an_entry_is_marked_done_after_the_end_and_the_report_is_issued_again(mesh: VirtualMesh) -> None:
    handle = started(mesh, ships(1))
    handle.rollback(**WHO)
    mesh.drain()
    first = handle.inspect().rollback
    assert first is not None
    assert (handle.status(), first.outcome, first.revision) == ("undone", "partial", 1)
    assert handle.undo_mark_done("repair.ship", actor="bob", note="it came back") == "undone"
    assert handle.status() == "undone"
    mesh.drain()
    again = handle.inspect().rollback
    assert again is not None
    assert (handle.status(), again.id, again.outcome, again.revision) == ("undone", first.id, "clean", 2)
    assert [(entry.step, entry.by) for entry in again.undone if entry.by] == [("repair.ship", "bob")]
    assert handle.explain().summary.endswith("UTC.")
    with pytest.raises(IllegalState, match="undo_mark_done is not possible; allowed now: rerun"):
        handle.undo_mark_done("repair.ship", **WHO)


def test_a_halt_at_an_irreversible_step_goes_on_or_ends_there(mesh: VirtualMesh) -> None:
    runs = [started(mesh, ships(n)) for n in (1, 2)]
    for handle in runs:
        handle.rollback(on_irreversible="halt", **WHO)
    mesh.drain()
    one, other = runs
    assert (one.status(), one.explain().reason) == ("blocked", "undo_halted")
    assert "step 'repair.ship' (position 2) cannot be undone, and the rollback halts there" in one.explain().summary
    assert "'repair.reserve' at position 1 is not undone yet" in one.explain().summary
    with pytest.raises(IllegalState, match="undo_retry is not possible; allowed now: undo_skip"):
        one.undo_retry("repair.ship", **WHO)
    one.undo_skip(**WHO)
    other.undo_abandon(**WHO)
    mesh.drain()
    reports = [handle.inspect().rollback for handle in runs]
    assert [report.outcome for report in reports if report] == ["partial", "abandoned"]
    assert [[entry.step for entry in report.undone] for report in reports if report] == [
        ["repair.charge", "repair.reserve"],
        ["repair.charge"],
    ]
    with pytest.raises(IllegalState, match="undo_abandon"):
        one.undo_abandon(**WHO)


# -------------------------------------------------------------------------------------------- steps in doubt


def test_a_step_in_doubt_is_resolved_as_applied_and_the_run_goes_on(mesh: VirtualMesh) -> None:
    broken.add("ship")
    handle = started(mesh, ships(1))
    told = handle.explain()
    assert (told.status, told.reason, handle.inspect().steps[1].status) == ("blocked", "step_in_doubt", "in_doubt")
    assert handle.inspect().steps[1].effect == "unknown"
    assert f"Find out by its key, {handle.run_id}:2" in told.summary
    assert [action.cli.split()[1] for action in told.next_actions if action.cli][:2] == ["resolve-step"] * 2
    with pytest.raises(InvalidPayload, match=r"value for step 'repair\.ship' at position 2"):
        handle.resolve_step("repair.ship", Applied("no number"), **WHO)
    with pytest.raises(ValueError, match="verdict= takes Applied"):
        handle.resolve_step("repair.ship", True, **WHO)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(NoSuchEntry, match=r"no single step 'repair\.charge' for this; there are: repair\.ship at 2"):
        handle.resolve_step("repair.charge", NotApplied(), **WHO)
    handle.resolve_step("repair.ship", Applied(7), **WHO)
    assert handle.explain().reason != "step_in_doubt"
    mesh.drain()
    assert (handle.result(), handle.inspect().steps[1].result) == (1, 7)
    with pytest.raises(IllegalState, match="resolve_step is not possible"):
        handle.resolve_step("repair.ship", Applied(7), **WHO)


def test_a_step_in_doubt_that_was_not_applied_has_failed_and_left_nothing(mesh: VirtualMesh) -> None:
    broken.add("ship")
    handle = started(mesh, ships(1))
    handle.resolve_step(ship, NotApplied(), **WHO)
    mesh.drain()
    with pytest.raises(RunFailed, match="no answer") as failed:
        handle.result()
    assert failed.value.rollback.outcome == "clean"
    assert did == ["reserve 1", "ship 1", "release r-1"]


# ------------------------------------------------------------------------------------------------ past a pivot


def test_past_its_pivot_a_failed_step_is_tried_again(mesh: VirtualMesh) -> None:
    broken.add("after")
    handle = started(mesh, past_its_pivot(5))
    told = handle.explain()
    assert (told.status, told.reason) == ("blocked", "past_pivot")
    assert (told.waiting_on[0].kind, told.waiting_on[0].position) == ("person", "3")
    assert [action.cli.split()[1] for action in told.next_actions if action.cli] == [
        "retry-step", "skip-step", "fail"
    ]  # fmt: skip
    with pytest.raises(NoSuchEntry, match=r"repair\.after at 3"):
        handle.retry_step("repair.decide", **WHO)
    broken.clear()
    handle.retry_step("repair.after", **WHO)
    mesh.drain()
    assert handle.status() == "waiting"
    assert handle.result() == 5
    with pytest.raises(IllegalState, match="retry_step is not possible"):
        handle.retry_step("repair.after", **WHO)


def test_past_its_pivot_a_step_that_fails_again_can_be_skipped_or_tried_once_more(mesh: VirtualMesh) -> None:
    broken.add("after")
    handle = started(mesh, past_its_pivot(5))
    for _ in range(2):
        handle.retry_step("repair.after", **WHO)
        mesh.drain()
        assert (handle.status(), handle.explain().reason) == ("blocked", "past_pivot")
    broken.clear()
    handle.retry_step("repair.after", **WHO)
    assert handle.result() == 5


def test_past_its_pivot_a_failed_step_is_skipped_with_a_value(mesh: VirtualMesh) -> None:
    broken.add("after")
    handle = started(mesh, past_its_pivot(5))
    with pytest.raises(InvalidPayload):
        handle.skip_step("3", "five", **WHO)
    handle.skip_step("3", 8, **WHO)
    mesh.drain()
    assert handle.result() == 8
    assert [(s.status, s.result) for s in handle.inspect().steps][2] == ("skipped", 8)


def test_past_its_pivot_a_run_can_be_failed_and_what_can_be_is_undone(mesh: VirtualMesh) -> None:
    broken.add("after")
    handle = started(mesh, past_its_pivot(5))
    handle.fail(**WHO)
    mesh.drain()
    with pytest.raises(RunFailed, match="looked at it") as failed:
        handle.result()
    assert failed.value.rollback.outcome == "partial"
    assert did[-1] == "release r-5"


def test_past_its_pivot_a_run_is_cancelled_only_by_force_or_without_undo(mesh: VirtualMesh) -> None:
    one, other = started(mesh, past_its_pivot(1)), started(mesh, past_its_pivot(2))
    with pytest.raises(PastPivot, match=r"`repair\.decide` at position 2") as refused:
        one.cancel()
    assert isinstance(refused.value, IllegalState)
    with pytest.raises(ValueError, match="actor="):
        one.cancel(force=True)
    one.cancel(force=True, **WHO)
    assert other.cancel(undo=False) is None
    mesh.drain()
    assert (one.status(), other.status()) == ("cancelled", "cancelled")
    assert did[4:] == ["release r-1"]
