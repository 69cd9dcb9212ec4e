"""What becomes of a step whose attempts are spent: check, compensate, a person; and what may be left of it."""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.commands import gather, sleep
from squidmesh.core.effects import Effect, after
from squidmesh.core.nodes import CHECK, COMPENSATE, StepNode
from squidmesh.core.standing import standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import StepFailed
from tests.core.play import Play, forward, kinds, listed
from tests.core.sagashop import asked, attempted, book, load, mail, once, row

BY: dict[str, Any] = {"actor": "ann", "note": "I have looked"}


def calling(step: Any) -> Play:
    @workflow(name="settling")
    def settling() -> Flow[Any]:
        try:
            return (yield from step(1))
        except StepFailed as error:
            return str(error.failure.message)

    return Play(settling)


def node_of(play: Play, position: str = "1") -> StepNode:
    node = play.live.open[position]
    assert isinstance(node, StepNode)
    return node


def test_a_step_whose_attempts_are_spent_has_failed_with_what_may_be_left_of_it() -> None:
    play = calling(book)
    play.spend("1", "partial")
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["partial"]
    assert play.result == "no"


@pytest.mark.parametrize("effect", ["unknown", "partial", "applied"])
def test_check_is_asked_about_an_effect_that_is_not_certain(effect: str) -> None:
    play = calling(asked)
    assert kinds(play.spend("1", effect)) == []
    assert [node.position for node in play.last.steps] == ["1"]
    assert node_of(play).stage == CHECK


def test_check_is_not_asked_about_a_step_that_left_nothing() -> None:
    assert calling(asked).spend("1", "none").ended


def test_what_check_says_was_applied_is_completed() -> None:
    play = calling(asked)
    play.spend("1", "unknown")
    assert forward(play.feed(ev.StepChecked(position="1", outcome="applied", result=7))) == [
        "StepCompleted 1",
        "RunCompleted",
    ]
    assert play.result == 7


def test_what_check_says_was_not_applied_has_failed_and_left_nothing() -> None:
    play = calling(asked)
    play.spend("1", "unknown")
    play.feed(ev.StepChecked(position="1", outcome="not_applied"))
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["none"]


def test_where_check_cannot_tell_a_step_that_is_not_idempotent_is_in_doubt_and_a_person_is_asked() -> None:
    play = calling(asked)
    play.spend("1", "unknown")
    assert kinds(play.feed(ev.StepChecked(position="1", outcome="still_unknown"))) == ["StepInDoubt 1"]
    assert standing(play.live).status is RunStatus.BLOCKED
    assert standing(play.live).reason is Reason.STEP_IN_DOUBT
    assert play.restart().events == ()
    play.says(ev.StepResolved(position="1", outcome="applied", result=4, **BY))
    assert play.result == 4


def test_what_a_person_says_was_not_applied_has_failed_and_left_nothing() -> None:
    play = calling(mail)
    play.begin("1")
    assert kinds(play.feed(ev.AttemptLost(position="1", number=1, final=True))) == ["StepInDoubt 1"]
    play.says(ev.StepResolved(position="1", outcome="not_applied", **BY))
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["none"]
    assert "not idempotent" in play.result


def test_a_step_that_is_not_idempotent_and_left_nothing_has_simply_failed() -> None:
    assert calling(once).spend("1", "none").ended


@pytest.mark.parametrize("effect", ["none", "unknown"])
def test_compensate_is_called_at_every_final_failure(effect: str) -> None:
    play = calling(load)
    assert kinds(play.spend("1", effect)) == []
    assert node_of(play).stage == COMPENSATE
    assert play.restart().events == ()
    assert node_of(play).stage == COMPENSATE


def compensated(play: Play, outcome: str, **told: Any) -> list[str]:
    play.feed(ev.CompensateStarted(position="1", cycle=node_of(play).cycle))
    return forward(play.feed(ev.CompensateEnded(position="1", outcome=outcome, cycle=node_of(play).cycle, **told)))


def test_a_compensate_may_finish_the_job() -> None:
    play = calling(load)
    play.spend("1", "partial")
    assert compensated(play, "completed", result=3) == ["StepCompleted 1", "RunCompleted"]
    play.says(ev.RollbackStarted(cause="operator", **BY))
    assert listed(play.report) == {"pending": ["1"]}


def test_after_a_compensate_that_cleaned_up_the_step_fails_with_its_own_failure_and_nothing_is_left() -> None:
    play = calling(load)
    play.spend("1", "partial", LookupError("the disk is full"))
    assert compensated(play, "cleaned", note="removed") == ["StepFailed 1", "RunCompleted"]
    assert play.result == "the disk is full"
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["none"]


def test_a_compensate_that_fails_itself_leaves_the_effect_unaccounted_for() -> None:
    play = calling(load)
    play.spend("1", "none")
    compensated(play, "failed")
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["unknown"]


def test_a_lost_compensate_is_called_again() -> None:
    play = calling(load)
    play.spend("1", "unknown")
    assert compensated(play, "lost") == []
    assert node_of(play).stage == COMPENSATE
    assert not node_of(play).running
    assert compensated(play, "cleaned") == ["StepFailed 1", "RunCompleted"]


def test_a_compensate_asks_for_as_many_cycles_as_the_step_allows() -> None:
    play = calling(load)
    play.spend("1", "unknown")
    later = play.time + 5_000_000
    assert compensated(play, "retry", retry_at=later) == []
    node = node_of(play)
    assert (node.stage, node.cycle, node.failed, node.retry_at) == ("attempt", 2, 0, later)
    assert standing(play.live).due == later
    play.begin("1", 2)
    play.spend("1", "unknown")
    assert node_of(play).stage == COMPENSATE
    assert compensated(play, "retry", retry_at=play.time) == ["StepFailed 1", "RunCompleted"]
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["unknown"]


def test_a_fresh_cycle_may_complete_the_step() -> None:
    play = calling(load)
    play.spend("1", "partial")
    compensated(play, "retry", retry_at=play.time)
    play.restart()
    play.begin("1", 2)
    play.complete("1", 8)
    assert play.result == 8


def test_while_a_run_drains_a_compensate_gets_no_further_cycle() -> None:
    @workflow
    def settling_draining() -> Flow[None]:
        yield from gather(load(1), sleep(60))

    play = Play(settling_draining)
    play.begin("1.1")
    play.cancel()
    assert kinds(play.spend("1.1", "partial")) == []
    play.feed(ev.CompensateStarted(position="1.1"))
    play.feed(ev.CompensateEnded(position="1.1", outcome="retry", retry_at=play.time))
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["partial"]
    assert play.last.ended
    assert listed(play.report) == {"unaccounted": ["1.1"]}


def test_a_transactional_step_is_never_in_doubt() -> None:
    play = calling(row)
    play.begin("1")
    play.feed(ev.AttemptLost(position="1", number=1, final=True))
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["none"]


def test_a_later_attempt_of_an_idempotent_step_says_what_is_left() -> None:
    play = calling(attempted)
    play.begin("1")
    play.feed(ev.AttemptLost(position="1", number=1))
    play.begin("1", 2)
    play.spend("1", "none")
    assert [e.effect for e in play.history if isinstance(e, ev.StepFailed)] == ["none"]


NONE, PARTIAL, UNKNOWN, APPLIED = Effect


@pytest.mark.parametrize(
    ("before", "latest", "idempotent", "left"),
    [
        (NONE, UNKNOWN, True, UNKNOWN),
        (UNKNOWN, NONE, True, NONE),
        (UNKNOWN, PARTIAL, True, PARTIAL),
        (APPLIED, UNKNOWN, True, APPLIED),
        (UNKNOWN, NONE, False, UNKNOWN),
        (PARTIAL, NONE, False, PARTIAL),
    ],
)
def test_over_several_attempts_the_worst_counts_unless_the_same_key_has_answered(
    before: Effect, latest: Effect, idempotent: bool, left: Effect
) -> None:
    assert after(before, latest, idempotent=idempotent) is left
