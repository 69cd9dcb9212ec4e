"""What each command decides: a history in, the events that come next out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.commands import log, publish, sleep, sleep_until
from squidmesh.core.failure import describe
from squidmesh.core.interpreter import interpret
from squidmesh.core.retry import Retry
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import StepFailed
from tests.core.play import START, Play, kinds
from tests.core.shop import charge, ship

# ---------------------------------------------------------------------------------------------------- steps


@workflow(name="core.two_steps")
def two_steps(cents: int) -> Flow[str]:
    paid = yield from charge(cents)
    return (yield from ship(f"order of {paid}"))


def test_a_new_run_schedules_its_first_step_with_its_input() -> None:
    play = Play(two_steps, 42)
    (scheduled,) = play.last.events
    assert isinstance(scheduled, ev.StepScheduled)
    assert (scheduled.position, scheduled.step, scheduled.input) == ("1", "charge", {"cents": 42})
    assert [node.position for node in play.last.steps] == ["1"]


def test_a_run_waiting_for_a_step_decides_nothing() -> None:
    play = Play(two_steps, 42)
    assert play.begin("1").events == ()
    assert play.restart().events == ()
    assert play.last.steps == ()


def test_a_result_resumes_the_body_with_the_value() -> None:
    play = Play(two_steps, 42)
    assert kinds(play.complete("1", 40)) == ["StepScheduled 2"]
    assert play.live.open["2"].call.input == {"order": "order of 40"}  # type: ignore[union-attr]


def test_the_last_result_completes_the_run_with_what_the_body_returns() -> None:
    play = Play(two_steps, 42)
    play.complete("1", 40)
    assert play.complete("2", "label").ended
    assert play.result == "label"


def test_options_are_recorded_with_the_step() -> None:
    @workflow
    def with_options() -> Flow[None]:
        yield from charge(1).options(timeout=timedelta(minutes=1), queue="slow", retry=Retry(max_attempts=7))

    (scheduled,) = Play(with_options).last.events
    assert isinstance(scheduled, ev.StepScheduled)
    assert scheduled.options == {"timeout": 60.0, "queue": "slow", "retry": {"max_attempts": 7}}


def test_a_failed_step_is_raised_at_its_line_and_can_be_caught() -> None:
    @workflow
    def catching() -> Flow[str]:
        try:
            yield from charge(1)
        except StepFailed as failed:
            return f"{failed.step} {failed.position} {failed.failure.message}"
        return "never"

    play = Play(catching)
    play.fail("1", ValueError("empty"))
    assert play.result == "charge 1 empty"


def test_a_failed_step_that_is_let_out_fails_the_run_with_the_failure_inside() -> None:
    play = Play(two_steps, 1)
    assert play.fail("1", KeyError("stock")).ended
    assert play.failure.type == "builtins.KeyError"


def test_retries_and_lost_attempts_decide_nothing() -> None:
    play = Play(two_steps, 1)
    play.begin("1")
    failed = ev.AttemptFailed(position="1", number=1, failure=describe(ValueError("x")), retry_at=play.time + 5)
    assert play.feed(failed).events == ()
    play.begin("1", 2)
    assert play.feed(ev.AttemptLost(position="1", number=2)).events == ()
    node: Any = play.live.open["1"]
    assert (node.failed, node.lost, node.running, node.number) == (1, 1, False, 2)


def test_a_checkpoint_is_kept_for_the_next_attempt() -> None:
    play = Play(two_steps, 1)
    play.begin("1")
    play.feed(ev.CheckpointSaved(position="1", value={"page": 3}))
    play.restart()
    node: Any = play.live.open["1"]
    assert node.progress == {"page": 3}


def test_what_a_body_does_to_a_result_stays_in_the_body() -> None:
    @workflow
    def spoiling(items: list[int]) -> Flow[list[int]]:
        items.append(9)
        yield from charge(len(items))
        return items

    play = Play(spoiling, [1])
    started = play.history[0]
    assert isinstance(started, ev.RunStarted)
    assert started.input == {"items": [1]}
    play.restart()
    play.complete("1", 2)
    assert play.result == [1, 9]


# --------------------------------------------------------------------------------------------- time and notes


def test_a_sleep_sets_a_timer_that_is_due_after_its_duration() -> None:
    @workflow
    def sleeping() -> Flow[None]:
        yield from sleep(timedelta(seconds=90))

    play = Play(sleeping)
    (timer,) = play.last.events
    assert timer == ev.TimerSet(position="1", due=play.time + 90_000_000)
    assert play.fire("1").ended


def test_sleep_until_is_due_at_its_instant_and_a_replay_keeps_what_was_set() -> None:
    @workflow
    def waking() -> Flow[None]:
        yield from sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
        yield from sleep(1)

    play = Play(waking)
    (timer,) = play.last.events
    assert timer == ev.TimerSet(position="1", due=1_893_456_000_000_000)
    play.fire("1")
    due = play.live.open["2"].due  # type: ignore[union-attr]
    play.time += 10**9
    play.restart()
    assert play.live.open["2"].due == due  # type: ignore[union-attr]


def test_a_timer_counts_from_the_latest_time_that_is_known() -> None:
    @workflow
    def sleeping_after() -> Flow[None]:
        yield from charge(1)
        yield from sleep(10)

    play = Play(sleeping_after)
    play.live.feed([ev.AttemptStarted(position="1")])  # a fact without a clock does not turn it back
    play.live.feed([ev.StepCompleted(position="1", result=1, at=START)])
    assert play.live.open["2"].due == play.time + 10_000_000  # type: ignore[union-attr]

    late = interpret(
        sleeping_after, [*play.history, ev.StepCompleted(position="1", result=1, at=START + 10**9)], "run-1"
    )
    assert late.events[-1] == ev.TimerSet(position="2", due=START + 10**9 + 10_000_000)


def test_notes_are_recorded_with_the_next_state_change() -> None:
    @workflow
    def noting() -> Flow[None]:
        yield from publish("progress", {"done": 1})
        yield from log("half way", level="warning")
        yield from charge(1)

    play = Play(noting)
    assert play.last.events[:2] == (
        ev.ValuePublished(position="1", name="progress", value={"done": 1}),
        ev.MessageLogged(position="2", message="half way", level="warning"),
    )
    assert play.restart().events == ()


def test_interpret_is_a_function_of_workflow_and_history() -> None:
    play = Play(two_steps, 3)
    play.complete("1", 3)
    first = interpret(two_steps, play.history[:3], "run-1", START)
    assert kinds(first) == ["StepScheduled 2"]
    again = interpret(two_steps, play.history[:3], "run-1", START)
    assert (again.events, again.blocked, again.ended) == (first.events, first.blocked, first.ended)
