"""Rollbacks: what is in the plan, how it is walked, where it stands still, and what people do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from squidmesh.core import events as ev
from squidmesh.core.commands import gather, race, sleep, spawn
from squidmesh.core.nodes import StepNode
from squidmesh.core.scopes import add_undo, saga
from squidmesh.core.standing import standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.step import Step
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import WorkflowError
from tests.core.play import Play, forward, kinds, listed
from tests.core.sagashop import attempted, bare, book, look, mail, once, pay, release
from tests.core.test_linear import calls_of

BY: dict[str, Any] = {"actor": "ann", "note": "I have looked"}


def body(*calls: Any, fails: bool = True) -> Any:
    def steps() -> Flow[str]:
        for call in calls:
            yield from call()
        if fails:
            raise WorkflowError("no stock")
        return "done"

    return steps


def after(*calls: Any, fails: bool = True, **settings: Any) -> Play:
    """A run that has called these steps, one after the other, each of which completed; then it fails, or does not."""
    play = Play(workflow(name="saga_after", **settings)(body(*calls, fails=fails)))
    for position in range(1, len(calls) + 1):
        if isinstance(play.live.open.get(str(position)), StepNode):
            play.complete(str(position), position)
    return play


# ------------------------------------------------------------------------------------------------------ the plan


def test_what_was_done_is_undone_newest_first_and_then_the_run_fails() -> None:
    play = after(book, book, book)
    assert kinds(play.last) == ["RollbackStarted None", "RollbackPlanned"]
    assert play.live.undo is not None
    assert play.undo("3", "2", "1").ended
    assert play.failure.message == "no stock"
    assert play.report.outcome == "clean"
    assert listed(play.report) == {"undone": ["3", "2", "1"]}
    assert play.report.cause == "failure"


def test_the_plan_is_in_order_of_completion_not_of_yield() -> None:
    @workflow
    def saga_beside() -> Flow[None]:
        yield from gather(book(1), book(2), book(3))
        raise WorkflowError("no")

    play = Play(saga_beside)
    for position in ("1.2", "1.3", "1.1"):
        play.complete(position, 1)
    play.undo("1.1", "1.3", "1.2")
    assert play.last.ended


def test_steps_that_only_read_are_in_no_plan_and_a_run_of_such_has_no_rollback() -> None:
    play = after(look, look)
    assert forward(play.last) == ["RunFailed"]
    assert play.reports == []
    assert listed(after(book, look).report) == {"pending": ["1"]}


def test_a_forgotten_undo_is_listed_and_the_rollback_is_not_clean() -> None:
    play = after(book, bare)
    play.undo("1")
    assert play.report.outcome == "partial"
    assert listed(play.report) == {"undone": ["1"], "skipped": ["2 no_undo"]}


def test_a_step_that_has_an_undo_only_since_today_is_undone() -> None:
    class Mended(Play):
        steps: ClassVar[Mapping[str, Step[..., Any]]] = {"core_bare": book}

    play = Mended(workflow(name="saga_mended")(body(bare)))
    play.complete("1", 1)
    assert play.undo("1").ended
    assert play.report.outcome == "clean"


def test_a_failed_step_of_which_something_may_be_left_is_unaccounted() -> None:
    @workflow
    def saga_unaccounted() -> Flow[None]:
        yield from book()
        yield from book()

    play = Play(saga_unaccounted)
    play.complete("1", 1)
    assert "StepFailed 2" in kinds(play.spend("2", "unknown"))
    play.undo("1")
    assert play.report.outcome == "partial"
    assert listed(play.report) == {"undone": ["1"], "unaccounted": ["2"]}
    assert play.report.unaccounted[0].error is not None


def test_a_step_that_says_so_is_undone_also_where_only_an_attempt_is_known() -> None:
    play = Play(workflow(name="saga_attempted")(body(attempted)))
    play.spend("1", "unknown")
    assert play.undo("1").ended
    assert play.report.undone[0].result is None
    assert play.report.outcome == "clean"


def test_a_step_that_failed_and_left_nothing_is_in_no_plan() -> None:
    play = Play(workflow(name="saga_nothing_left")(body(book, attempted)))
    play.complete("1", 1)
    play.spend("2", "none")
    assert listed(play.report) == {"pending": ["1"]}


def test_registered_undos_stand_in_the_plan_where_they_were_registered() -> None:
    @workflow
    def saga_registering() -> Flow[None]:
        yield from book()
        yield from add_undo(release, 1)
        yield from book()
        raise WorkflowError("no")

    play = Play(saga_registering)
    play.complete("1", 1)
    play.complete("3", 1)
    play.undo("3", "2:undo:1", "1")
    assert [entry.kind for entry in play.report.undone] == ["step", "registered", "step"]
    assert play.report.undone[1].step == "release"


def registered(position: str, number: int = 1) -> ev.UndoRegistered:
    return ev.UndoRegistered(position=position, number=number, function="tests.core.sagashop:release", input={"n": 1})


def test_undos_that_a_step_registered_stand_for_an_undo_that_it_lacks() -> None:
    play = Play(workflow(name="saga_covered")(body(bare)))
    play.begin("1")
    play.feed(registered("1"))
    play.complete("1", 1)
    play.undo("1:undo:1")
    assert play.report.outcome == "clean"
    assert listed(play.report) == {"undone": ["1"]}


def test_an_undo_that_a_step_registered_is_called_even_if_the_step_then_fails() -> None:
    play = Play(workflow(name="saga_registered_then_failed")(body(bare)))
    play.begin("1")
    play.feed(registered("1"))
    play.spend("1", "none")
    assert play.undo("1:undo:1").ended


def test_a_step_that_marked_itself_irreversible_is_listed_as_that() -> None:
    play = Play(workflow(name="saga_marked")(body(book)))
    play.begin("1")
    play.feed(ev.StepMarkedIrreversible(position="1", note="it is in the post"))
    play.complete("1", 1)
    assert listed(play.report) == {"irreversible": ["1 marked"]}
    assert play.report.irreversible[0].note == "it is in the post"


# ------------------------------------------------------------------------------------------------ undos that fail


def test_a_failed_undo_is_tried_again_when_its_time_has_come() -> None:
    play = after(book)
    play.undo_fails("1", retry_at=play.time + 5_000_000)
    assert standing(play.live).reason is Reason.UNDO_RETRY_SCHEDULED
    play.undo("1")
    assert play.report.undone[0].attempts == 2


def test_an_undo_that_fails_for_good_halts_the_walk_and_older_entries_stay_pending() -> None:
    play = after(book, book, book)
    play.undo("3")
    assert kinds(play.undo_fails("2")) == ["UndoHalted"]
    assert standing(play.live).reason is Reason.UNDO_FAILED
    assert standing(play.live).status is RunStatus.BLOCKED
    assert listed(play.report) == {"undone": ["3"], "failed": ["2 error"], "pending": ["1"]}
    assert play.restart().events == ()


def test_with_continue_the_walk_goes_on_and_the_run_is_blocked_at_its_end() -> None:
    play = after(book, book, on_undo_failure="continue")
    play.undo_fails("2")
    assert kinds(play.undo("1"))[-1] == "UndoHalted"
    assert play.report.outcome is None
    assert listed(play.report) == {"undone": ["1"], "failed": ["2 error"]}


def test_a_person_has_a_failed_undo_tried_again_with_a_new_budget() -> None:
    play = after(book, book)
    play.undo_fails("2", reason="handler_missing")
    play.says(ev.UndoRetried(entry="2", **BY))
    assert play.live.undo is not None
    assert (play.live.undo.spent, play.live.undo.attempts) == (0, 1)
    play.undo("2", "1")
    assert play.report.outcome == "clean"
    assert play.report.undone[0].attempts == 2


def test_a_person_goes_on_without_a_failed_undo() -> None:
    play = after(book, book)
    play.undo_fails("2")
    play.says(ev.UndoSkipped(entry="2", **BY))
    play.undo("1")
    assert play.report.outcome == "partial"
    assert listed(play.report) == {"undone": ["1"], "skipped": ["2 operator"]}
    assert play.report.skipped[0].by == "ann"


def test_a_person_says_that_a_failed_undo_was_done_by_hand() -> None:
    play = after(book, book)
    play.undo_fails("2")
    play.says(ev.EntrySettled(entry="2", state="undone", **BY))
    play.undo("1")
    assert play.report.outcome == "clean"
    assert play.report.undone[0].by == "ann"


def test_a_person_says_of_a_pending_entry_that_it_was_undone_and_it_is_not_called() -> None:
    play = after(book, book)
    play.undo_fails("2")
    play.says(ev.EntrySettled(entry="1", state="undone", **BY))
    assert kinds(play.last) == ["UndoHalted"]
    play.says(ev.UndoRetried(entry="2", **BY))
    assert play.undo("2").ended
    assert play.report.outcome == "clean"


def test_a_person_abandons_the_rest() -> None:
    play = after(book, book)
    play.undo_fails("2")
    assert play.says(ev.RollbackAbandoned(**BY)).ended
    assert play.report.outcome == "abandoned"
    assert listed(play.report) == {"failed": ["2 error"], "skipped": ["1 abandoned"]}


def test_after_the_end_an_entry_is_marked_done_and_the_report_is_issued_again() -> None:
    play = after(book, bare)
    play.undo("1")
    assert kinds(play.says(ev.EntrySettled(entry="2", state="undone", **BY))) == ["RollbackEnded"]
    assert play.last.ended
    assert (play.report.outcome, play.report.revision) == ("clean", 2)
    assert isinstance(play.live.end, ev.RunFailed)


def test_an_abandoned_rollback_stays_abandoned_whatever_is_marked_done() -> None:
    play = after(book, book)
    play.undo_fails("2")
    play.says(ev.RollbackAbandoned(**BY))
    for entry in ("1", "2"):
        play.says(ev.EntrySettled(entry=entry, state="undone", **BY))
    assert (play.report.outcome, play.report.revision) == ("abandoned", 3)


def test_an_undo_that_finds_its_effect_irreversible_is_listed_so_and_the_walk_goes_on() -> None:
    play = after(book, book)
    play.undo_fails("2", reason="irreversible")
    play.undo("1")
    assert listed(play.report) == {"undone": ["1"], "irreversible": ["2 discovered"]}


# ------------------------------------------------------------------------------------------- irreversible steps


def test_an_irreversible_step_is_reported_and_the_walk_goes_on() -> None:
    play = after(book, mail, book)
    play.undo("3", "1")
    assert play.report.outcome == "partial"
    assert listed(play.report) == {"undone": ["3", "1"], "irreversible": ["2 declared"]}


def test_a_walk_halts_at_an_irreversible_step_where_something_undoable_lies_beyond() -> None:
    play = after(book, mail, book, on_irreversible="halt")
    play.undo("3")
    assert play.history[-1].kind == "UndoHalted"
    assert standing(play.live).reason is Reason.UNDO_HALTED
    play.says(ev.UndoSkipped(entry="2", **BY))
    play.undo("1")
    assert listed(play.report) == {"undone": ["3", "1"], "irreversible": ["2 declared"]}
    assert play.report.irreversible[0].by == "ann"


def test_a_walk_does_not_halt_at_an_irreversible_step_with_nothing_undoable_beyond() -> None:
    play = after(bare, mail, book, on_irreversible="halt")
    assert play.undo("3").ended


def test_a_halt_that_is_abandoned_ends_there() -> None:
    play = after(book, mail, on_irreversible="halt")
    assert play.says(ev.RollbackAbandoned(**BY)).ended
    assert listed(play.report) == {"irreversible": ["2 declared"], "skipped": ["1 abandoned"]}


def test_where_an_irreversible_step_refuses_nothing_is_undone_and_all_of_it_is_still_armed() -> None:
    play = after(book, mail, book, on_irreversible="refuse")
    assert play.last.ended
    assert play.report.outcome == "refused"
    assert listed(play.report) == {"irreversible": ["2 declared"], "skipped": ["3 refused", "1 refused"]}
    play.says(ev.RollbackStarted(cause="operator", **BY))
    play.undo("3", "1")
    assert play.report.outcome == "partial"


def test_a_refused_rollback_stays_refused_while_anything_is_there() -> None:
    play = after(book, mail, on_irreversible="refuse")
    play.says(ev.EntrySettled(entry="2", state="undone", **BY))
    assert (play.report.outcome, play.report.revision) == ("refused", 2)


def test_a_mark_that_comes_while_a_walk_has_begun_does_not_refuse_it() -> None:
    play = after(book, book, on_irreversible="refuse")
    play.undo("2")
    play.feed(ev.StepMarkedIrreversible(position="1", note="late"))
    assert play.report.outcome == "partial"
    assert listed(play.report) == {"undone": ["2"], "irreversible": ["1 marked"]}


# ------------------------------------------------------------------------------------------------- how it is asked


def test_a_failed_run_that_keeps_is_rolled_back_by_an_operator() -> None:
    play = after(book, book, on_failure="keep")
    assert play.last.ended
    assert play.reports == []
    play.says(ev.RollbackStarted(cause="operator", **BY))
    play.undo("2", "1")
    assert play.last.ended
    assert not play.live.undone
    assert (play.report.cause, play.report.actor, play.report.outcome) == ("operator", "ann", "clean")


def test_a_completed_run_that_is_rolled_back_is_undone() -> None:
    play = after(book, fails=False)
    play.says(ev.RollbackStarted(cause="operator", **BY))
    assert forward(play.undo("1")) == ["RunUndone"]
    assert play.live.undone
    assert play.restart().ended


def test_a_completed_run_whose_rollback_is_refused_stays_completed() -> None:
    play = after(book, mail, fails=False)
    play.says(ev.RollbackStarted(cause="operator", on_irreversible="refuse", **BY))
    assert forward(play.last) == []
    assert play.last.ended
    assert not play.live.undone


def test_a_run_that_is_terminated_in_the_rollback_of_a_completed_one_is_not_undone_and_can_be_rolled_back_again() -> (
    None
):
    play = after(book, book, fails=False)
    play.says(ev.RollbackStarted(cause="operator", **BY))
    play.undo("2")
    play.feed(ev.UndoStarted(entry="1", number=1))
    play.says(ev.RunTerminated(**BY))
    assert play.last.ended
    assert not play.live.undone
    play.says(ev.RollbackStarted(cause="operator", **BY))
    play.undo("1")
    assert play.report.outcome == "clean"


def test_a_cancelled_run_is_undone_without_the_body() -> None:
    play = after(book, book, sleep_long, fails=False)
    play.cancel()
    play.undo("2", "1")
    assert play.last.ended
    assert play.report.cause == "cancel"
    assert isinstance(play.history[-1], ev.RunCancelled)


def sleep_long() -> Any:
    return sleep(1_000)


def test_a_run_cancelled_without_undo_keeps_what_it_did() -> None:
    play = after(book, sleep_long, fails=False)
    assert play.says(ev.CancelRequested(undo=False)).ended
    assert play.reports == []


@pytest.mark.parametrize("undo", [True, False])
def test_a_person_fails_a_run_with_its_undo_or_without(undo: bool) -> None:
    play = after(book, sleep_long, fails=False)
    play.says(ev.FailRequested(undo=undo, **BY))
    assert play.last.ended is not undo
    if undo:
        play.undo("1")
    assert play.failure.type == "squidmesh.errors.FailedByOperator"


def test_a_terminated_run_undoes_nothing() -> None:
    play = after(book, sleep_long, fails=False)
    assert forward(play.says(ev.RunTerminated(**BY))) == []
    assert play.last.ended
    assert play.reports == []


def test_a_terminated_run_can_be_rolled_back_later() -> None:
    play = after(book, sleep_long, fails=False)
    play.says(ev.RunTerminated(**BY))
    play.says(ev.RollbackStarted(cause="operator", **BY))
    assert play.undo("1").ended
    assert not play.live.undone


def test_a_failure_that_is_caught_undoes_nothing() -> None:
    @workflow
    def saga_catching() -> Flow[str]:
        yield from book()
        with contextlib.suppress(WorkflowError):
            yield from book()
        return "went on"

    play = Play(saga_catching)
    play.complete("1", 1)
    play.spend("2")
    assert play.result == "went on"
    assert play.reports == []


def test_broken_code_undoes_nothing() -> None:
    def breaking() -> Flow[None]:
        yield from book()
        raise TypeError("typo")

    play = Play(workflow(name="saga_broken")(breaking))
    play.complete("1", 1)
    assert play.blocked.reason == "code_error"
    assert play.reports == []


def test_strict_undo_refuses_a_step_that_does_not_say_how_it_is_undone() -> None:
    play = after(book, look, mail, bare, strict_undo=True)
    assert play.blocked.reason == "code_error"
    assert "core_bare" in play.blocked.message
    assert [event.step for event in play.history if isinstance(event, ev.StepScheduled)] == [
        "core_book", "core_look", "core_mail",
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------------------- drain


@workflow(name="saga_draining")
def draining() -> Flow[None]:
    yield from spawn(book(1))
    yield from spawn(book(2))
    yield from book(3)
    raise WorkflowError("no")


def test_what_is_in_flight_finishes_before_anything_is_undone_and_joins_the_plan() -> None:
    play = Play(draining)
    play.begin("1")
    assert kinds(play.complete("3", 3)) == ["StepCancelled 2"]
    assert standing(play.live).reason is Reason.DRAINING
    play.complete("1", 1)
    play.undo("1", "3")
    assert play.report.outcome == "clean"


def test_a_lost_attempt_is_tried_again_while_a_run_drains_and_an_ordinary_failure_is_not() -> None:
    play = Play(draining)
    play.begin("1")
    play.begin("2")
    play.complete("3", 3)
    assert kinds(play.feed(ev.AttemptLost(position="1", number=1))) == []
    retry = ev.AttemptFailed(position="2", failure=failed(), retry_at=play.time + 5)
    assert kinds(play.feed(retry)) == ["StepCancelled 2"]
    play.begin("1", 2)
    play.complete("1", 1)
    play.undo("1", "3")
    assert play.report.outcome == "clean"


def failed() -> Any:
    from squidmesh.core.failure import describe

    return describe(ValueError("no"))


def test_an_effect_that_is_not_known_when_a_run_drains_is_not_cancelled_but_unaccounted() -> None:
    play = Play(draining)
    play.begin("1")
    play.begin("2")
    play.complete("3", 3)
    play.feed(ev.AttemptFailed(position="1", failure=failed(), retry_at=play.time + 5, effect="unknown"))
    play.complete("2", 2)
    play.undo("2", "3")
    assert listed(play.report) == {"undone": ["2", "3"], "unaccounted": ["1"]}


def test_what_is_out_too_long_counts_as_unknown_and_a_late_completion_joins_the_walk() -> None:
    play = Play(draining)
    play.begin("1")
    play.feed(ev.StepCancelled(position="2"))
    play.complete("3", 3)
    play.feed(ev.AttemptLost(position="1", number=1, final=True))
    play.feed(ev.UndoStarted(entry="3", number=1))
    assert listed(play.report) == {"pending": ["3"], "unaccounted": ["1"]}


def test_a_late_completion_before_its_turn_is_undone_in_the_walk() -> None:
    play = Play(draining)
    play.begin("1")
    play.feed(ev.StepCancelled(position="2"))
    play.feed(ev.AttemptLost(position="1", number=1, final=True))
    play.complete("3", 3)
    play.feed(ev.UndoStarted(entry="3", number=1))
    play.says(ev.StepCompleted(position="1", result=7))
    play.feed(ev.UndoCompleted(entry="3", number=1))
    play.undo("1")
    assert play.report.outcome == "clean"
    assert [entry.result for entry in play.report.undone] == [3, 7]


def test_a_step_in_doubt_blocks_a_run_that_drains_before_anything_is_undone() -> None:
    @workflow
    def saga_doubting() -> Flow[None]:
        yield from spawn(once())
        yield from book()
        raise WorkflowError("no")

    play = Play(saga_doubting)
    play.begin("1")
    play.complete("2", 2)
    assert kinds(play.feed(ev.AttemptLost(position="1", number=1, final=True))) == ["StepInDoubt 1"]
    assert standing(play.live).reason is Reason.STEP_IN_DOUBT
    play.says(ev.StepResolved(position="1", outcome="applied", result=9, **BY))
    play.undo("1", "2")
    assert play.report.outcome == "clean"


# -------------------------------------------------------------------------------------------------------- races


@workflow(name="saga_racing")
def racing() -> Flow[Any]:
    won = yield from race(book(1), book(2))
    yield from sleep(60)
    return won


def test_a_loser_that_completes_is_undone_by_a_rollback_of_its_own_beside_the_run() -> None:
    play = Play(racing)
    play.begin("1.2")
    play.complete("1.1", 1)
    play.complete("1.2", 2)
    assert play.report.cause == "race"
    play.undo("1.2")
    assert listed(play.report) == {"undone": ["1.2"]}
    assert play.open == ["2"]
    play.fire("2")
    assert play.result == [0, 1]


def test_a_loser_that_registered_an_undo_and_failed_is_undone_too() -> None:
    play = Play(racing)
    play.begin("1.2")
    play.feed(registered("1.2"))
    play.complete("1.1", 1)
    play.spend("1.2", "none")
    play.undo("1.2:undo:1")
    assert play.report.outcome == "clean"


def test_a_loser_that_cannot_be_undone_is_refused_once() -> None:
    play = Play(workflow(name="saga_racing_refused", on_irreversible="refuse")(racing.fn))
    play.begin("1.2")
    play.feed(ev.StepMarkedIrreversible(position="1.2", note="gone"))
    play.complete("1.1", 1)
    play.complete("1.2", 2)
    assert [one.outcome for one in play.reports] == ["refused"]
    play.fire("2")
    assert play.last.ended


def test_a_loser_whose_registered_undos_stand_for_its_own_is_undone_once() -> None:
    @workflow
    def saga_racing_bare() -> Flow[Any]:
        return (yield from race(book(1), bare(2)))

    play = Play(saga_racing_bare)
    play.begin("1.2")
    play.feed(registered("1.2"))
    play.complete("1.1", 1)
    play.complete("1.2", 2)
    play.undo("1.2:undo:1")
    assert play.last.ended
    assert len(play.reports) == 1


def test_a_loser_is_undone_also_where_its_scope_is_committed_meanwhile() -> None:
    @workflow
    def saga_racing_committed() -> Flow[Any]:
        with saga("all", commit=True):
            yield from race(book(1), book(2))
            yield from sleep(1)
        yield from sleep(60)

    play = Play(saga_racing_committed)
    play.begin("1.2")
    play.complete("1.1", 1)
    play.complete("1.2", 2)
    play.feed(ev.UndoStarted(entry="1.2", number=1))
    assert kinds(play.fire("2")) == ["ScopeLeft 3", "TimerSet 3"]
    play.feed(ev.UndoCompleted(entry="1.2", number=1))
    assert listed(play.report) == {"undone": ["1.2"]}


def test_a_mark_that_comes_while_an_undo_runs_waits_for_what_the_undo_says() -> None:
    play = after(book)
    play.feed(ev.UndoStarted(entry="1", number=1))
    assert play.feed(ev.StepMarkedIrreversible(position="1", note="late")).events == ()
    assert play.feed(ev.UndoCompleted(entry="1", number=1)).ended
    assert listed(play.report) == {"undone": ["1"]}


def test_losers_of_several_races_are_undone_in_the_order_in_which_the_races_were_won() -> None:
    @workflow
    def saga_several_races() -> Flow[None]:
        for _ in range(9):
            yield from race(book(1), book(2))
        yield from sleep(60)

    play = Play(saga_several_races)
    for position in range(1, 10):
        play.begin(f"{position}.2")
        play.complete(f"{position}.1", 1)
    play.learn(*[ev.StepCompleted(position=f"{position}.2", result=2) for position in range(9, 0, -1)])
    play.record()
    play.undo(*[f"{position}.2" for position in range(1, 10)])
    assert [one.begun.position for one in play.live.chain.rollbacks] == [str(position) for position in range(1, 10)]


def test_a_cancel_while_a_race_is_rolled_back_follows_it() -> None:
    play = Play(racing)
    play.begin("1.2")
    play.complete("1.1", 1)
    play.complete("1.2", 2)
    play.cancel()
    play.undo("1.2")
    play.undo("1.1")
    assert [one.cause for one in play.reports] == ["race", "cancel"]
    assert play.last.ended


# -------------------------------------------------------------------------------------------------------- pivots


def test_past_a_pivot_a_failure_blocks_the_run_and_a_person_has_the_step_tried_again() -> None:
    play = stuck()
    assert play.blocked.reason == "past_pivot"
    assert play.blocked.position == "3"
    assert play.reports == []
    play.says(ev.StepRetried(position="3", **BY))
    play.begin("3", 2)
    play.complete("3", 3)
    assert play.result == "done"


def stuck(effect: str = "none") -> Play:
    """A run whose third step has failed behind a pivot."""
    play = Play(workflow(name="saga_stuck")(body(book, pay, load_plain, fails=False)))
    play.complete("1", 1)
    play.complete("2", 2)
    play.spend("3", effect)
    return play


def load_plain() -> Any:
    return book(3)


def test_past_a_pivot_a_person_goes_on_with_a_value_in_place_of_a_step() -> None:
    play = stuck()
    play.says(ev.StepSkipped(position="3", value=5, **BY))
    assert play.result == "done"
    assert play.restart().ended


def test_a_step_tried_again_past_a_pivot_is_undone_if_it_completes() -> None:
    play = stuck()
    play.says(ev.StepRetried(position="3", **BY))
    play.begin("3", 2)
    play.complete("3", 3)
    play.says(ev.RollbackStarted(cause="operator", **BY))
    play.undo("3", "1")
    assert listed(play.report) == {"undone": ["3", "1"], "irreversible": ["2 declared"]}


def test_what_a_failed_attempt_may_have_left_is_forgotten_when_a_later_one_says_that_it_left_nothing() -> None:
    play = stuck("unknown")
    play.says(ev.StepRetried(position="3", **BY))
    play.begin("3", 2)
    play.spend("3", "none")
    assert play.blocked.position == "3"
    play.says(ev.FailRequested(undo=True, **BY))
    play.undo("1")
    assert listed(play.report) == {"undone": ["1"], "irreversible": ["2 declared"]}


def test_past_a_pivot_a_person_fails_the_run() -> None:
    play = stuck("unknown")
    play.says(ev.FailRequested(undo=True, **BY))
    play.undo("1")
    assert listed(play.report) == {"undone": ["1"], "irreversible": ["2 declared"], "unaccounted": ["3"]}
    assert play.failure.type == "squidmesh.errors.FailedByOperator"


def test_a_run_that_is_blocked_can_be_terminated() -> None:
    play = stuck()
    assert play.says(ev.RunTerminated(**BY)).ended
    assert play.last.blocked is None


def test_a_business_failure_past_a_pivot_names_no_step() -> None:
    play = after(pay)
    assert play.blocked.reason == "past_pivot"
    assert play.blocked.position is None


def test_what_a_failed_member_has_stopped_goes_on_when_a_person_has_the_member_tried_again() -> None:
    @workflow
    def saga_stopped_members() -> Flow[Any]:
        yield from pay()
        return (yield from gather(book(1), book(2), sleep(60)))

    play = Play(saga_stopped_members)
    play.complete("1", 1)
    play.spend("2.1")
    assert play.blocked.position == "2.1"
    assert {"StepCancelled", "TimerCancelled"} <= {event.kind for event in play.history}
    play.says(ev.StepRetried(position="2.1", **BY))
    assert sorted(play.open) == ["2.1", "2.2", "2.3"]
    play.complete("2.2", 2)
    play.fire("2.3")
    play.complete("2.1", 1)
    assert play.result == [1, 2, None]
    assert play.restart().ended
    play.says(ev.RollbackStarted(cause="operator", **BY))
    assert listed(play.report) == {"pending": ["2.1", "2.2", "1"]}


# ------------------------------------------------------------------------------------------------ what it costs


def walk(n: int) -> None:
    play = after(*[book] * n)
    for position in range(n, 0, -1):
        play.undo(str(position))
    assert play.last.ended


def scopes(n: int) -> None:
    def failing() -> Flow[str]:
        for _ in range(n):
            try:
                with saga("one"):
                    yield from book()
                    raise WorkflowError("no")
            except WorkflowError:
                pass
        return "done"

    play = Play(workflow(name=f"saga_scopes_{n}")(failing))
    for position in range(1, n + 1):
        play.complete(str(position), 1)
        play.undo(str(position))
    assert play.last.ended


def replayed_walk(n: int) -> None:
    play = after(*[book] * n)
    for position in range(n, 1, -1):
        play.undo(str(position))
    play.restart()
    assert play.undo("1").ended


@pytest.mark.parametrize(("work", "most"), [(walk, 2_000), (scopes, 500), (replayed_walk, 500)])
def test_ten_times_the_entries_are_walked_with_ten_times_the_work(work: Any, most: int) -> None:
    few, many = calls_of(lambda: work(most // 10)), calls_of(lambda: work(most))
    assert few > most
    assert many < 11 * few
