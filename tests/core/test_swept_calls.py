"""A call that is discarded, or swept off by an exception, is no mistake of anybody."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.calls import Call
from squidmesh.core.commands import fan_out, gather, race, sleep, spawn
from squidmesh.core.deterministic import discard
from squidmesh.core.workflow import Flow, Workflow, workflow
from squidmesh.errors import DefinitionError, WorkflowError
from tests.core.play import Play, line_of
from tests.core.shop import Rejected, broken, charge, ship

FINE: list[Workflow[..., Any]] = []


def fine(fn: Callable[[], Any]) -> Workflow[..., Any]:
    made: Workflow[..., Any] = workflow(name=f"fine_{fn.__name__}", fail_on=KeyError)(fn)
    FINE.append(made)
    return made


@fine
def discarded() -> Flow[str]:
    discard(charge(1))
    calls = [charge(n) for n in range(3)]
    for call in calls:
        discard(call)
    discard(gather(charge(1), sleep(1)))
    return (yield from ship("a"))


@fine
def swept_off_by_an_exception_in_the_expression() -> Flow[str]:
    try:
        yield from gather(charge(1), ship(broken()))
    except ValueError:
        return (yield from ship("caught"))
    return "never"


@fine
def swept_off_by_invalid_arguments() -> Flow[str]:
    try:
        yield from gather(charge(1), charge("many"))  # type: ignore[arg-type]
    except ValueError as refused:
        return (yield from ship(type(refused).__name__))
    return "never"


@fine
def swept_off_inside_a_helper_function() -> Flow[str]:
    def pick() -> Call[int]:
        paid = charge(1)
        broken()
        return paid

    try:
        yield from pick()
    except ValueError as error:
        return (yield from ship(str(error)))
    return "never"


@fine
def swept_off_and_suppressed() -> Flow[str]:
    def pick() -> Call[int]:
        paid = charge(1)
        broken()
        return paid

    with contextlib.suppress(ValueError):
        yield from pick()
    try:
        yield from pick()
    except ValueError as error:
        del error
    for _ in range(2):
        try:
            yield from pick()
        except ValueError:
            continue
    return (yield from ship("a"))


@fine
def swept_off_in_a_fan_out() -> Flow[str]:
    def call(n: int) -> Call[int]:
        return charge(n if n < 2 else broken())

    with contextlib.suppress(ValueError):
        yield from fan_out(call, [0, 1, 2])
    return (yield from ship("a"))


@fine
def swept_off_with_a_comprehension() -> Flow[str]:
    with contextlib.suppress(ValueError):
        yield from gather(charge(0), *[charge(n if n < 2 else broken()) for n in range(3)])
    try:
        yield from gather([charge(n if n < 2 else broken()) for n in range(3)])
    except ValueError as error:
        del error
    return (yield from ship("a"))


@fine
def swept_off_by_a_refused_group() -> Flow[str]:
    with contextlib.suppress(DefinitionError):
        yield from gather(charge(1), 3)  # type: ignore[call-overload]
    return (yield from ship("a"))


@fine
def swept_off_by_a_failed_step() -> Flow[str]:
    def helper() -> Flow[int]:
        later = charge(2)
        yield from ship("fails")
        return (yield from later)

    try:
        yield from helper()
    except WorkflowError:
        return (yield from ship("after"))
    return "never"


@fine
def beneath_a_failed_step() -> Flow[str]:
    try:
        yield from gather(charge(1), ship((yield from ship("fails"))))
    except WorkflowError:
        return (yield from ship("after"))
    return "never"


@fine
async def swept_off_in_an_async_body() -> str:
    try:
        await gather(charge(1), ship(broken()))
    except ValueError:
        return await ship("caught")
    return "never"


@fine
def kept_for_later() -> Flow[str]:
    call = ship("later")
    yield from ship("now")
    gc.collect()
    return (yield from call)


@fine
def given_in_every_way() -> Flow[str]:
    yield from race(ship("a"), sleep(5))
    pending = yield from spawn(charge(1).options(timeout=2))
    yield from gather([ship("a"), pending])
    yield charge(1)
    return (yield from ship("z"))


@pytest.mark.parametrize("body", FINE, ids=lambda w: w.name.removeprefix("fine_"))
def test_a_call_that_is_discarded_or_swept_off_by_an_exception_is_no_mistake(body: Workflow[..., Any]) -> None:
    play = Play(body)
    while not play.last.ended:
        assert play.last.blocked is None, play.last.blocked
        (position, *_) = play.open
        node: Any = play.live.open[position]
        if node.call.input == {"order": "fails"}:
            play.fail(position)
        else:
            play.complete(position, 1 if node.step == "charge" else "ok")
    assert play.result == "ok"


def test_an_error_that_ends_the_body_is_told_rather_than_the_call_it_swept_off() -> None:
    @workflow
    def sweeping() -> Flow[None]:
        yield from gather(charge(1), len(charge(2)))  # type: ignore[arg-type, call-overload]  # here

    blocked = Play(sweeping).blocked
    assert "TypeError" in blocked.message
    assert blocked.line == line_of(sweeping)


def test_a_business_failure_passes_over_a_call_on_its_way() -> None:
    def reject() -> str:
        raise Rejected("no")

    @workflow
    def rejecting() -> Flow[None]:
        yield from gather(charge(1), ship(reject()))

    assert Play(rejecting).failure.message == "no"


def test_calls_of_a_body_that_is_put_away_are_no_mistake() -> None:
    @workflow
    def put_away() -> Flow[None]:
        later = charge(1)
        try:
            yield from ship("a")
        finally:
            charge(2)
            yield from ship("never recorded")
        yield from later

    play = Play(put_away)
    play.begin("1")
    play.cancel()
    assert play.complete("1", "a").blocked is None
    assert [event.position for event in play.history if isinstance(event, ev.StepScheduled)] == ["1"]
    assert play.last.ended


def test_outside_a_workflow_a_call_may_be_dropped() -> None:
    charge(1)
    assert charge(1).taken
