"""Code that no longer yields what its history says is found by position, kind, name and input, and its line named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.commands import fan_out, gather, log, publish, sleep, spawn
from squidmesh.core.deterministic import patched
from squidmesh.core.workflow import Flow, Workflow
from tests.core.play import Play, kinds, line_of
from tests.core.shop import charge, ship


def paying() -> Flow[int]:
    return (yield from charge(2))


def shipping() -> Flow[str]:
    return (yield from ship("a"))  # in the helper


def before() -> Flow[None]:
    yield from charge(1)
    yield from sleep(1)
    yield from paying()
    yield from ship("done")


def played(body: Callable[[], Any], *steps: str) -> Play:
    """A run of ``body`` for which these positions have settled, in that order."""
    play = Play(Workflow(body, name="changing"))
    for position in steps:
        match next(e for e in play.history if getattr(e, "position", "") == position):
            case ev.TimerSet():
                play.fire(position)
            case ev.StepScheduled(step="charge"):
                play.complete(position, 1)
            case _:
                play.complete(position, "x")
    return play


def told(play: Play, after: Callable[[], Any], position: str) -> str:
    """What is said of this run when the code has become ``after``; the line is the one that is marked."""
    mended: Workflow[..., Any] = Workflow(after, name="changing")
    play.restart(mended)
    blocked = play.blocked
    assert (blocked.reason, blocked.position) == ("code_changed", position)
    assert (blocked.file, blocked.line) == (__file__, line_of(mended))
    prefix, between, said = blocked.message.partition(f" at position {position}; {__file__}:{line_of(mended)} now ")
    assert between, blocked.message
    return f"{prefix} / {said}"


def test_another_step_at_the_position_is_named_with_both_calls() -> None:
    def after() -> Flow[None]:
        yield from charge(1)
        yield from sleep(1)
        yield from ship("early")  # here

    assert told(played(before, "1", "2"), after, "3") == "history has `charge` / yields `ship`"


def test_the_line_is_right_for_a_plain_yield() -> None:
    def after() -> Any:
        yield charge(1)
        yield sleep(1)
        yield ship("early")  # here

    assert told(played(before, "1", "2"), after, "3") == "history has `charge` / yields `ship`"


def test_the_line_is_right_for_an_await() -> None:
    async def after() -> None:
        await charge(1)
        await sleep(1)
        await ship("early")  # here

    assert told(played(before, "1", "2"), after, "3") == "history has `charge` / yields `ship`"


def test_the_line_is_right_in_a_helper_generator() -> None:
    def after() -> Flow[None]:
        yield from charge(1)
        yield from sleep(1)
        yield from shipping()

    play = played(before, "1", "2")
    play.restart(Workflow(after, name="changing"))
    assert (play.blocked.line, play.blocked.function) == (shipping.__code__.co_firstlineno + 1, "shipping")


def test_the_line_is_right_in_an_async_helper() -> None:
    async def helper() -> None:
        await ship("early")

    async def after() -> None:
        await charge(1)
        await sleep(1)
        await helper()

    play = played(before, "1", "2")
    play.restart(Workflow(after, name="changing"))
    assert (play.blocked.line, play.blocked.function) == (helper.__code__.co_firstlineno + 1, helper.__qualname__)


def test_another_kind_of_command_is_named() -> None:
    def after() -> Flow[None]:
        yield from charge(1)
        yield from charge(3)  # here

    assert told(played(before, "1", "2"), after, "2") == "history has `sleep` / yields `charge`"


def test_a_changed_input_is_named_with_what_differs_only() -> None:
    def after() -> Flow[None]:
        yield from charge(100)  # here

    assert (
        told(played(before, "1"), after, "1")
        == 'history has `charge` with {"cents":1} / yields `charge` with {"cents":100}'
    )


def test_a_secret_in_a_changed_input_is_not_told() -> None:
    from pydantic import SecretStr

    from squidmesh.core.step import step

    @step(name="login")
    def login(password: SecretStr) -> None: ...

    def first() -> Flow[None]:
        yield from login(SecretStr("first"))

    def after() -> Flow[None]:
        yield from login(SecretStr("other"))  # here

    said = told(played(first), after, "1")
    assert "first" not in said
    assert "other" not in said


def test_a_body_that_ends_early_is_told_what_it_left_out() -> None:
    def after() -> Flow[None]:
        yield from charge(1)

    play = played(before, "1")
    play.restart(Workflow(after, name="changing"))
    assert play.blocked.position == "2"
    assert play.blocked.message.startswith("history has `sleep` at position 2; ")
    assert play.blocked.message.endswith("now ends before it")


def test_a_command_less_in_the_middle_is_found_at_the_next_one() -> None:
    def after() -> Flow[None]:
        yield from sleep(1)  # here

    assert told(played(before, "1"), after, "1") == "history has `charge` / yields `sleep`"


def test_a_command_more_at_the_end_of_history_is_new_and_no_difference() -> None:
    def after() -> Flow[None]:
        yield from charge(1)
        yield from sleep(1)
        yield from charge(2)
        yield from gather(ship("a"), ship("b"))

    play = played(before, "1", "2")
    assert play.restart(Workflow(after, name="changing")).events == ()
    assert kinds(play.complete("3", 2)) == ["StepScheduled 4.1", "StepScheduled 4.2"]


def test_a_run_that_has_ended_needs_its_code_no_more() -> None:
    def short() -> Flow[None]:
        yield from charge(1)

    def after() -> Flow[None]:
        yield from charge(1)
        yield from ship("more")

    play = played(short, "1")
    assert play.restart(Workflow(after, name="changed_after_its_end")).ended
    assert play.last.events == ()


def test_a_group_where_a_step_was_is_told_by_its_first_member() -> None:
    def after() -> Flow[None]:
        yield from gather(ship("a"), charge(1))  # here

    assert told(played(before), after, "1") == "history has `charge` / yields `ship`"


def test_a_step_where_a_group_was_is_told_by_the_first_member_of_the_group() -> None:
    def first() -> Flow[None]:
        yield from gather(ship("a"), charge(1))

    def after() -> Flow[None]:
        yield from charge(1)  # here

    assert told(played(first), after, "1.1") == "history has `ship` / yields `charge`"


def test_a_group_with_a_member_less_is_found() -> None:
    def first() -> Flow[None]:
        yield from gather(charge(1), charge(2), charge(3))
        yield from ship("a")

    def after() -> Flow[None]:
        yield from gather(charge(1), charge(2))
        yield from ship("a")

    play = played(first, "1.1", "1.2", "1.3")
    play.restart(Workflow(after, name="changing"))
    assert (play.blocked.reason, play.blocked.position) == ("code_changed", "1.3")


def test_an_item_of_a_fan_out_that_changed_is_found_when_its_turn_comes() -> None:
    def first() -> Flow[None]:
        yield from fan_out(charge, [1, 2, 3], limit=1)

    def after() -> Flow[None]:
        yield from fan_out(charge, [1, 2, 9], limit=1)  # here

    said = told(played(first, "1.1", "1.2"), after, "1.3")
    assert said == 'history has `charge` with {"cents":3} / yields `charge` with {"cents":9}'


def test_another_name_published_is_found() -> None:
    def first() -> Flow[None]:
        yield from publish("progress", 1)
        yield from charge(1)

    def after() -> Flow[None]:
        yield from publish("state", 1)  # here
        yield from charge(1)

    assert told(played(first), after, "1") == "history has `publish` of 'progress' / yields `publish` of 'state'"


def test_an_outcome_of_a_step_that_the_code_does_not_yield_any_more_is_found() -> None:
    def first() -> Flow[None]:
        yield from spawn(charge(1))
        yield from sleep(9)

    def after() -> Flow[None]:
        yield from log("no charge now")
        yield from sleep(9)

    play = played(first)
    play.restart(Workflow(after, name="changing"))
    assert (play.blocked.reason, play.blocked.position) == ("code_changed", "1")


@pytest.mark.parametrize("change", ["a longer sleep", "another value published", "another text logged", "options"])
def test_what_may_change_does_not_matter(change: str) -> None:
    def body(seconds: float, value: int, text: str, timeout: float) -> Callable[[], Flow[None]]:
        def run() -> Flow[None]:
            yield from publish("progress", value)
            yield from log(text)
            yield from charge(1).options(timeout=timeout)
            yield from sleep(seconds)

        return run

    play = played(body(1, 1, "a", 1), "3")
    play.restart(Workflow(body(2, 2, "b", 2), name="changing"))
    assert play.last.blocked is None, change
    assert play.last.events == ()


# ------------------------------------------------------------------------------------------------------ patched


def patched_body() -> Flow[str]:
    yield from charge(1)
    if patched("ship-first"):
        yield from ship("first")
    yield from charge(2)
    return "new" if patched("ship-first") else "old"


def unpatched_body() -> Flow[str]:
    yield from charge(1)
    yield from charge(2)
    return "old"


def test_a_run_past_the_place_of_a_patch_keeps_the_old_branch() -> None:
    play = played(unpatched_body, "1")
    assert play.restart(Workflow(patched_body, name="changing")).events == ()
    play.complete("2", 2)
    assert play.result == "old"
    assert play.restart().blocked is None


def test_a_run_before_the_place_of_a_patch_takes_the_new_branch_and_records_it() -> None:
    play = played(unpatched_body)
    play.restart(Workflow(patched_body, name="changing"))
    assert kinds(play.complete("1", 1)) == ["PatchTaken 2", "StepScheduled 2"]
    play.restart(Workflow(patched_body, name="changing"))
    assert play.last.events == ()
    play.complete("2", "x")
    play.complete("3", 1)
    assert play.result == "new"


def test_a_run_that_has_ended_takes_no_patch() -> None:
    def first() -> Flow[str]:
        yield from charge(1)
        return "old"

    def after() -> Flow[str]:
        yield from charge(1)
        return "new" if patched("late") else "old"

    play = played(first, "1")
    assert play.restart(Workflow(after, name="changing")).events == ()
    assert play.last.blocked is None
