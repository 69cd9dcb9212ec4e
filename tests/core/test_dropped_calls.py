"""A call that is dropped without being yielded is found, wherever that happens, and named with its line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from squidmesh.core.calls import Call
from squidmesh.core.commands import gather, sleep, spawn
from squidmesh.core.deterministic import discard
from squidmesh.core.workflow import Flow, Workflow, workflow
from tests.core.play import Play, line_of
from tests.core.shop import Rejected, broken, charge, ship

DROPPED: list[Workflow[..., Any]] = []


def dropping(fn: Callable[[], Any]) -> Workflow[..., Any]:
    made: Workflow[..., Any] = workflow(name=f"dropping_{fn.__name__}")(fn)
    DROPPED.append(made)
    return made


@dropping
def bare_statement() -> Flow[None]:
    charge(1)  # here
    yield from ship("a")


@dropping
def bare_statement_after_a_step() -> Flow[None]:
    yield from ship("a")
    charge(1)  # here
    yield from ship("b")


@dropping
def bare_statement_before_the_return() -> Flow[None]:
    yield from ship("a")
    charge(1)  # here


@dropping
def bare_statement_before_a_raise() -> Flow[None]:
    yield from ship("a")
    charge(1)  # here
    raise Rejected


@dropping
def assigned_and_overwritten() -> Flow[None]:
    paid: Any = charge(1)  # here
    paid = yield from ship("a")
    yield from ship(str(paid))


@dropping
def assigned_and_never_used() -> Flow[None]:
    paid = charge(1)  # here  # noqa: F841
    yield from ship("a")


@dropping
def deleted() -> Flow[None]:
    paid = charge(1)  # here
    del paid
    yield from ship("a")


@dropping
def printed() -> Flow[None]:
    str(charge(1))  # here
    yield from ship("a")


@dropping
def formatted() -> Flow[None]:
    text = f"paid: {charge(1)}"  # here
    yield from ship(text)


@dropping
def taken_for_its_truth() -> Flow[None]:
    if charge(1):  # type: ignore[truthy-bool]  # here
        yield from ship("a")
    yield from ship("b")


@dropping
def compared() -> Flow[None]:
    if charge(1) is None:  # here
        return
    yield from ship("b")


@dropping
def comprehension_as_a_statement() -> Flow[None]:
    [charge(n) for n in range(3)]  # here
    yield from ship("a")


@dropping
def comprehension_never_used() -> Flow[None]:
    calls = [charge(n) for n in range(3)]  # here  # noqa: F841
    yield from ship("a")


@dropping
def one_of_a_list() -> Flow[None]:
    calls = [charge(n) for n in range(3)]  # here
    yield from gather(calls[:2])


@dropping
def group_of_calls() -> Flow[None]:
    gather(charge(1), charge(2))  # here
    yield from ship("a")


@dropping
def a_sleep() -> Flow[None]:
    sleep(60)  # here
    yield from ship("a")


@dropping
def a_spawn() -> Flow[None]:
    spawn(charge(1))  # here
    yield from ship("a")


@dropping
def overridden_call() -> Flow[None]:
    charge(1).options(timeout=3)  # here
    yield from ship("a")


@dropping
def in_finally() -> Flow[None]:
    try:
        yield from ship("a")
    finally:
        charge(1)  # here
    yield from ship("b")


@dropping
def in_try() -> Flow[None]:
    try:
        charge(1)  # here
    except ValueError:
        return
    yield from ship("b")


@dropping
def printed_in_try() -> Flow[None]:
    try:
        str(charge(1))  # here
    except ValueError:
        return
    yield from ship("b")


@dropping
def in_a_handler() -> Flow[None]:
    try:
        broken()
    except ValueError:
        charge(1)  # here
    yield from ship("b")


@dropping
def after_a_handler() -> Flow[None]:
    with contextlib.suppress(ValueError):
        broken()
    charge(1)  # here
    yield from ship("b")


@dropping
async def in_an_async_body() -> None:
    charge(1)  # here
    await ship("a")


@dropping
async def assigned_in_an_async_body() -> None:
    paid = charge(1)  # here  # noqa: F841
    await ship("a")


def pay() -> None:
    charge(1)  # in pay


def build() -> Call[int]:
    return charge(1)  # in build


def paying() -> Flow[str]:
    paid = charge(1)  # in paying  # noqa: F841
    return (yield from ship("x"))


@pytest.mark.parametrize("body", DROPPED, ids=lambda w: w.name.removeprefix("dropping_"))
def test_a_call_dropped_without_being_yielded_blocks_the_run_and_names_the_line(body: Workflow[..., Any]) -> None:
    play = Play(body)
    while play.last.blocked is None and play.open:
        (position, *_) = play.open
        node: Any = play.live.open[position]
        play.complete(position, 1 if node.step == "charge" else "ok")
    assert play.blocked.reason == "code_error"
    assert (play.blocked.file, play.blocked.line) == (__file__, line_of(body))
    assert "called but never yielded" in play.blocked.message
    assert f"{__file__}:{line_of(body)}: " in play.blocked.message
    assert "discard(…)" in play.blocked.message


def test_the_fix_is_told_in_the_words_of_the_body() -> None:
    assert "write `yield from charge(…)`" in Play(DROPPED[0]).blocked.message
    told = next(w for w in DROPPED if w.name.endswith("in_an_async_body"))
    assert "write `await charge(…)`" in Play(told).blocked.message


@pytest.mark.parametrize(("helper", "mark"), [(pay, "# in pay"), (build, "# in build")])
def test_a_call_dropped_in_or_by_way_of_a_helper_function_is_found(helper: Callable[[], Any], mark: str) -> None:
    @workflow(name="by_a_helper")
    def body() -> Flow[None]:
        helper()
        yield from ship("a")

    line = helper.__code__.co_firstlineno + 1
    assert (Play(body).blocked.file, Play(body).blocked.line) == (__file__, line)
    with open(__file__, encoding="utf-8") as source:  # noqa: PTH123 - the mark is where the test says
        assert mark in source.readlines()[line - 1]


def test_a_call_that_a_helper_generator_forgets_is_found_when_it_returns() -> None:
    @workflow(name="by_a_helper_generator")
    def body() -> Flow[str]:
        yield from paying()
        return (yield from ship("b"))

    play = Play(body)
    play.complete("1", "x")
    assert play.blocked.line == paying.__code__.co_firstlineno + 1


def test_a_helper_generator_that_is_put_away_by_the_body_gives_up_its_calls() -> None:
    @workflow(name="puts_a_helper_away")
    def body() -> Flow[str]:
        helper = paying()
        command = next(helper)
        discard(command)
        helper.close()
        return (yield from ship("b"))

    play = Play(body)
    assert play.blocked.line == paying.__code__.co_firstlineno + 1
