"""Groups and what runs beside the body: gather, fan_out, race, spawn, one in the other."""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.commands import Pending, fan_out, gather, race, sleep, spawn
from squidmesh.core.failure import describe
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import GatherFailed, StepFailed
from tests.core.play import Play, forward, kinds
from tests.core.shop import charge, ship

# ------------------------------------------------------------------------------------------------- together


@workflow(name="core.three_together")
def three_together() -> Flow[Any]:
    paid, sent, _ = yield from gather(charge(1), ship("a"), sleep(5))
    return [paid, sent]


def test_gather_schedules_all_members_at_positions_under_its_own() -> None:
    assert kinds(Play(three_together).last) == ["StepScheduled 1.1", "StepScheduled 1.2", "TimerSet 1.3"]


@pytest.mark.parametrize("order", [("1.1", "1.2", "1.3"), ("1.3", "1.2", "1.1"), ("1.2", "1.3", "1.1")])
def test_gather_gives_results_in_order_whatever_the_order_of_arrival(order: tuple[str, ...]) -> None:
    play = Play(three_together)
    for position in order:
        assert not play.last.ended
        match position:
            case "1.1":
                play.complete(position, 7)
            case "1.2":
                play.complete(position, "sent")
            case _:
                play.fire(position)
    assert play.result == [7, "sent"]


def test_gather_of_nothing_gives_nothing_at_once() -> None:
    @workflow
    def empty() -> Flow[Any]:
        none = yield from gather()
        empty_list: list[int] = yield from gather([])
        return [len(none), empty_list]

    assert Play(empty).result == [0, []]


def test_a_failed_gather_cancels_what_has_not_begun_and_waits_for_what_has() -> None:
    @workflow
    def failing() -> Flow[Any]:
        try:
            yield from gather(charge(1), charge(2), charge(3), charge(4))
        except GatherFailed as failed:
            return [sorted(failed.failures), failed.results, failed.failures[1].message]

    play = Play(failing)
    for position in ("1.1", "1.2", "1.4"):
        play.begin(position)
    assert kinds(play.fail("1.2", ValueError("two"))) == ["StepCancelled 1.3"]
    assert not play.last.ended
    play.complete("1.1", 1)
    play.fail("1.4", ValueError("four"))
    assert play.result == [[1, 3], {"0": 1}, "two"]


def test_a_step_waiting_for_its_retry_is_given_up_when_its_gather_has_failed() -> None:
    play = Play(three_together)
    play.begin("1.1")
    play.begin("1.2")
    play.fail("1.2")
    retry = ev.AttemptFailed(position="1.1", failure=describe(ValueError()), retry_at=play.time + 5)
    assert kinds(play.feed(retry)) == ["StepCancelled 1.1", "RunFailed"]


def test_a_lost_attempt_is_tried_again_when_its_gather_has_failed_for_that_is_how_its_effect_becomes_known() -> None:
    play = Play(three_together)
    play.begin("1.1")
    play.fail("1.2")
    assert kinds(play.feed(ev.AttemptLost(position="1.1"))) == []
    assert play.open == ["1.1"]
    play.begin("1.1", 2)
    assert forward(play.complete("1.1", 1)) == ["RunFailed"]


def test_tasks_that_are_elsewhere_are_withdrawn_rather_than_cancelled() -> None:
    play = Play(three_together)
    scheduled = play.history[1]
    assert isinstance(scheduled, ev.StepScheduled)
    play.live.feed([ev.StepScheduled(position="1.1", step="charge", input={"cents": 1}, elsewhere=True, seq=2)])
    decision = play.fail("1.2")
    assert decision.withdraw == ("1.1",)
    assert kinds(decision) == ["TimerCancelled 1.3"]
    assert kinds(play.feed(ev.StepCancelled(position="1.1"))) == ["RunFailed"]


def test_groups_nest() -> None:
    @workflow
    def nested() -> Flow[Any]:
        both, won, found = yield from gather(
            gather(charge(1), charge(2)), race(charge(3), sleep(9)), fan_out(charge, [4])
        )
        return [both, won, found.values()]

    play = Play(nested)
    assert kinds(play.last)[:3] == ["StepScheduled 1.1.1", "StepScheduled 1.1.2", "StepScheduled 1.2.1"]
    play.complete("1.3.1", 40)
    play.complete("1.1.2", 20)
    assert kinds(play.fire("1.2.2")) == ["RaceWon 1.2", "StepCancelled 1.2.1"]
    play.complete("1.1.1", 10)
    assert play.result == [[10, 20], [1, None], [40]]


def test_a_failure_in_a_nested_group_stops_the_outer_one() -> None:
    @workflow
    def nested_failing() -> Flow[Any]:
        return (yield from gather(gather(charge(1), charge(2)), charge(3)))

    decision = Play(nested_failing).fail("1.1.1")
    assert kinds(decision) == ["StepCancelled 1.1.2", "StepCancelled 1.2", "RunFailed"]


def test_a_step_that_is_cancelled_in_the_decision_that_schedules_it_is_not_to_be_begun() -> None:
    @workflow
    def stillborn() -> Flow[Any]:
        pending = yield from spawn(charge(1))
        yield from ship("first")
        yield from race(charge(2), pending)
        return "done"

    play = Play(stillborn)
    play.complete("1", 1)
    decision = play.complete("2", "x")
    assert [node.position for node in decision.steps if node.outcome is not None] == []


# --------------------------------------------------------------------------------------------------- fan_out


@workflow(name="core.mapping")
def mapping(items: list[int], limit: int | None = None, tolerate: float = 0) -> Flow[Any]:
    try:
        found = yield from fan_out(charge, items, limit=limit, tolerate=tolerate)
    except GatherFailed as failed:
        return ["failed", sorted(failed.failures), sorted(failed.results)]
    return [found.values(), sorted(found.failures)]


def test_fan_out_without_a_limit_schedules_everything_at_once() -> None:
    assert len(Play(mapping, [1, 2, 3, 4]).last.steps) == 4


def test_fan_out_begins_the_next_member_when_one_settles() -> None:
    play = Play(mapping, [1, 2, 3, 4], limit=2)
    assert kinds(play.last) == ["StepScheduled 1.1", "StepScheduled 1.2"]
    assert kinds(play.complete("1.2", 20)) == ["StepScheduled 1.3"]
    assert kinds(play.complete("1.1", 10)) == ["StepScheduled 1.4"]
    assert kinds(play.complete("1.4", 40)) == []
    play.complete("1.3", 30)
    assert play.result == [[10, 20, 30, 40], []]


def test_fan_out_over_nothing_gives_nothing() -> None:
    assert Play(mapping, []).result == [[], []]


def test_fan_out_tolerates_as_many_failures_as_it_was_told_to() -> None:
    play = Play(mapping, [1, 2, 3], limit=1, tolerate=1)
    assert kinds(play.fail("1.1")) == ["StepScheduled 1.2"]
    play.complete("1.2", 2)
    play.complete("1.3", 3)
    assert play.result == [[2, 3], [0]]


def test_past_what_it_tolerates_a_fan_out_starts_nothing_new_and_fails() -> None:
    play = Play(mapping, [1, 2, 3, 4, 5], limit=2, tolerate=1)
    play.fail("1.1")
    play.begin("1.3")
    assert kinds(play.fail("1.2")) == []
    play.complete("1.3", 3)
    assert play.result == ["failed", [0, 1], [2]]


@pytest.mark.parametrize(("tolerate", "most"), [(0.5, 2), (0.49, 1), (0.25, 1), (0.2, 0), (0, 0), (3, 3)])
def test_a_fraction_of_tolerated_failures_is_of_all_items_rounded_down(tolerate: float, most: int) -> None:
    play = Play(mapping, [1, 2, 3, 4], tolerate=tolerate)
    for n in range(4):
        play.fail(f"1.{n + 1}") if n < most else play.complete(f"1.{n + 1}", n)
    assert play.result == [list(range(most, 4)), list(range(most))]


# ------------------------------------------------------------------------------------------------------ race


@workflow(name="core.racing")
def racing() -> Flow[Any]:
    won = yield from race(charge(1), ship("a"), sleep(60))
    return list(won)


def test_the_first_to_settle_wins_the_race_and_the_others_are_cancelled() -> None:
    play = Play(racing)
    assert kinds(play.complete("1.2", "sent")) == [
        "RaceWon 1", "StepCancelled 1.1", "TimerCancelled 1.3", "RunCompleted",
    ]  # fmt: skip
    assert play.result == [1, "sent"]


def test_a_failure_that_settles_first_is_raised_by_the_race() -> None:
    play = Play(racing)
    play.fail("1.1", ValueError("first"))
    assert play.failure.message == "first"


def test_a_run_does_not_complete_while_a_loser_is_in_flight() -> None:
    play = Play(racing)
    play.begin("1.1")
    assert not play.fire("1.3").ended
    assert forward(play.complete("1.1", 1)) == ["RunCompleted"]
    assert play.result == [2, None]


def test_a_loser_that_fails_later_changes_nothing() -> None:
    play = Play(racing)
    play.begin("1.1")
    play.fire("1.3")
    play.fail("1.1")
    assert play.result == [2, None]


def test_a_group_that_has_lost_a_race_begins_nothing_new() -> None:
    @workflow
    def racing_groups() -> Flow[Any]:
        index, _ = yield from race(fan_out(charge, [1, 2, 3], limit=1), sleep(60))
        return index

    play = Play(racing_groups)
    play.begin("1.1.1")
    play.fire("1.2")
    assert forward(play.complete("1.1.1", 1)) == ["RunCompleted"]
    assert play.result == 1


# ----------------------------------------------------------------------------------------------------- spawn


@workflow(name="core.spawning")
def spawning() -> Flow[Any]:
    pending = yield from spawn(charge(1))
    sent = yield from ship("a")
    paid = yield from pending
    return [isinstance(pending, Pending), sent, paid]


def test_what_is_spawned_runs_beside_the_body() -> None:
    play = Play(spawning)
    assert kinds(play.last) == ["StepScheduled 1", "StepScheduled 2"]
    play.complete("2", "sent")
    assert kinds(play.last) == []
    play.complete("1", 5)
    assert play.result == [True, "sent", 5]


def test_a_pending_that_has_settled_is_given_at_once() -> None:
    play = Play(spawning)
    play.complete("1", 5)
    play.complete("2", "sent")
    assert play.result == [True, "sent", 5]


def test_a_run_does_not_complete_while_something_spawned_is_in_flight() -> None:
    @workflow
    def leaving() -> Flow[str]:
        yield from spawn(charge(1))
        return "left"

    play = Play(leaving)
    assert kinds(play.last) == ["StepScheduled 1"]
    play.complete("1", 1)
    assert play.result == "left"


def test_a_spawned_failure_that_nobody_waited_for_fails_the_run_at_its_end() -> None:
    @workflow
    def neglecting() -> Flow[str]:
        yield from spawn(charge(1))
        return (yield from ship("a"))

    play = Play(neglecting)
    play.fail("1", ValueError("alone"))
    play.complete("2", "sent")
    assert play.failure.message == "alone"


def test_a_spawned_failure_that_was_waited_for_and_caught_is_over() -> None:
    @workflow
    def caring() -> Flow[str]:
        pending = yield from spawn(charge(1))
        try:
            yield from pending
        except StepFailed:
            return "cared"
        return "never"

    play = Play(caring)
    play.fail("1")
    assert play.result == "cared"


def test_gather_and_race_take_what_was_spawned() -> None:
    @workflow
    def gathering_spawned() -> Flow[Any]:
        one = yield from spawn(charge(1))
        two = yield from spawn(charge(2))
        index, _ = yield from race(one, sleep(60))
        both = yield from gather(one, two)
        return [index, *both]

    play = Play(gathering_spawned)
    assert kinds(play.fire("3.2")) == ["RaceWon 3"]
    play.complete("2", 2)
    play.complete("1", 1)
    assert play.result == [1, 1, 2]
