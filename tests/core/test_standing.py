"""Where a run stands when it is let go: status, reason, and when somebody must look again."""

from __future__ import annotations

from squidmesh.core import events as ev
from squidmesh.core.commands import gather, sleep
from squidmesh.core.failure import describe
from squidmesh.core.standing import Standing, standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.workflow import Flow, workflow
from tests.core.play import START, Play
from tests.core.shop import charge


@workflow(name="core.standing")
def two_and_a_timer() -> Flow[None]:
    yield from gather(charge(1), charge(2), sleep(60))


def again(play: Play, position: str, after: int) -> int:
    """An attempt has failed and is to be tried again; gives when."""
    due = play.time + after
    play.begin(position)
    play.feed(ev.AttemptFailed(position=position, failure=describe(ValueError()), retry_at=due))
    return due


def timer_of(play: Play) -> int:
    return next(event.due for event in play.history if isinstance(event, ev.TimerSet))


def test_a_step_that_nobody_has_begun_is_queued() -> None:
    play = Play(two_and_a_timer)
    assert standing(play.live) == Standing(RunStatus.RUNNING, Reason.STEP_QUEUED, timer_of(play))


def test_a_step_that_runs_outweighs_one_that_waits_in_either_order() -> None:
    for position in ("1.1", "1.2"):
        play = Play(two_and_a_timer)
        play.begin(position)
        assert standing(play.live).reason is Reason.STEP_RUNNING


def test_with_nothing_but_retries_and_timers_a_run_waits_for_the_earliest() -> None:
    play = Play(two_and_a_timer)
    play.complete("1.1", 1)
    due = again(play, "1.2", 5_000_000)
    assert standing(play.live) == Standing(RunStatus.WAITING, Reason.RETRY_SCHEDULED, due)
    again(play, "1.2", 90_000_000)
    assert standing(play.live) == Standing(RunStatus.WAITING, Reason.SLEEPING, timer_of(play))


def test_a_retry_that_a_task_has_is_not_due_for_the_holder() -> None:
    play = Play(two_and_a_timer)
    play.complete("1.1", 1)
    play.live.feed([ev.StepScheduled(position="1.2", step="charge", input={"cents": 2}, elsewhere=True)])
    again(play, "1.2", 5_000_000)
    assert standing(play.live) == Standing(RunStatus.WAITING, Reason.RETRY_SCHEDULED, timer_of(play))


def test_the_deadline_of_a_run_is_due_like_a_timer() -> None:
    play = Play(two_and_a_timer, deadline=START + 30_000_000)
    assert standing(play.live).due == START + 30_000_000


def test_a_run_that_is_ending_drains_and_its_deadline_is_over() -> None:
    play = Play(two_and_a_timer, deadline=START + 30_000_000)
    play.begin("1.1")
    play.cancel()
    assert standing(play.live) == Standing(RunStatus.UNDOING, Reason.DRAINING, None)
