"""Scopes of a workflow: what an exception that leaves them undoes, what they hand on, and what may be asked of them."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest

from squidmesh.core import events as ev
from squidmesh.core.commands import Pending, gather, sleep, spawn
from squidmesh.core.scopes import Saga, add_undo, rollback, saga
from squidmesh.core.standing import standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import DefinitionError, NotSettled, StepFailed, WorkflowError
from tests.core.play import Play, forward, kinds, listed
from tests.core.sagashop import bare, book, load, mail, pay, release


@workflow(name="scopes_trip")
def trip() -> Flow[Any]:
    ground = saga("ground")
    yield from book(1)
    try:
        with ground:
            yield from book(2)
            yield from book(3)
    except StepFailed:
        yield from book(4)
        return ground.report.outcome
    return None


def test_an_exception_that_leaves_a_scope_has_it_undone_before_the_next_command() -> None:
    play = Play(trip)
    play.complete("1", 1)
    play.complete("2", 2)
    assert forward(play.spend("3")) == ["StepFailed 3", "ScopeLeft 4"]
    assert standing(play.live).status is RunStatus.UNDOING
    assert forward(play.undo("2")) == ["StepScheduled 4"]
    assert (play.report.cause, listed(play.report)) == ("scope", {"undone": ["2"]})
    play.complete("4", 4)
    assert play.result == "clean"


def test_a_restart_between_two_undos_of_a_scope_repeats_nothing_recorded() -> None:
    @workflow
    def scopes_restarted() -> Flow[str]:
        try:
            with saga("all"):
                yield from book()
                yield from book()
                raise WorkflowError("no")
        except WorkflowError:
            return "went on"

    play = Play(scopes_restarted)
    play.complete("1", 1)
    play.complete("2", 2)
    play.undo("2")
    assert play.restart().events == ()
    assert play.undo("1").ended
    assert play.result == "went on"
    assert [event.kind for event in play.history].count("UndoStarted") == 2


def test_rollback_of_a_scope_waits_for_the_one_that_is_due_and_gives_its_report() -> None:
    @workflow
    def scopes_waiting() -> Flow[Any]:
        one = saga("one")
        try:
            with one:
                yield from book()
                raise WorkflowError("no")
        except WorkflowError:
            report = yield from rollback(one)
            again = yield from rollback(one)
            return report.outcome, again == report == one.report

    play = Play(scopes_waiting)
    play.complete("1", 1)
    play.undo("1")
    assert play.result == ["clean", True]
    assert len(play.reports) == 1


def test_an_exception_caught_inside_undoes_nothing() -> None:
    @workflow
    def scopes_caught_inside() -> Flow[str]:
        with saga("one"):
            yield from book()
            with contextlib.suppress(StepFailed):
                yield from book()
        return "done"

    play = Play(scopes_caught_inside)
    play.complete("1", 1)
    play.spend("2")
    assert play.result == "done"
    assert play.reports == []


def test_a_scope_that_is_left_cleanly_joins_what_surrounds_it_at_its_own_place() -> None:
    @workflow
    def scopes_joining() -> Flow[None]:
        yield from book()
        with saga("inner"):
            yield from book()
        yield from book()
        raise WorkflowError("no")

    play = Play(scopes_joining)
    for position in ("1", "2", "3"):
        play.complete(position, 1)
    play.undo("3", "2", "1")
    assert play.report.outcome == "clean"


def test_a_committed_scope_is_passed_over_by_an_outer_rollback_which_is_clean() -> None:
    @workflow
    def scopes_committing() -> Flow[None]:
        yield from book()
        with saga("kept", commit=True):
            yield from mail()
            with saga("inner"):
                yield from book()
        raise WorkflowError("no")

    play = Play(scopes_committing)
    for position in ("1", "2", "3"):
        play.complete(position, 1)
    play.undo("1")
    assert listed(play.report) == {"undone": ["1"], "skipped": ["3 committed", "2 committed"]}
    assert play.report.outcome == "clean"


def test_a_scope_to_be_committed_that_fails_is_undone() -> None:
    @workflow
    def scopes_not_committed() -> Flow[None]:
        with saga("kept", commit=True):
            yield from book()
            raise WorkflowError("no")

    play = Play(scopes_not_committed)
    play.complete("1", 1)
    assert forward(play.undo("1")) == ["RunFailed"]
    assert [one.cause for one in play.reports] == ["scope"]


def test_an_exception_that_leaves_two_scopes_undoes_the_inner_then_the_outer_then_the_rest() -> None:
    @workflow
    def scopes_two() -> Flow[None]:
        yield from book()
        with saga("outer"):
            yield from book()
            with saga("inner"):
                yield from book()
                raise WorkflowError("no")

    play = Play(scopes_two)
    for position in ("1", "2", "3"):
        play.complete(position, 1)
    assert play.undo("3", "2", "1").ended
    assert [(one.cause, one.outcome) for one in play.reports] == [
        ("scope", "clean"),
        ("scope", "clean"),
        ("failure", "clean"),
    ]


def test_what_a_scope_could_not_undo_counts_in_the_report_of_a_run_that_fails_for_it() -> None:
    @workflow
    def scopes_carried() -> Flow[None]:
        yield from book()
        with saga("one"):
            yield from mail()
            yield from bare()
            yield from book()
            raise WorkflowError("no")

    play = Play(scopes_carried)
    for position in ("1", "2", "3", "4"):
        play.complete(position, 1)
    play.undo("4", "1")
    assert listed(play.report) == {"undone": ["1"], "irreversible": ["2 declared"], "skipped": ["3 no_undo"]}
    assert play.report.outcome == "partial"


def test_what_a_scope_could_not_undo_does_not_count_where_the_workflow_caught_it_and_went_on() -> None:
    @workflow
    def scopes_not_carried() -> Flow[None]:
        yield from book()
        try:
            with saga("one"):
                yield from mail()
                raise WorkflowError("caught")
        except WorkflowError:
            pass
        yield from book()
        raise WorkflowError("another")

    play = Play(scopes_not_carried)
    for position in ("1", "2", "3"):
        play.complete(position, 1)
    play.undo("3", "1")
    assert play.report.outcome == "clean"


def test_on_an_open_scope_rollback_undoes_what_is_done_so_far_and_goes_on_inside() -> None:
    @workflow
    def scopes_open() -> Flow[Any]:
        with saga("one") as one:
            yield from book()
            first = yield from rollback(one)
            yield from book()
            raise WorkflowError(f"after a {first.outcome} one")

    play = Play(scopes_open)
    play.complete("1", 1)
    play.undo("1")
    play.complete("3", 3)
    assert play.undo("3").ended
    assert [listed(one) for one in play.reports] == [{"undone": ["1"]}, {"undone": ["3"]}]
    assert play.failure.message == "after a clean one"


def test_an_undo_registered_just_before_an_open_scope_is_rolled_back_again_is_called() -> None:
    @workflow
    def scopes_again() -> Flow[Any]:
        with saga("one") as one:
            yield from book()
            yield from rollback(one)
            yield from add_undo(release, 1)
            second = yield from rollback(one)
            return len(second.undone)

    play = Play(scopes_again)
    play.complete("1", 1)
    play.undo("1")
    play.undo("3:undo:1")
    assert play.result == 1
    assert play.restart().ended


def test_a_scope_has_no_report_before_it_was_rolled_back() -> None:
    @workflow
    def scopes_early() -> Flow[str]:
        with saga("one") as one:
            yield from book()
            with pytest.raises(NotSettled, match="yield from rollback"):
                _ = one.report
        return "done"

    play = Play(scopes_early)
    play.complete("1", 1)
    assert play.result == "done"


def test_a_scope_is_entered_once() -> None:
    @workflow(fail_on=DefinitionError)
    def scopes_twice() -> Flow[None]:
        one = saga("one")
        for _ in range(2):
            with one:
                yield from book()

    play = Play(scopes_twice)
    play.complete("1", 1)
    play.undo("1")
    assert play.failure.message.startswith("saga('one') is entered again")


def test_work_that_was_spawned_in_a_scope_that_failed_is_drained_and_undone_with_it() -> None:
    @workflow
    def scopes_spawning() -> Flow[Any]:
        one = saga("one")
        try:
            with one:
                yield from spawn(book(1))
                yield from spawn(book(2))
                yield from book(3)
        except StepFailed:
            return (yield from rollback(one)).outcome

    play = Play(scopes_spawning)
    play.begin("1")
    assert "StepCancelled 2" in kinds(play.spend("3"))
    assert play.live.undo is None
    play.complete("1", 1)
    play.undo("1")
    assert play.result == "clean"


def test_work_that_was_spawned_in_a_scope_left_cleanly_belongs_to_what_surrounds_it() -> None:
    @workflow
    def scopes_handing_on() -> Flow[None]:
        with saga("kept", commit=True):
            yield from spawn(book(1))
        yield from book(2)
        raise WorkflowError("no")

    play = Play(scopes_handing_on)
    play.begin("1")
    play.complete("1", 1)
    play.complete("2", 2)
    play.undo("2", "1")
    assert play.report.outcome == "clean"


@workflow(name="scopes_cancelled_work")
def cancelled_work(together: bool) -> Flow[str]:
    spawned: Pending[int] | None = None
    try:
        with saga("one"):
            spawned = yield from spawn(book(1))
            yield from book(2)
    except StepFailed:
        pass
    assert spawned is not None
    try:
        if together:
            yield from gather(spawned, sleep(0))
        else:
            yield from spawned
    except WorkflowError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("together", [False, True])
def test_who_waits_for_work_that_was_cancelled_with_its_scope_is_told_so(together: bool) -> None:
    play = Play(cancelled_work, together)
    play.spend("2")
    if "3.2" in play.open:
        play.fire("3.2")
    assert "failed" in play.result
    assert play.restart().ended


def test_a_step_that_was_scheduled_before_a_scope_does_not_join_it_when_its_handler_goes_elsewhere() -> None:
    @workflow
    def scopes_before() -> Flow[str]:
        yield from spawn(load())
        try:
            with saga("one"):
                yield from book()
                yield from book()
        except StepFailed:
            pass
        yield from sleep(1)
        return "done"

    play = Play(scopes_before)
    play.complete("2", 2)
    play.spend("1", "unknown")
    again = next(event for event in play.history if isinstance(event, ev.StepScheduled) and event.position == "1")
    play.unrecorded.append(ev.StepScheduled(position="1", step=again.step, input=again.input, traits=again.traits,
                                            call="compensate", elsewhere=True))  # fmt: skip
    play.record()
    play.restart()
    play.feed(ev.CompensateStarted(position="1"), ev.CompensateEnded(position="1", outcome="completed", result=1))
    play.spend("3")
    play.undo("2")
    assert play.open == ["4"]
    assert listed(play.report) == {"undone": ["2"]}


def test_a_scope_past_its_pivot_only_goes_forward_and_what_surrounds_it_too() -> None:
    @workflow
    def scopes_pivot() -> Flow[str]:
        yield from book()
        try:
            with saga("one"):
                yield from pay()
                yield from book()
        except StepFailed:
            return "gave up"
        return "done"

    play = Play(scopes_pivot)
    play.complete("1", 1)
    play.complete("2", 2)
    play.spend("3")
    assert play.blocked.reason == "past_pivot"
    assert play.blocked.position == "3"
    assert [event.kind for event in play.history].count("ScopeLeft") == 0
    play.says(ev.FailRequested(actor="ann", note="hopeless"))
    play.undo("1")
    assert [one.cause for one in play.reports] == ["failure"]
    assert listed(play.report) == {"undone": ["1"], "irreversible": ["2 declared"]}
    assert play.restart().ended


def test_a_pivot_does_not_bind_what_it_does_not_belong_to() -> None:
    @workflow
    def scopes_beside_pivot() -> Flow[str]:
        yield from pay()
        try:
            with saga("one"):
                yield from book()
                yield from book()
        except StepFailed:
            return "another way"
        return "done"

    play = Play(scopes_beside_pivot)
    play.complete("1", 1)
    play.complete("2", 2)
    play.spend("3")
    play.undo("2")
    assert play.result == "another way"


def test_a_scope_halts_by_its_own_policy_and_the_run_stands() -> None:
    @workflow(on_irreversible="report")
    def scopes_halting() -> Flow[None]:
        with saga("one", on_irreversible="halt"):
            yield from book()
            yield from mail()
            raise WorkflowError("no")

    play = Play(scopes_halting)
    play.complete("1", 1)
    play.complete("2", 2)
    assert standing(play.live).reason is Reason.UNDO_HALTED
    play.says(ev.RollbackAbandoned(actor="ann", note="enough"))
    assert play.last.ended
    assert play.reports[0].outcome == "abandoned"


def test_a_cancel_in_a_scope_s_rollback_follows_it() -> None:
    play = Play(trip)
    play.complete("1", 1)
    play.complete("2", 2)
    play.spend("3")
    play.cancel()
    play.undo("2", "1")
    assert [one.cause for one in play.reports] == ["scope", "cancel"]
    assert play.last.ended


def test_putting_a_run_away_inside_a_scope_undoes_nothing_and_records_nothing() -> None:
    @workflow
    def scopes_put_away() -> Flow[str]:
        with saga("one"):
            try:
                yield from book()
            finally:
                with saga("cleaning"):
                    yield from sleep(0)
        return "done"

    play = Play(scopes_put_away)
    play.begin("1")
    assert play.restart().events == ()
    play.cancel()
    assert [event.kind for event in play.history].count("ScopeEntered") == 1
    play.complete("1", 1)
    play.undo("1")
    assert play.last.ended


def test_an_async_workflow_has_scopes_too() -> None:
    @workflow
    async def scopes_awaited() -> str:
        one = saga("one")
        try:
            with one:
                await book(1)
                await book(2)
        except StepFailed:
            report = await rollback(one)
            return str(report.outcome)
        return "done"

    play = Play(scopes_awaited)
    play.complete("1", 1)
    play.spend("2")
    play.restart()
    play.undo("1")
    assert play.result == "clean"


@pytest.mark.parametrize(
    ("entered", "told"),
    [("two", "history has the beginning of `saga` 'one'"), (None, "history has")],
)
def test_another_scope_than_history_has_is_a_change_of_the_code(entered: str | None, told: str) -> None:
    def before() -> Flow[None]:
        with saga("one"):
            yield from book()
        yield from book()

    def changed() -> Flow[None]:
        if entered:
            with saga(entered):
                yield from book()
        else:
            yield from book()
        yield from book()

    play = Play(workflow(name="scopes_changed")(before))
    play.complete("1", 1)
    play.restart(workflow(name="scopes_changed_now")(changed))
    assert play.blocked.reason == "code_changed"
    assert told in play.blocked.message


@pytest.mark.parametrize(
    "wrong", [lambda: saga(""), lambda: saga("a", on_irreversible=cast(Any, "maybe")), lambda: rollback(saga("a"))]
)
def test_a_scope_that_cannot_work_is_refused_where_it_is_written(wrong: Any) -> None:
    with pytest.raises(DefinitionError):
        wrong()


def test_outside_a_workflow_there_is_no_scope() -> None:
    with pytest.raises(DefinitionError, match="inside of a workflow"):
        Saga("one", False, None, None).__enter__()
