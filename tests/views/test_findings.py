from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squidmesh import events as ev
from squidmesh.core.status import ENDED, RunStatus, fits
from squidmesh.events import Event
from squidmesh.ports import TaskRow, WorkerRow
from tests.views.facts import DECLINED, NOW, RUN, at, begun, row, scheduled, task, told, worker

START = datetime(2026, 1, 1, tzinfo=UTC)
FAILED = ev.AttemptFailed(at=at(2), position="1", number=1, failure=DECLINED, retry_at=at(130))


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - START).total_seconds()


# ------------------------------------------------------------------------------------------- before it runs


def test_a_run_that_is_due_waits_for_a_free_thread() -> None:
    found = told(row(status="pending", due_at=at(10)), workers=[worker("w1"), worker("w2")])
    assert (found.status, found.reason) == ("pending", "queued")
    assert found.summary == (
        "The run has been waiting since 2026-01-01 00:00:10 UTC for a free thread of the 2 workers of queue "
        "'default'. Nothing to do."
    )
    assert (found.waiting_on[0].kind, seconds(found.waiting_on[0].since)) == ("run", 10)
    assert found.next_actions == []


def test_a_run_that_starts_later_says_when() -> None:
    found = told(row(status="pending", due_at=at(7_300)))
    assert found.reason == "start_delayed"
    assert found.summary == "The run starts at 2026-01-01 02:01:40 UTC (in 2 h). Nothing to do."
    assert (found.waiting_on[0].kind, seconds(found.waiting_on[0].until)) == ("start", 7_300)


@pytest.mark.parametrize("status", ["pending", "running", "waiting"])
def test_work_due_on_a_queue_that_nobody_alive_serves_names_the_queue_and_the_command(status: str) -> None:
    gone, elsewhere = worker("w1", "gpu", expires=NOW), worker("w2", "default")
    found = told(row(status=status, queue="gpu", due_at=at(10)), workers=[gone, elsewhere])
    assert (found.status, found.reason) == (status, "no_worker")
    assert found.summary == (
        "The run of 'checkout' is due since 2026-01-01 00:00:10 UTC, but nobody alive serves queue 'gpu'. "
        "Start one: squidmesh worker MODULE --queues gpu"
    )
    assert found.blockers == ["nobody alive serves queue 'gpu'"]
    assert (found.waiting_on[0].kind, found.waiting_on[0].name) == ("worker", "gpu")
    assert found.next_actions[0].cli == "squidmesh worker MODULE --queues gpu"
    assert found.next_actions[0].python == "mesh.worker(queues=['gpu'])"


def test_workers_that_lack_the_version_are_no_help() -> None:
    old = worker(workflows=[["checkout", 1]])
    found = told(row(status="pending", due_at=at(10)), workers=[old])
    assert found.reason == "no_code"
    assert "the worker of queue 'default' does not have workflow 'checkout' version 2" in found.summary
    assert found.summary.endswith("Start one that has it: squidmesh worker MODULE")
    found = told(row(status="pending", due_at=at(10)), workers=[old, worker("w2", workflows=[])])
    assert "none of the 2 workers of queue 'default' has workflow 'checkout' version 2" in found.summary


def test_nobody_is_missed_before_the_work_is_due() -> None:
    assert told(row(status="pending", due_at=at(NOW + 1)), workers=[]).reason == "start_delayed"
    sleeping = told(row(status="waiting", due_at=at(200)), ev.TimerSet(position="1", due=at(200)), workers=[])
    assert (sleeping.reason, sleeping.blockers) == ("sleeping", [])


# ------------------------------------------------------------------------------------------- while it runs


def test_a_holder_between_two_steps_is_advancing() -> None:
    found = told(row(worker="w1"))
    assert (found.status, found.reason) == ("running", "advancing")
    assert found.summary == "Worker w1 carries the run on. Nothing to do."


def test_a_step_that_its_holder_tries_is_running() -> None:
    found = told(row(worker="w1"), scheduled(), begun(number=2, seconds=90))
    assert found.reason == "step_running"
    assert found.summary == (
        "Step 'charge' (position 1) has been running since 2026-01-01 00:01:30 UTC on worker w1, attempt 2. "
        "Nothing to do."
    )
    (waiting,) = found.waiting_on
    assert (waiting.kind, waiting.name, waiting.position, seconds(waiting.since)) == ("step", "charge", "1", 90)


def test_a_step_that_another_worker_tries_is_running() -> None:
    claimed = task(worker="w2", number=1, claimed_at=at(95), queue="gpu")
    found = told(row(), scheduled(elsewhere=True), tasks=[claimed], workers=[worker("w2", "gpu")])
    assert (found.reason, seconds(found.waiting_on[0].since)) == ("step_running", 95)
    assert "on worker w2, attempt 1" in found.summary


def test_a_step_that_nobody_has_picked_up_yet_is_queued() -> None:
    waiting = task(due_at=at(20), queue="gpu")
    found = told(row(), scheduled(elsewhere=True), tasks=[waiting], workers=[worker("w2", "gpu")])
    assert found.reason == "step_queued"
    assert "since 2026-01-01 00:00:20 UTC for a free thread of the worker of queue 'gpu'" in found.summary


def test_a_step_whose_queue_nobody_serves_says_which_step_and_which_queue() -> None:
    waiting = task("3", due_at=at(20), queue="gpu", step="render")
    found = told(row(), scheduled("3", "render", elsewhere=True), tasks=[waiting])
    assert (found.status, found.reason) == ("running", "no_worker")
    assert found.summary.startswith("Step 'render' (position 3) is due since 2026-01-01 00:00:20 UTC, but nobody")
    lacking = told(row(), scheduled("3", "render", elsewhere=True), tasks=[waiting], workers=[worker("w2", "gpu")])
    assert lacking.reason == "no_code"
    assert lacking.blockers == ["the worker of queue 'gpu' does not have step 'render'"]
    assert (lacking.waiting_on[0].kind, lacking.waiting_on[0].name) == ("code", "render")


def test_the_attempt_of_a_holder_that_is_gone_is_lost() -> None:
    gone = worker("w1", expires=60)
    found = told(row(worker="w1"), scheduled(), begun(), workers=[gone, worker("w2")])
    assert (found.status, found.reason) == ("running", "attempt_lost")
    assert found.summary.startswith(
        "The worker of attempt 1 of step 'charge' (position 1) is gone since 2026-01-01 00:01:00 UTC; "
        "the step is tried again soon. Nothing to do."
    )


def test_the_attempt_of_a_claimed_task_whose_worker_is_gone_is_lost() -> None:
    claimed = task(worker="w9", number=1, claimed_at=at(95))
    found = told(row(), scheduled(elsewhere=True), tasks=[claimed])
    assert found.reason == "attempt_lost"


def test_a_lost_task_that_waits_to_be_picked_up_again_says_that_it_was_lost() -> None:
    lost = [scheduled(elsewhere=True), begun(), ev.AttemptLost(at=at(20), position="1", number=1, worker="w1")]
    found = told(row(), *lost, tasks=[task(number=1, lost=1, due_at=at(20))])
    assert (found.reason, found.waiting_on[0].kind) == ("attempt_lost", "attempt")


def test_when_the_holder_is_gone_and_nobody_is_left_a_worker_is_needed() -> None:
    found = told(row(worker="w1"), scheduled(), begun(), workers=[worker("w1", expires=60)])
    assert (found.reason, seconds(found.waiting_on[0].since)) == ("no_worker", 60)
    assert [waiting.kind for waiting in found.waiting_on] == ["worker", "attempt"]


# ------------------------------------------------------------------------------------------- while it waits


def test_a_retry_says_what_failed_and_when_it_is_tried_again() -> None:
    found = told(row(status="waiting", due_at=at(130)), scheduled(), begun(), FAILED)
    assert (found.status, found.reason) == ("waiting", "retry_scheduled")
    assert found.summary == (
        "Attempt 1 of step 'charge' (position 1) failed (Declined: no funds); it is tried again at "
        "2026-01-01 00:02:10 UTC (in 30 s). Nothing to do."
    )
    (waiting,) = found.waiting_on
    assert (waiting.kind, seconds(waiting.since), seconds(waiting.until)) == ("retry", 2, 130)
    assert found.next_actions[0].python == f'mesh.handle("{RUN}").cancel()'


def test_a_retry_of_a_task_says_the_same() -> None:
    events = [scheduled(elsewhere=True), begun(), FAILED]
    found = told(row(status="waiting"), *events, tasks=[task(number=1, due_at=at(130))])
    assert (found.reason, seconds(found.waiting_on[0].until)) == ("retry_scheduled", 130)


def test_a_sleeping_run_says_until_when() -> None:
    found = told(row(status="waiting", due_at=at(3_700)), ev.TimerSet(at=at(10), position="2", due=at(3_700)))
    assert (found.status, found.reason) == ("waiting", "sleeping")
    assert found.summary == (
        "The run has been sleeping since 2026-01-01 00:00:10 UTC, and goes on at 2026-01-01 01:01:40 UTC "
        "(in 1 h). Nothing to do."
    )
    assert (found.waiting_on[0].kind, found.waiting_on[0].position) == ("timer", "2")


@pytest.mark.parametrize("over", [ev.TimerFired(position="2"), ev.TimerCancelled(position="2")])
def test_a_timer_that_is_over_is_not_waited_for(over: Event) -> None:
    found = told(row(worker="w1"), ev.TimerSet(position="2", due=at(500)), over)
    assert [waiting.kind for waiting in found.waiting_on] == ["run"]


def test_of_several_waits_the_one_that_is_due_first_explains_and_all_are_told() -> None:
    facts = row(status="waiting", due_at=at(120))
    timer = ev.TimerSet(at=at(3), position="2", due=at(120))
    found = told(facts, scheduled(), begun(), FAILED, timer)
    assert (found.reason, [w.kind for w in found.waiting_on]) == ("sleeping", ["timer", "retry"])
    assert found.summary.endswith("One other thing is outstanding.")
    later = ev.TimerSet(at=at(3), position="2", due=at(140))
    assert told(facts, scheduled(), begun(), FAILED, later).reason == "retry_scheduled"


def test_what_needs_a_person_comes_before_what_is_due_first() -> None:
    timer = ev.TimerSet(at=at(3), position="2", due=at(101))
    found = told(row(), timer, scheduled(elsewhere=True), tasks=[task(queue="gpu")])
    assert [w.kind for w in found.waiting_on] == ["worker", "timer"]
    assert found.reason == "no_worker"


def test_a_retry_that_was_picked_up_is_running_although_the_row_still_waits() -> None:
    claimed = task(worker="w1", number=2, claimed_at=at(99))
    facts = row(status="waiting", reason="retry_scheduled")
    found = told(facts, scheduled(elsewhere=True), begun(), FAILED, tasks=[claimed])
    assert (found.status, found.reason) == ("running", "step_running")


# ------------------------------------------------------------------------------------------- whatever it is


def test_explaining_ten_thousand_queued_steps_asks_each_queue_once() -> None:
    positions = [f"1.{n}" for n in range(1, 10_001)]

    class Counted(list[str]):
        asked = 0

        def __contains__(self, queue: object) -> bool:
            Counted.asked += 1
            return super().__contains__(queue)

    watched = replace(worker(), queues=Counted(["q"]))
    tasks = [task(position, queue="q") for position in positions]
    found = told(row(), *(scheduled(p, elsewhere=True) for p in positions), tasks=tasks, workers=[watched])
    assert (len(found.waiting_on), Counted.asked) == (10_000, 1)
    assert found.summary.endswith("9999 other things are outstanding.")


EVENTS: list[Event] = [
    scheduled(),
    scheduled("2", "ship", elsewhere=True),
    begun(),
    begun("2", by="w9"),
    FAILED,
    ev.AttemptLost(at=at(3), position="2", number=1, worker="w9"),
    ev.StepCompleted(at=at(4), position="1", result=1),
    ev.StepFailed(at=at(4), position="2", failure=DECLINED),
    ev.StepCancelled(at=at(4), position="2"),
    ev.TimerSet(at=at(5), position="3", due=at(150)),
    ev.TimerFired(at=at(150), position="3"),
    ev.CancelRequested(at=at(6)),
    ev.RunBlocked(at=at(7), reason="code_changed", message="changed"),
    ev.RunUnblocked(at=at(8)),
    ev.AttemptFailed(at=at(3), position="1", number=1, failure=DECLINED, effect="unknown"),
    ev.StepInDoubt(at=at(4), position="1", failure=DECLINED),
    ev.StepResolved(at=at(5), position="1", outcome="applied", actor="ada", note="seen"),
    ev.CompensateStarted(at=at(4), position="2", worker="w9"),
    ev.CompensateEnded(at=at(5), position="2", outcome="retry", retry_at=at(150)),
    ev.RunBlocked(at=at(7), reason="past_pivot", message="a pivot", position="1"),
    ev.StepRetried(at=at(9), position="2", actor="ada", note="mended"),
    ev.RunCompleted(at=at(10)),
    ev.RollbackStarted(at=at(11), cause="operator", number=1),
    ev.RollbackPlanned(at=at(11), number=1, entries=["1"]),
    ev.UndoStarted(at=at(12), entry="1", number=1, worker="w9"),
    ev.UndoFailed(at=at(13), entry="1", number=1, failure=DECLINED, retry_at=at(150)),
    ev.UndoFailed(at=at(13), entry="1", number=1, failure=DECLINED),
    ev.UndoHalted(at=at(14), number=1, reason="undo_failed", entry="1"),
    ev.UndoRetried(at=at(15), entry="1", actor="ada", note="mended"),
    ev.RollbackEnded(at=at(16), number=1, outcome="partial"),
    ev.RunUndone(at=at(17)),
    ev.SignalAwaited(at=at(3), position="4", name="paid", due=at(150)),
    ev.SignalAwaited(at=at(3), position="5", name="go"),
    ev.SignalReceived(at=at(4), name="go"),
    ev.SignalReceived(at=at(4), name="other", key="k"),
    ev.SignalTaken(at=at(5), position="5", name="go", number=1),
    ev.SignalRejected(at=at(5), position="4", name="paid", number=1, message="no"),
    ev.TimerFired(at=at(150), position="4"),
    ev.GateOpened(at=at(3), position="6", gate="approval", name="boss", needed=2, due=at(150)),
    ev.GateOpened(at=at(3), position="7", gate="pause", name="look"),
    ev.VoteCast(at=at(4), position="6", actor="ann", approved=True),
    ev.VoteCast(at=at(4), position="6", actor="bob", approved=False),
    ev.GateDecided(at=at(5), position="6", approved=False, actor="bob"),
    ev.GateDecided(at=at(5), position="7", actor="ann"),
    ev.GateExpired(at=at(150), position="6"),
    ev.TimerCancelled(at=at(5), position="7"),
    ev.RunHeld(at=at(6), actor="ops", note="looking"),
    ev.RunReleased(at=at(7), actor="ops"),
]
TASKS = [
    task("2"),
    task("2", worker="w1", number=1),
    task("2", number=1, due_at=at(130)),
    task("2", queue="gpu", worker="w9", number=2),
    task("2", worker="w1", number=1, spec='{"call": "check"}'),
    task("1", due_at=at(130), spec='{"call": "compensate"}'),
]
LIVE = [status for status in RunStatus if status not in ENDED]


@settings(deadline=None)
@given(
    status=st.sampled_from(LIVE),
    holder=st.sampled_from([None, "w1", "w9"]),
    due=st.sampled_from([None, 50, 150]),
    events=st.lists(st.sampled_from(EVENTS), max_size=10),
    tasks=st.lists(st.sampled_from(TASKS), max_size=1),
    workers=st.sampled_from([[], [worker()], [worker("w9", expires=1)], [worker(steps=[], workflows=[])]]),
)
def test_whatever_was_read_there_is_a_reason_that_fits_the_status(
    status: RunStatus,
    holder: str | None,
    due: float | None,
    events: list[Event],
    tasks: list[TaskRow],
    workers: list[WorkerRow],
) -> None:
    facts = row(status=status.value, worker=holder, due_at=None if due is None else at(due))
    found = told(facts, *events, tasks=tasks, workers=workers)
    assert fits(found.status, found.reason)
    assert found.status is status or found.status in ENDED or not fits(status, found.reason)
    assert found.waiting_on or found.status in ENDED
    assert found.summary
