"""Every ending of a run: completed, failed, cancelled, out of time, and with things in flight."""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.applying import DEADLINE
from squidmesh.core.commands import fan_out, gather, publish, race, sleep, spawn
from squidmesh.core.deterministic import now, patched
from squidmesh.core.standing import standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import WorkflowError
from tests.core.play import START, Play, forward, kinds
from tests.core.shop import Rejected, charge, ship

# --------------------------------------------------------------------------------- failed, with things in flight


def test_a_business_failure_waits_for_what_is_in_flight_and_cancels_what_has_not_begun() -> None:
    @workflow
    def rejecting() -> Flow[None]:
        yield from spawn(charge(1))
        yield from spawn(charge(2))
        yield from ship("a")
        raise Rejected("no stock")

    play = Play(rejecting)
    play.begin("1")
    assert kinds(play.complete("3", "x")) == ["StepCancelled 2"]
    assert standing(play.live).status is RunStatus.UNDOING
    assert standing(play.live).reason is Reason.DRAINING
    assert forward(play.complete("1", 1)) == ["RunFailed"]
    assert play.failure.message == "no stock"
    assert play.restart().events == ()


def test_an_exception_named_in_fail_on_ends_the_run_as_failed() -> None:
    @workflow(fail_on=LookupError)
    def looking() -> Flow[None]:
        yield from charge(1)
        raise KeyError("gone")

    play = Play(looking)
    play.complete("1", 1)
    assert play.failure.type == "builtins.KeyError"


def test_a_secret_of_the_input_is_scrubbed_from_the_failure() -> None:
    from pydantic import SecretStr

    @workflow
    def leaking(password: SecretStr) -> Flow[None]:
        yield from charge(1)
        raise Rejected(f"bad password {password.get_secret_value()}")

    play = Play(leaking, SecretStr("hunter22"))
    play.complete("1", 1)
    assert "hunter22" not in play.failure.message


# ----------------------------------------------------------------------------------------------------- cancelled


def test_a_cancelled_run_ends_at_once_when_nothing_is_in_flight() -> None:
    @workflow
    def idle() -> Flow[None]:
        yield from sleep(60)

    play = Play(idle)
    assert kinds(play.cancel()) == ["TimerCancelled 1", "RunCancelled"]
    assert play.last.events[-1] == ev.RunCancelled(at=play.time, actor="ann", note="enough")
    assert play.last.ended


@pytest.mark.parametrize(
    "command",
    [
        lambda: gather(charge(1), charge(2), sleep(3)),
        lambda: fan_out(charge, [1, 2, 3, 4], limit=2),
        lambda: fan_out(charge, [1, 2, 3, 4], limit=2, tolerate=3),
        lambda: race(charge(1), gather(charge(2), sleep(3))),
        lambda: gather(race(charge(1), charge(2)), fan_out(charge, [1, 2, 3], limit=1)),
    ],
    ids=["gather", "fan_out", "tolerant fan_out", "race", "nested"],
)
def test_a_run_cancelled_in_a_group_cancels_its_members_and_begins_no_others(command: Any) -> None:
    @workflow(name="cancelled_in_a_group")
    def body() -> Flow[None]:
        yield from command()

    play = Play(body)
    members = play.open
    decision = play.cancel()
    assert decision.ended
    assert decision.steps == ()
    assert sorted(kinds(decision)) == sorted(
        [f"{'Timer' if m in ('1.3', '1.2.2') and 'TimerSet' in str(play.history) and _is_timer(play, m) else 'Step'}"
         f"Cancelled {m}" for m in members] + ["RunCancelled"]
    )  # fmt: skip
    assert play.restart().events == ()
    assert play.last.ended


def _is_timer(play: Play, position: str) -> bool:
    return any(isinstance(e, ev.TimerSet) and e.position == position for e in play.history)


def test_a_cancelled_run_waits_for_what_is_in_flight() -> None:
    @workflow
    def busy() -> Flow[None]:
        yield from fan_out(charge, [1, 2, 3, 4], limit=2)

    play = Play(busy)
    play.begin("1.1")
    assert kinds(play.cancel()) == ["StepCancelled 1.2"]
    assert not play.last.ended
    assert forward(play.complete("1.1", 1)) == ["RunCancelled"]


def test_the_body_of_a_cancelled_run_is_not_resumed_and_what_it_yields_is_discarded() -> None:
    seen: list[str] = []

    @workflow
    def cleaning() -> Flow[None]:
        try:
            yield from charge(1)
            seen.append("resumed")
        finally:
            seen.append("put away")
            patched("late")
            yield from publish("late", 1)
            seen.append("published")

    play = Play(cleaning)
    play.begin("1")
    assert kinds(play.cancel()) == []
    assert forward(play.complete("1", 1)) == ["RunCancelled"]
    assert seen == ["put away"]


def test_a_run_that_swallows_its_closing_is_let_be() -> None:
    @workflow
    def clinging() -> Flow[None]:
        while True:
            try:
                yield from sleep(5)
            except GeneratorExit:
                break
        yield from charge(1)

    assert Play(clinging).cancel().ended


def test_a_second_cancel_changes_nothing() -> None:
    @workflow
    def twice() -> Flow[None]:
        yield from charge(1)

    play = Play(twice)
    play.begin("1")
    play.cancel()
    assert play.cancel().events == ()
    play.complete("1", 1)
    assert [event.kind for event in play.history].count("RunCancelled") == 1


def test_a_run_that_waits_only_for_what_it_spawned_can_still_be_cancelled() -> None:
    @workflow
    def over() -> Flow[str]:
        yield from spawn(charge(1))
        return "over"

    assert kinds(Play(over).cancel()) == ["StepCancelled 1", "RunCancelled"]


# --------------------------------------------------------------------------------------------------- out of time


def test_past_its_deadline_a_run_fails_and_cancels_what_has_not_begun() -> None:
    @workflow
    def slow() -> Flow[None]:
        yield from gather(charge(1), sleep(600))

    play = Play(slow, deadline=START + 60_000_000)
    assert standing(play.live).due == START + 60_000_000
    play.begin("1.1")
    assert kinds(play.fire(DEADLINE)) == ["TimerCancelled 1.2"]
    assert forward(play.complete("1.1", 1)) == ["RunFailed"]
    assert play.failure.type == "squidmesh.errors.DeadlineExceeded"
    assert play.restart().events == ()


def test_a_workflow_error_raised_before_the_first_command_fails_the_run() -> None:
    @workflow
    def refusing() -> Flow[None]:
        if now().year > 1970:
            raise WorkflowError("closed today")
        yield from charge(1)

    assert Play(refusing).failure.message == "closed today"
