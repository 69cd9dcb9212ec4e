"""What explanations say where a person must decide, where something is undone, and what was left behind."""

from __future__ import annotations

import pytest

from squidmesh import events as ev
from squidmesh.core.failure import Failure
from squidmesh.core.report import Action
from squidmesh.events import Event
from squidmesh.views.explanation import Explanation
from tests.views.facts import DECLINED, RUN, at, begun, row, scheduled, task, told, worker

CUT = Failure(type="builtins.TimeoutError", message="no answer")
LOST = ev.AttemptFailed(at=at(2), position="1", number=1, failure=CUT, effect="unknown")
DOUBT = ev.StepInDoubt(at=at(3), position="1", failure=CUT)
IN_DOUBT = [scheduled(traits=["irreversible", "once"]), begun(), LOST, DOUBT]


def done(position: str, step: str, *traits: str) -> list[Event]:
    return [
        scheduled(position, step, traits=list(traits)),
        begun(position),
        ev.StepCompleted(at=at(2), position=position),
    ]


WALK = [
    *done("1", "reserve", "undo"),
    *done("2", "charge", "undo"),
    *done("3", "ship", "irreversible", "once"),
    ev.RollbackStarted(at=at(50), cause="failure", number=1, failure=DECLINED),
    ev.RollbackPlanned(at=at(50), number=1, entries=["3", "2", "1"]),
    ev.EntrySettled(at=at(50), entry="3", state="irreversible", reason="declared"),
    ev.UndoStarted(at=at(50), entry="2", number=1, worker="w1"),
]
FAILED = ev.UndoFailed(at=at(60), entry="2", number=1, failure=CUT)


def commands(found: Explanation) -> list[str]:
    """The commands of the next actions, as they are typed."""
    return [" ".join(action.cli.replace(RUN, "RUN").split()[1:]) for action in found.next_actions if action.cli]


def undoing(*more: Event, **facts: object) -> Explanation:
    return told(row(status="undoing", reason="undoing", worker="w1", **facts), *WALK, *more)


# ------------------------------------------------------------------------------------------- in doubt, past a pivot


def test_a_step_in_doubt_names_its_key_and_both_answers() -> None:
    found = told(row(status="blocked", reason="step_in_doubt"), *IN_DOUBT)
    assert (found.status, found.reason) == ("blocked", "step_in_doubt")
    assert found.summary == (
        "Blocked since 2026-01-01 00:00:03 UTC: nobody knows whether step 'charge' (position 1) had its effect "
        f"(TimeoutError: no answer). It is not tried again by itself. Find out by its key, {RUN}:1, and say so "
        "(resolve_step); nothing else was lost."
    )
    assert [(w.kind, w.name, w.position) for w in found.waiting_on] == [("person", "charge", "1")]
    assert found.blockers == [
        "nobody knows whether step 'charge' (position 1) had its effect (TimeoutError: no answer)"
    ]
    assert found.next_actions[0].python == f'mesh.handle("{RUN}").resolve_step("1", Applied(…), actor=…, note=…)'
    assert commands(found) == [
        "resolve-step RUN 1 --applied … --actor … --note …",
        "resolve-step RUN 1 --not-applied --actor … --note …",
        "terminate RUN --actor … --note …",
    ]


def test_a_step_in_doubt_beside_others_that_run_comes_last() -> None:
    found = told(row(worker="w1"), *IN_DOUBT, scheduled("2"), begun("2", seconds=60))
    assert (found.status, found.reason) == ("running", "step_running")
    assert [w.kind for w in found.waiting_on] == ["step", "person"]


def test_a_person_s_word_that_waits_for_the_holder_is_enough() -> None:
    said = ev.StepResolved(at=at(90), position="1", outcome="applied", actor="ada", note="seen")
    found = told(row(status="blocked", reason="step_in_doubt", due_at=at(90)), *IN_DOUBT, waiting=[said])
    assert (found.status, found.reason, found.blockers) == ("running", "advancing", [])


def test_a_run_past_its_pivot_says_how_it_can_go_on() -> None:
    failed = [LOST, ev.StepFailed(at=at(3), position="1", failure=CUT)]
    stands = ev.RunBlocked(
        at=at(3), reason="past_pivot", message="`pay` is a pivot.", file="shop.py", line=9, position="1"
    )
    found = told(row(status="blocked", reason="past_pivot"), scheduled(), begun(), *failed, stands)
    assert (found.reason, found.code) == ("past_pivot", None)
    assert found.summary == (
        "Blocked since 2026-01-01 00:00:03 UTC: `pay` is a pivot. Nothing was lost: have step 'charge' (position 1) "
        "tried again (retry_step), go on without it (skip_step), or end the run (fail)."
    )
    assert commands(found) == [
        "retry-step RUN 1 --actor … --note …",
        "skip-step RUN 1 --value … --actor … --note …",
        "fail RUN --actor … --note …",
    ]


def test_past_a_pivot_without_a_failed_step_a_run_can_only_be_ended() -> None:
    stands = ev.RunBlocked(at=at(3), reason="past_pivot", message="`pay` is a pivot")
    found = told(row(status="blocked", reason="past_pivot"), stands)
    assert found.summary.endswith("Nothing was lost: end the run, undone or not (fail).")
    assert commands(found) == ["fail RUN --actor … --note …"]


# ------------------------------------------------------------------------------------------- settling


def test_what_is_called_about_a_failed_step_is_told() -> None:
    found = told(row(worker="w1"), scheduled(), begun(), LOST)
    assert found.reason == "step_running"
    assert found.summary.startswith(
        "Step 'charge' (position 1) has failed (TimeoutError: no answer); what is left of it is found out since"
    )
    started = ev.CompensateStarted(at=at(3), position="1", worker="w1")
    found = told(row(worker="w1"), scheduled(), begun(), LOST, started)
    assert "its compensate is called since 2026-01-01 00:00:02 UTC on worker w1" in found.summary


def test_a_handler_that_another_worker_calls_is_told() -> None:
    claimed = task(worker="w2", number=1, claimed_at=at(95), spec='{"call": "compensate"}')
    facts = [scheduled(elsewhere=True), begun(), LOST]
    found = told(row(), *facts, tasks=[claimed], workers=[worker(), worker("w2")])
    assert (found.reason, found.waiting_on[0].kind) == ("step_running", "step")
    assert "its compensate is called since 2026-01-01 00:01:35 UTC on worker w2" in found.summary
    gone = told(row(), *facts, tasks=[claimed], workers=[worker()])
    assert gone.reason == "attempt_lost"
    assert "The worker that called the compensate of step 'charge' (position 1) is gone" in gone.summary


def test_what_was_found_out_elsewhere_is_on_its_way_to_the_holder() -> None:
    found = told(row(due_at=at(90)), scheduled(elsewhere=True), begun(), LOST)
    assert (found.reason, [w.kind for w in found.waiting_on]) == ("advancing", ["run"])


# ------------------------------------------------------------------------------------------- undoing


def test_an_undo_that_is_called_is_told_with_how_far_the_rollback_is() -> None:
    found = undoing()
    assert (found.status, found.reason) == ("undoing", "undoing")
    assert found.summary == (
        "The run has failed: Declined: no funds. The undo of step 'charge' (position 2) has been running since "
        "2026-01-01 00:00:50 UTC on worker w1, attempt 1; 1 of 3 entries are settled. Nothing to do."
    )
    assert [(w.kind, w.name, w.position) for w in found.waiting_on] == [("undo", "charge", "2")]
    assert found.next_actions == []


def test_an_undo_whose_worker_is_gone_is_called_again() -> None:
    facts = row(status="undoing", worker="w9", due_at=at(80))
    found = told(facts, *WALK[:-1], ev.UndoStarted(at=at(50), entry="2", number=1, worker="w9"))
    assert found.reason == "undoing"
    assert "worker w9, which is gone; it is called again soon, under the same key" in found.summary


def test_an_undo_that_failed_says_when_it_is_called_again() -> None:
    later = ev.UndoFailed(at=at(60), entry="2", number=1, failure=CUT, retry_at=at(130))
    found = told(row(status="undoing", reason="undo_retry_scheduled", due_at=at(130)), *WALK, later)
    assert (found.status, found.reason) == ("undoing", "undo_retry_scheduled")
    assert found.summary == (
        "The run has failed: Declined: no funds. Attempt 1 of the undo of step 'charge' (position 2) failed "
        "(TimeoutError: no answer); it is called again at 2026-01-01 00:02:10 UTC (in 30 s), under the same key. "
        "Nothing to do."
    )


def test_an_undo_that_failed_for_good_says_what_is_safe() -> None:
    halted = ev.UndoHalted(at=at(60), number=1, reason="undo_failed", entry="2")
    found = told(row(status="blocked", reason="undo_failed"), *WALK, FAILED, halted)
    assert (found.status, found.reason) == ("blocked", "undo_failed")
    assert found.summary == (
        "Blocked since 2026-01-01 00:01:00 UTC: the undo of step 'charge' (position 2) has failed for good after 1 "
        "attempt (TimeoutError: no answer). 'reserve' at position 1 is not undone yet. Mend the cause and have it "
        "called again (undo_retry); or go on without it (undo_skip, undo_mark_done, undo_abandon)."
    )
    assert commands(found) == [
        "undo-retry RUN 2 --actor … --note …",
        "undo-skip RUN 2 --actor … --note …",
        "undo-mark-done RUN 2 --actor … --note …",
        "undo-abandon RUN --actor … --note …",
        "undo-mark-done RUN 3 --actor … --note …",
    ]


@pytest.mark.parametrize(
    ("reason", "what"),
    [("handler_missing", "is not in the code at hand"), ("payload", "cannot read what was recorded")],
)
def test_an_undo_that_could_not_be_called_says_why(reason: str, what: str) -> None:
    missing = ev.UndoFailed(at=at(60), entry="2", number=1, failure=CUT, reason=reason)
    halted = ev.UndoHalted(at=at(60), number=1, reason="undo_failed", entry="2")
    found = told(row(status="blocked", reason="undo_failed"), *WALK, missing, halted)
    assert f"the undo of step 'charge' (position 2) {what}" in found.summary


def test_a_rollback_that_halts_at_what_cannot_be_undone_says_what_lies_beyond() -> None:
    halted = ev.UndoHalted(at=at(60), number=1, reason="undo_halted", entry="3")
    found = told(row(status="blocked", reason="undo_halted"), *WALK[:-1], halted)
    assert found.reason == "undo_halted"
    assert found.summary == (
        "Blocked since 2026-01-01 00:01:00 UTC: step 'ship' (position 3) cannot be undone, and the rollback halts "
        "there. 2 others are not undone yet, 'charge' at position 2 the next. Go on (undo_skip; undo_mark_done if it "
        "was reversed by hand), or end it there (undo_abandon)."
    )
    assert commands(found)[:3] == [
        "undo-skip RUN 3 --actor … --note …",
        "undo-mark-done RUN 3 --actor … --note …",
        "undo-abandon RUN --actor … --note …",
    ]


def test_a_rollback_that_nobody_serves_says_so() -> None:
    found = told(row(status="undoing", due_at=at(60)), *WALK[:-1], workers=[])
    assert (found.status, found.reason) == ("undoing", "no_worker")


@pytest.mark.parametrize(
    ("begun_by", "why"),
    [
        ({"cause": "cancel", "actor": "ada", "note": "enough"}, "The run was cancelled by ada: enough."),
        ({"cause": "operator", "actor": "ada", "note": "a duplicate"}, "The run is rolled back by ada: a duplicate."),
        ({"cause": "scope", "scope": "1"}, "The scope 'ground' is rolled back."),
        ({"cause": "race", "position": "4"}, "What has lost the race at position 4 is undone."),
    ],
)
def test_why_something_is_undone_is_told(begun_by: dict[str, str], why: str) -> None:
    entered = ev.ScopeEntered(at=at(1), scope="1", name="ground", position="1")
    begins = ev.RollbackStarted(at=at(50), number=1, **begun_by)  # type: ignore[arg-type]
    found = told(row(status="undoing", due_at=at(60)), entered, begins)
    assert found.summary == f"{why} What it did is about to be undone. Nothing to do."


def test_a_rollback_that_was_asked_for_and_not_begun_is_undoing() -> None:
    asked = ev.RollbackStarted(at=at(90), cause="operator", actor="ada", note="a duplicate")
    found = told(row(status="undoing", due_at=at(90)), ev.RunCompleted(at=at(50)), waiting=[asked])
    assert (found.status, found.reason) == ("undoing", "undoing")


# ------------------------------------------------------------------------------------------- draining, ended


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (ev.FailRequested(at=at(90), actor="ada", note="no use"), "asked to fail by ada"),
        (ev.RunTerminated(at=at(90), actor="ada", note="no use"), "asked to end at once by ada"),
    ],
)
def test_a_run_that_a_person_ends_says_who(asked: Event, what: str) -> None:
    found = told(row(status="undoing", reason="draining", due_at=at(90)), waiting=[asked])
    assert found.summary.startswith(f"The run was {what} at 2026-01-01 00:01:30 UTC.")


OVER = [
    *WALK,
    ev.UndoCompleted(at=at(60), entry="2"),
    ev.EntrySettled(at=at(60), entry="2", state="undone"),
    ev.EntrySettled(at=at(60), entry="1", state="skipped", reason="operator", actor="ada", note="no use"),
]


def test_a_run_that_was_not_undone_whole_says_what_was_left_behind() -> None:
    ended = [ev.RollbackEnded(at=at(61), number=1, outcome="partial"), ev.RunFailed(at=at(61), failure=DECLINED)]
    found = told(row(status="failed", ended_at=at(61)), *OVER, *ended)
    assert found.summary == (
        "The run failed at 2026-01-01 00:01:01 UTC, 1 min after its start: Declined: no funds. Not all of it was "
        "undone: 'reserve' at position 1 (was skipped, as ada knows) and 'ship' at position 3 (cannot be undone)."
    )
    assert commands(found) == ["show RUN", "undo-mark-done RUN 3 --actor … --note …"]


def test_a_run_whose_rollback_was_refused_says_so_and_can_be_rolled_back() -> None:
    refused = [
        *WALK[:-2],
        ev.RollbackEnded(at=at(61), number=1, outcome="refused"),
        ev.RunFailed(at=at(61), failure=DECLINED),
    ]
    found = told(row(status="failed", ended_at=at(61)), *refused)
    assert found.summary.endswith("Its rollback was refused, for not all of it can be undone; nothing was.")
    assert found.next_actions[-1] == Action(
        python=f'mesh.handle("{RUN}").rollback(actor=…, note=…)',
        cli=f"squidmesh rollback {RUN} --actor … --note …",
        why="undoes what it did: charge at position 2 and reserve at position 1",
    )


def test_an_undone_run_says_when() -> None:
    ended = [ev.RunCompleted(at=at(40)), *WALK[-4:], ev.RunUndone(at=at(61))]
    found = told(row(status="undone", ended_at=at(61)), *ended)
    assert found.summary == "The run had completed, and was undone at 2026-01-01 00:01:01 UTC."
