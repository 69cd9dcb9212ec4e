import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from squidmesh import events as ev
from squidmesh.core.deadlines import DeadlineState
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import MASK, Value
from squidmesh.core.status import RunStatus
from squidmesh.events import Event
from squidmesh.views.deadlines import DeadlineView
from squidmesh.views.run import RunView, StepView, fold
from tests.views.facts import DECLINED, RUN, T0, at, begun, numbered, row, scheduled, started, task

START = datetime(2026, 1, 1, tzinfo=UTC)


def steps(*events: Event, **parts: Any) -> dict[str, StepView]:
    view = fold(row(), numbered(started(), *events), **parts)
    return {step.position: step for step in view.steps}


def only(*events: Event, **parts: Any) -> StepView:
    (step,) = steps(*events, **parts).values()
    return step


DEADLINE = DeadlineView(
    kind="run", name="checkout", since=START, due=START + timedelta(minutes=1), state=DeadlineState.ON_TIME, open=True
)


def test_a_run_that_was_only_started_shows_what_it_was_started_with() -> None:
    facts = row(status="pending", deadline=at(60), attributes={"shop": "sofia"}, priority=3)
    view = fold(facts, [started(input={"order": "o-1"})])
    assert view == RunView(
        run_id=RUN, workflow="checkout", version=2, key="o-1", status=RunStatus.PENDING, queue="default", priority=3,
        input={"order": "o-1"}, attributes={"shop": "sofia"}, created_at=START,
        deadline=START + timedelta(minutes=1), deadlines=(DEADLINE,),
    )  # fmt: skip


def test_a_completed_run_shows_its_result_and_when_it_ended() -> None:
    view = fold(row(status="completed", ended_at=at(5)), [started(), ev.RunCompleted(at=at(5), result={"ok": 1})])
    assert (view.status, view.result, view.failure) == ("completed", {"ok": 1}, None)
    assert view.ended_at == START + timedelta(seconds=5)
    assert view.reason == "completed"


def test_a_failed_run_shows_its_failure() -> None:
    view = fold(row(status="failed", ended_at=at(5)), [started(), ev.RunFailed(at=at(5), failure=DECLINED)])
    assert (view.status, view.failure, view.result) == ("failed", DECLINED, None)


def test_an_end_that_the_row_does_not_have_yet_counts() -> None:
    view = fold(row(status="running"), [started(), ev.RunCancelled(at=at(7))])
    assert (view.status, view.reason, view.ended_at) == (
        "cancelled",
        "cancelled",
        START + timedelta(seconds=7),
    )


def test_steps_stand_in_the_order_in_which_they_were_scheduled() -> None:
    found = steps(scheduled("1"), scheduled("2.2", "ship"), scheduled("2.1"))
    assert list(found) == ["1", "2.2", "2.1"]
    assert found["2.2"].name == "ship"


def test_a_step_goes_from_scheduled_over_running_to_completed() -> None:
    assert only(scheduled()).status == "scheduled"
    assert only(scheduled(), begun()).status == "running"
    step = only(scheduled(), begun(), ev.StepCompleted(at=at(3), position="1", result=42))
    assert (step.status, step.result) == ("completed", 42)
    (attempt,) = step.attempts
    assert (attempt.number, attempt.outcome, attempt.worker) == (1, "completed", "w1")
    assert (attempt.started_at, attempt.ended_at) == (
        START + timedelta(seconds=1),
        START + timedelta(seconds=3),
    )


def test_a_failed_attempt_leaves_its_step_retrying_and_the_next_one_runs() -> None:
    failed = ev.AttemptFailed(at=at(2), position="1", number=1, failure=DECLINED, retry_at=at(9))
    step = only(scheduled(), begun(), failed)
    assert (step.status, step.failure) == ("retrying", None)
    assert (step.attempts[0].outcome, step.attempts[0].failure) == ("failed", DECLINED)
    step = only(scheduled(), begun(), failed, begun(number=2, seconds=9))
    assert step.status == "running"
    assert [(a.number, a.outcome) for a in step.attempts] == [(1, "failed"), (2, None)]


def test_a_step_that_failed_for_good_has_the_failure_of_its_last_attempt() -> None:
    step = only(
        scheduled(),
        begun(),
        ev.AttemptFailed(at=at(2), position="1", number=1, failure=DECLINED),
        ev.StepFailed(at=at(2), position="1", failure=DECLINED),
    )
    assert (step.status, step.failure) == ("failed", DECLINED)
    assert [a.outcome for a in step.attempts] == ["failed"]


def test_a_lost_attempt_says_so_and_its_step_is_tried_again() -> None:
    step = only(scheduled(), begun(), ev.AttemptLost(at=at(20), position="1", number=1, worker="w1"))
    assert step.status == "retrying"
    assert [(a.outcome, a.failure) for a in step.attempts] == [("lost", None)]


def test_a_step_that_is_cancelled_in_flight_ends_its_attempt() -> None:
    step = only(scheduled(), begun(), ev.StepCancelled(at=at(2), position="1"))
    assert (step.status, step.attempts[0].outcome) == ("cancelled", "cancelled")


def test_a_step_that_completes_although_it_was_cancelled_has_completed() -> None:
    cancelled = ev.StepCancelled(at=at(2), position="1")
    step = only(scheduled(), cancelled, begun(), ev.StepCompleted(at=at(3), position="1", result=1))
    assert (step.status, step.result, step.attempts[0].outcome) == ("completed", 1, "completed")
    assert only(scheduled(), ev.StepCompleted(at=at(2), position="1"), cancelled).status == "completed"


SPENT = ev.AttemptFailed(at=at(2), position="1", number=1, failure=DECLINED, effect="unknown")
UNDO = ["undo"]


def test_a_step_whose_attempts_are_spent_is_settled_before_it_has_failed() -> None:
    step = only(scheduled(), begun(), SPENT)
    assert (step.status, step.failure, step.attempts[0].outcome) == ("running", None, "failed")
    step = only(scheduled(), begun(), SPENT, ev.StepFailed(at=at(3), position="1", failure=DECLINED, effect="unknown"))
    assert (step.status, step.failure, step.effect) == ("failed", DECLINED, "unknown")


def test_a_compensating_step_shows_each_call_and_both_failures() -> None:
    broke = Failure(type="shop.Broken", message="no disk")
    calls = [
        ev.CompensateStarted(at=at(3), position="1", worker="w1"),
        ev.CompensateEnded(at=at(4), position="1", outcome="lost"),
        ev.CompensateStarted(at=at(5), position="1", worker="w2"),
        ev.CompensateEnded(at=at(6), position="1", outcome="failed", failure=broke),
    ]
    assert only(scheduled(), begun(), SPENT, calls[0]).status == "compensating"
    step = only(
        scheduled(), begun(), SPENT, *calls, ev.StepFailed(at=at(6), position="1", failure=DECLINED, effect="unknown")
    )
    assert (step.status, step.failure, step.effect) == ("failed", DECLINED, "unknown")
    (call,) = step.compensations
    assert (call.cycle, call.worker, call.outcome, call.failure) == (1, "w2", "failed", broke)
    assert (call.started_at, call.ended_at) == (START + timedelta(seconds=5), START + timedelta(seconds=6))


def test_a_compensate_that_asks_for_another_cycle_leaves_its_step_retrying() -> None:
    asked = [
        ev.CompensateStarted(at=at(3), position="1", worker="w1"),
        ev.CompensateEnded(at=at(4), position="1", outcome="retry", retry_at=at(60)),
    ]
    assert only(scheduled(), begun(), SPENT, *asked).status == "retrying"
    step = only(scheduled(), begun(), SPENT, *asked, begun(number=2), ev.StepCompleted(at=at(61), position="1"))
    assert (step.status, step.effect, [a.outcome for a in step.attempts]) == (
        "completed", None, ["failed", "completed"]
    )  # fmt: skip


def test_a_task_that_calls_a_handler_is_no_attempt() -> None:
    asked = task(worker="w2", number=1, claimed_at=at(4), spec=json.dumps({"input": {}, "call": "compensate"}))
    step = only(scheduled(elsewhere=True), begun(), SPENT, tasks=[asked])
    assert (step.status, [a.number for a in step.attempts]) == ("compensating", [1])
    check = task(worker="w2", number=1, claimed_at=at(4), spec=json.dumps({"input": {}, "call": "check"}))
    assert only(scheduled(elsewhere=True), begun(), SPENT, tasks=[check]).status == "running"
    done = ev.StepCompleted(at=at(5), position="1")
    assert only(scheduled(elsewhere=True), begun(), SPENT, done, tasks=[asked]).status == "completed"


def test_a_step_in_doubt_says_what_may_be_there_until_a_person_knows() -> None:
    doubt = ev.StepInDoubt(at=at(3), position="1", failure=DECLINED)
    lost = ev.AttemptLost(at=at(3), position="1", number=1, worker="w1", final=True)
    step = only(scheduled(), begun(), lost, doubt)
    assert (step.status, step.effect, step.failure, step.attempts[0].outcome) == (
        "in_doubt", "unknown", DECLINED, "lost"
    )  # fmt: skip
    said = ev.StepResolved(at=at(9), position="1", outcome="applied", actor="ada", note="seen", result=1)
    assert only(scheduled(), begun(), lost, doubt, waiting=[said]).status == "running"
    done = ev.StepCompleted(at=at(9), position="1", result=1)
    step = only(scheduled(), begun(), lost, doubt, said, done)
    assert (step.status, step.effect, step.failure, step.result) == ("completed", None, None, 1)


def test_a_person_has_a_failed_step_tried_again_or_skipped() -> None:
    failed = [SPENT, ev.StepFailed(at=at(2), position="1", failure=DECLINED)]
    again = ev.StepRetried(at=at(9), position="1", actor="ada", note="mended")
    assert only(scheduled(), begun(), *failed, again).status == "retrying"
    step = only(scheduled(), begun(), *failed, again, begun(number=2), ev.StepCompleted(at=at(9), position="1"))
    assert (step.status, step.failure) == ("completed", None)
    skipped = ev.StepSkipped(at=at(9), position="1", actor="ada", note="not needed", value=[7])
    step = only(scheduled(), begun(), *failed, skipped)
    assert (step.status, step.result, step.failure) == ("skipped", [7], DECLINED)


def test_a_transaction_is_a_step_beside_its_members() -> None:
    found = steps(
        scheduled("1", "transfer", traits=["transactional", "group"]),
        begun("1"),
        scheduled("1.1", "debit"),
        ev.StepCompleted(at=at(2), position="1.1", result=-5),
        ev.TransactionCommitted(at=at(2), position="1", result="done"),
    )
    assert {at: (s.name, s.status, s.result) for at, s in found.items()} == {
        "1": ("transfer", "completed", "done"),
        "1.1": ("debit", "completed", -5),
    }


def rolled_back(*more: Event) -> list[Event]:
    return [
        started(),
        scheduled(traits=UNDO),
        begun(),
        ev.StepCompleted(at=at(2), position="1", result=7),
        ev.RollbackStarted(at=at(3), cause="failure", number=1, failure=DECLINED),
        ev.RollbackPlanned(at=at(3), number=1, entries=["1"]),
        ev.UndoStarted(at=at(3), entry="1", number=1, worker="w1"),
        *more,
    ]


def test_a_run_that_is_undone_shows_why_and_how_far_it_is() -> None:
    view = fold(row(status="undoing", reason="undoing"), numbered(*rolled_back()))
    assert (view.status, view.failure) == ("undoing", DECLINED)
    assert view.rollback is not None
    assert (view.rollback.outcome, [e.position for e in view.rollback.pending]) == (None, ["1"])
    ended = rolled_back(
        ev.UndoCompleted(at=at(4), entry="1"),
        ev.EntrySettled(at=at(4), entry="1", state="undone"),
        ev.RollbackEnded(at=at(4), number=1, outcome="clean"),
        ev.RunFailed(at=at(4), failure=DECLINED),
    )
    view = fold(row(status="failed", ended_at=at(4)), numbered(*ended))
    assert view.rollback is not None
    assert (view.rollback.outcome, [e.result for e in view.rollback.undone]) == ("clean", [7])
    assert view.rollbacks == (view.rollback,)
    assert RunView.model_validate_json(view.model_dump_json()) == view


def test_a_run_that_is_rolled_back_after_its_end_is_what_its_row_says() -> None:
    over = [started(), ev.RunCompleted(at=at(5), result=1)]
    asked = ev.RollbackStarted(at=at(9), cause="operator", actor="ada", note="a duplicate")
    view = fold(row(status="undoing"), numbered(*over), waiting=[asked])
    assert (view.status, view.result, view.ended_at) == ("undoing", 1, None)
    begun_ = ev.RollbackStarted(at=at(9), cause="operator", number=1)
    assert fold(row(status="undoing"), numbered(*over, begun_)).status == "undoing"
    done = [ev.RollbackEnded(at=at(9), number=1, outcome="clean"), ev.RunUndone(at=at(9))]
    view = fold(row(status="undoing"), numbered(*over, begun_, *done))
    assert (view.status, view.result, view.ended_at) == ("undone", 1, START + timedelta(seconds=9))


def test_a_terminated_run_has_ended() -> None:
    ended = numbered(started(), ev.RunTerminated(at=at(5), actor="ada", note="enough"))
    assert fold(row(status="running"), ended).status == "terminated"


def test_a_claimed_task_is_a_running_attempt_of_its_worker() -> None:
    claimed = task(worker="w2", number=1, claimed_at=at(4))
    step = only(scheduled(elsewhere=True), tasks=[claimed])
    assert step.status == "running"
    (attempt,) = step.attempts
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, "w2", None)
    assert attempt.started_at == START + timedelta(seconds=4)


def test_a_task_that_nobody_has_claimed_is_a_scheduled_step() -> None:
    step = only(scheduled(elsewhere=True), tasks=[task()])
    assert (step.status, step.attempts) == ("scheduled", [])


def test_a_task_that_was_tried_and_waits_is_retrying() -> None:
    assert only(scheduled(elsewhere=True), tasks=[task(number=1, due_at=at(60))]).status == "retrying"


def test_a_task_counts_on_from_the_attempts_that_the_holder_made_before_it_was_one() -> None:
    failed = ev.AttemptFailed(at=at(2), position="1", number=2, failure=DECLINED, retry_at=at(9))
    claimed = task(worker="w2", number=1, claimed_at=at(10), spec=json.dumps({"input": {}, "tried": {"number": 2}}))
    step = only(scheduled(), begun(number=2), failed, scheduled(elsewhere=True, input={"again": 1}), tasks=[claimed])
    assert [(a.number, a.outcome) for a in step.attempts] == [(2, "failed"), (3, None)]


def test_a_task_that_was_read_before_its_attempt_was_reported_takes_nothing_back() -> None:
    claimed = task(worker="w2", number=1, claimed_at=at(4))
    done = ev.StepCompleted(at=at(6), position="1", result=1)
    assert only(scheduled(), begun(by="w2"), done, tasks=[claimed]).status == "completed"
    failed = ev.AttemptFailed(at=at(2), position="1", number=1, failure=DECLINED, retry_at=at(9))
    assert only(scheduled(), begun(by="w2"), failed, tasks=[claimed]).status == "retrying"


def test_events_of_the_inbox_make_the_view_as_fresh_as_the_database() -> None:
    waiting = [begun(by="w2"), ev.StepCompleted(at=at(6), position="1", result="done")]
    step = only(scheduled(elsewhere=True), waiting=waiting)
    assert (step.status, step.result, step.attempts[0].worker) == ("completed", "done", "w2")


def test_events_read_twice_change_nothing() -> None:
    failed = ev.AttemptFailed(at=at(2), position="1", number=1, failure=DECLINED, retry_at=at(9))
    events = [scheduled(elsewhere=True), begun(), failed, begun(number=2, seconds=9)]
    once = steps(*events)
    assert steps(*events, waiting=[begun(), failed]) == once
    done = ev.StepCompleted(at=at(11), position="1", result=1)
    assert steps(*events, done, waiting=[begun(), failed, begun(number=2), done]) == steps(*events, done)


def test_progress_is_the_latest_checkpoint_also_of_an_attempt_that_runs_elsewhere() -> None:
    saved = ev.CheckpointSaved(at=at(2), position="1", value={"page": 1})
    assert only(scheduled(), begun(), saved).progress == {"page": 1}
    claimed = task(worker="w2", number=1, claimed_at=at(4), progress='{"page": 7}')
    assert only(scheduled(), tasks=[claimed]).progress == {"page": 7}


def test_secrets_are_masked_wherever_a_value_is_shown() -> None:
    secret = Value(SecretStr, "it").encode(SecretStr("s3cr3t"))
    view = fold(
        row(status="completed", ended_at=at(9), attributes={"a": secret}),
        [
            started(input={"token": secret}),
            scheduled(input={"token": secret}),
            ev.CheckpointSaved(at=at(2), position="1", value=[secret]),
            ev.StepCompleted(at=at(3), position="1", result=secret),
            ev.RunCompleted(at=at(9), result=[secret]),
        ],
    )
    assert "s3cr3t" not in view.model_dump_json()
    (step,) = view.steps
    assert (view.input, view.result, view.attributes) == ({"token": MASK}, [MASK], {"a": MASK})
    assert (step.input, step.result, step.progress) == ({"token": MASK}, MASK, [MASK])


def test_a_view_is_frozen_and_comes_back_from_its_json() -> None:
    failed = ev.AttemptFailed(at=at(2), position="1", number=1, failure=DECLINED, retry_at=at(9))
    view = fold(row(), numbered(started(input={"n": 1}), scheduled(), begun(), failed))
    assert RunView.model_validate_json(view.model_dump_json()) == view
    with pytest.raises(ValidationError):
        view.status = "failed"  # type: ignore[misc,assignment]


def test_the_json_of_a_view_keeps_its_form() -> None:
    view = fold(row(), numbered(started(), scheduled(), begun(), ev.StepCompleted(at=at(3), position="1", result=1)))
    assert json.loads(view.model_dump_json()) == {
        "schema_version": 1, "run_id": RUN, "workflow": "checkout", "version": 2, "key": "o-1",
        "status": "running", "reason": None,
        "queue": "default", "priority": 0, "input": {}, "result": None, "failure": None,
        "steps": [{
            "name": "charge", "position": "1", "status": "completed", "result": 1, "failure": None, "input": {},
            "progress": None, "effect": None, "compensations": [],
            "attempts": [{
                "number": 1, "started_at": "2026-01-01T00:00:01Z", "ended_at": "2026-01-01T00:00:03Z",
                "outcome": "completed", "failure": None, "worker": "w1",
            }],
        }],
        "waits": [], "gates": [], "held": None, "children": [],
        "entries": [{
            "id": "1", "kind": "step", "step": "charge", "position": "1", "scope": None, "state": "armed",
            "undoable": False, "reason": "no_undo", "attempts": 0, "by": None, "note": None, "at": None,
        }],
        "rollback": None, "rollbacks": [], "commands": [], "deadlines": [],
        "prospects": {
            "undo": {
                "possible": True, "clean": False, "undoable": 0, "left": {"no_undo": 1}, "pivot": None,
                "first": [{"step": "charge", "position": "1", "reason": "no_undo"}],
            },
            "replay": {"possible": False, "safe": True, "unsafe": []},
        },
        "parent": None, "continued_as": None, "rerun_of": None, "from_position": None, "attributes": {},
        "created_at": "2026-01-01T00:00:00Z", "ended_at": None, "deadline": None, "events": None,
    }  # fmt: skip


def test_a_run_of_ten_thousand_steps_shows_them_all() -> None:
    positions = [f"1.{n}" for n in range(1, 10_001)]
    done = [ev.StepCompleted(at=T0, position=position, result=position) for position in positions]
    view = fold(row(), [started(), *map(scheduled, positions), *map(begun, positions), *done])
    assert [(step.position, step.result) for step in view.steps] == [(p, p) for p in positions]
