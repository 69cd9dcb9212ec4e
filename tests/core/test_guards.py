"""Each mistake that Python lets pass in silence is answered with the place and what to write instead."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from squidmesh.core.commands import gather, race, sleep, spawn
from squidmesh.core.step import step
from squidmesh.core.stepcontext import current_step
from squidmesh.core.workflow import Flow, Workflow, workflow
from squidmesh.errors import DefinitionError
from tests.core.play import Play, line_of
from tests.core.shop import ship

# ------------------------------------------------------------------------------- what is yielded, and returned


def helper_flow() -> Flow[str]:
    return (yield from ship("x"))


async def helper_coroutine() -> str:
    return await ship("x")


def blocked_by(body: Any) -> str:
    """The message of a body that is refused at its marked line."""
    made: Workflow[..., Any] = Workflow(body)
    blocked = Play(made).blocked
    assert blocked.reason == "code_error"
    assert (blocked.file, blocked.line, blocked.function) == (__file__, line_of(made), body.__qualname__)
    assert f"{__file__}:{blocked.line}" in blocked.message
    return blocked.message


def test_a_foreign_value_yielded_is_named_with_the_line() -> None:
    def body() -> Iterator[Any]:
        yield 41 + 1  # here

    assert "yields 42, which is not a command: yield the call of a step" in blocked_by(body)


def test_a_foreign_value_yielded_by_a_helper_is_named_with_the_line_of_the_helper() -> None:
    def helper() -> Iterator[Any]:
        yield "soup"

    @workflow
    def relaying() -> Flow[None]:
        yield from helper()

    blocked = Play(relaying).blocked
    assert (blocked.line, blocked.function) == (helper.__code__.co_firstlineno + 1, helper.__qualname__)


def test_a_generator_yielded_itself_is_told_to_be_yielded_from() -> None:
    def body() -> Iterator[Any]:
        yield helper_flow()  # here

    assert "write `yield from helper_flow(…)`" in blocked_by(body)


def test_a_foreign_future_awaited_is_told_to_go_into_a_step() -> None:
    loop = asyncio.new_event_loop()

    async def body() -> None:
        await loop.create_future()  # here

    try:
        assert "awaits Future, which is not of Squid Mesh" in blocked_by(body)
    finally:
        loop.close()


def test_time_of_asyncio_is_told_to_be_a_sleep_of_ours() -> None:
    async def body() -> None:
        await asyncio.sleep(1)  # here

    message = blocked_by(body)
    assert "await sleep(…)" in message
    assert "belong in a step" in message


def test_a_bare_asyncio_yield_is_refused() -> None:
    async def body() -> None:
        await asyncio.sleep(0)  # here

    assert "await sleep(…)" in blocked_by(body)


@pytest.mark.parametrize("command", [gather, race])
def test_a_generator_given_to_gather_or_race_is_refused_at_the_line(command: Any) -> None:
    def body() -> Iterator[Any]:
        yield from command(ship("a"), helper_flow())  # here

    message = blocked_by(body)
    assert f"{command.__name__}() takes commands, and member 1 is the generator of helper_flow" in message
    assert f"({__file__}:{helper_flow.__code__.co_firstlineno})" in message
    assert "write `yield from helper_flow(…)` by itself" in message


def test_a_coroutine_given_to_gather_is_refused() -> None:
    async def body() -> None:
        await gather(helper_coroutine())  # type: ignore[call-overload]  # here

    assert "write `await helper_coroutine(…)` by itself" in blocked_by(body)


def test_a_generator_expression_given_to_gather_is_told_to_be_a_list() -> None:
    def body() -> Iterator[Any]:
        yield from gather(ship(str(n)) for n in range(2))  # type: ignore[call-overload]  # here

    assert "write gather([…]), a list" in blocked_by(body)


def test_a_helper_generator_given_to_spawn_is_refused() -> None:
    def body() -> Iterator[Any]:
        yield from spawn(helper_flow())  # type: ignore[arg-type]  # here

    assert "spawn() takes commands" in blocked_by(body)


RETURNED = [
    pytest.param(lambda: ship("x"), r"returns `ship` without running it: write `return \(yield from …\)`", id="a call"),
    pytest.param(helper_flow, r"returns the generator of helper_flow: write `return \(yield from helper_flow\(…\)\)`",
                 id="a generator"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "told"), RETURNED)
def test_a_call_or_generator_returned_from_a_workflow_is_refused(make: Callable[[], Any], told: str) -> None:
    @workflow
    def returning() -> Flow[Any]:
        yield from sleep(1)
        return make()

    play = Play(returning)
    play.fire("1")
    assert re.search(told, play.blocked.message)
    first = returning.fn.__code__.co_firstlineno
    assert (play.blocked.file, play.blocked.line) == (__file__, first)
    assert f"{__file__}:{first}" in play.blocked.message


def test_a_coroutine_returned_from_an_async_workflow_is_told_to_be_awaited() -> None:
    @workflow
    async def returning_a_coroutine() -> Any:
        return helper_coroutine()

    assert "write `return await helper_coroutine(…)`" in Play(returning_a_coroutine).blocked.message


# --------------------------------------------------------------------------------------------- definitions


def test_a_yield_in_an_async_workflow_is_refused_when_it_is_declared() -> None:
    async def mixed() -> AsyncIterator[Any]:
        yield ship("x")

    with pytest.raises(DefinitionError, match=r"`yield` in an `async def` workflow; write `x = await step") as raised:
        workflow(mixed)  # type: ignore[arg-type]
    assert f"{__file__}:{mixed.__code__.co_firstlineno}" in str(raised.value)


def test_a_step_called_inside_a_step_is_refused_with_the_line_of_the_call() -> None:
    class Running:
        step = "charge"

    token = current_step.set(Running())
    try:
        with pytest.raises(DefinitionError, match=r"`ship` is called inside step 'charge'.*ship\.fn\(…\)") as raised:
            ship("x")
        here = raised.traceback[0].lineno + 1
    finally:
        current_step.reset(token)
    assert f"{__file__}:{here}: " in str(raised.value)


def test_a_step_on_a_method_is_refused_with_its_place() -> None:
    with pytest.raises(DefinitionError, match="make it a module-level function") as raised:

        class Shop:
            @step
            def sell(self) -> None: ...

    assert f"{__file__}:" in str(raised.value)
    assert "Shop.sell" in str(raised.value)


def test_a_generator_function_is_no_step() -> None:
    with pytest.raises(DefinitionError, match="yields; a step returns its value") as raised:

        @step
        def yielding() -> Iterator[int]:
            yield 1

    assert f"{__file__}:" in str(raised.value)
