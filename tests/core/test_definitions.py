"""What may be declared as a step or a workflow, and what is refused with a reason."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from squidmesh.core.calls import Command
from squidmesh.core.commands import sleep
from squidmesh.core.retry import Retry
from squidmesh.core.step import step
from squidmesh.core.stepcontext import context
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError
from tests.core.play import Play
from tests.core.shop import charge


class Order(BaseModel):
    id: str


def test_a_step_is_known_by_the_name_of_its_function_or_another_one() -> None:
    @step
    def pay() -> None:
        """Pay."""

    @step(name="pay-later")
    def later() -> None: ...

    assert (pay.name, later.name) == ("pay", "pay-later")
    assert (pay.__doc__, pay.__name__, pay.__module__) == ("Pay.", "pay", __name__)
    assert repr(pay) == "<step pay>"


def test_the_plain_function_is_kept() -> None:
    @step
    def double(n: int) -> int:
        return 2 * n

    assert double.fn(4) == 8


def test_the_settings_of_a_step_are_checked_and_kept_in_seconds() -> None:
    @step(
        retry=Retry(max_attempts=7),
        timeout=timedelta(minutes=1),
        heartbeat_timeout=5,
        max_lost=0,
        queue="q",
        priority=-1,
    )
    async def careful() -> None: ...

    assert careful.retry == Retry(max_attempts=7)
    assert (careful.timeout, careful.heartbeat_timeout, careful.max_lost) == (60.0, 5.0, 0)
    assert (careful.queue, careful.priority, careful.is_async) == ("q", -1, True)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": ""}, "takes a name that is not empty"),
        ({"name": 3}, "takes a name that is not empty"),
        ({"retry": 3}, "retry takes Retry"),
        ({"timeout": 0}, "timeout must be above zero"),
        ({"timeout": -1}, "timeout must be above zero"),
        ({"heartbeat_timeout": 0}, "heartbeat_timeout must be above zero"),
        ({"max_lost": -1}, "max_lost is a count"),
        ({"max_lost": True}, "max_lost is a count"),
        ({"queue": 3}, "queue is the name of a queue"),
        ({"queue": " "}, "queue is the name of a queue"),
        ({"priority": 1.5}, "priority is a whole number"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_the_step_is_declared(settings: Any, told: str) -> None:
    def refused() -> None: ...

    with pytest.raises(DefinitionError, match=told):
        step(**settings)(refused)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"version": 0}, "version is a whole number from 1"),
        ({"version": "2"}, "version is a whole number"),
        ({"version": True}, "version is a whole number"),
        ({"fail_on": "ValueError"}, "fail_on takes exception classes"),
        ({"fail_on": (ValueError, 3)}, "fail_on takes exception classes"),
        ({"queue": 3}, "queue is the name of a queue"),
        ({"name": " "}, "takes a name that is not empty"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_the_workflow_is_declared(settings: Any, told: str) -> None:
    def refused() -> Flow[None]:
        yield from sleep(1)

    with pytest.raises(DefinitionError, match=told):
        workflow(**settings)(refused)


@pytest.mark.parametrize("declare", [step, workflow])
def test_a_lambda_is_refused(declare: Any) -> None:
    with pytest.raises(DefinitionError, match="a lambda has no name to be found by"):
        declare(lambda: None)


@pytest.mark.parametrize("declare", [step, workflow])
@pytest.mark.parametrize("given", [3, "charge", len, Order, staticmethod(len)])
def test_what_is_no_function_is_refused(declare: Any, given: Any) -> None:
    with pytest.raises(DefinitionError, match="takes a function"):
        declare(given)


def test_a_workflow_on_a_method_is_refused() -> None:
    with pytest.raises(DefinitionError, match="make it a module-level function"):

        class Shop:
            @workflow
            def sell(self) -> Flow[None]:
                yield from sleep(1)


def test_a_workflow_that_yields_nothing_is_refused_with_its_place() -> None:
    def still() -> int:
        return 3

    with pytest.raises(DefinitionError, match="yields nothing: a workflow calls its steps with") as raised:
        workflow(still)  # type: ignore[arg-type]
    assert f"{__file__}:{still.__code__.co_firstlineno}" in str(raised.value)


def test_functions_defined_inside_others_work_with_types_of_their_own() -> None:
    class Local(BaseModel):
        n: int

    @step
    def local_step(given: Local) -> Local:
        return given

    @workflow
    def local_workflow(given: Local) -> Flow[Local]:
        return (yield from local_step(given))

    play = Play(local_workflow, Local(n=3))
    play.complete("1", {"n": 4})
    assert play.result == {"n": 4}


# ---------------------------------------------------------------------------------------------- types of results


def test_the_type_of_a_flow_is_that_of_the_result() -> None:
    @workflow
    def typed() -> Flow[Order]:
        yield from sleep(0)
        return Order(id="o")

    assert typed.result.encode(Order(id="o")) == {"id": "o"}
    with pytest.raises(PayloadError, match="the result of workflow 'typed'"):
        typed.result.encode(3)


def test_a_generator_spelt_out_and_an_async_workflow_have_their_types() -> None:
    @workflow
    def spelt() -> Generator[Command[Any], Any, int]:
        yield from sleep(0)
        return 3

    @workflow
    async def awaited() -> int:
        return await charge(1)

    for made in (spelt, awaited):
        assert made.result.encode(3) == 3
        with pytest.raises(PayloadError):
            made.result.encode("x")


def test_without_an_annotation_any_json_value_is_a_result() -> None:
    @workflow
    def untyped():  # type: ignore[no-untyped-def]
        yield sleep(0)
        return {"any": [1]}

    @workflow
    def bare() -> Flow:  # type: ignore[type-arg]
        yield from sleep(0)
        return 3

    assert untyped.result.encode({"any": [1]}) == {"any": [1]}
    assert bare.result.encode([3]) == [3]


def test_a_workflow_declared_to_return_its_bare_result_is_told_to_write_flow() -> None:
    def misdeclared() -> Flow[int]:
        yield from sleep(0)
        return 3

    misdeclared.__annotations__["return"] = int
    made = workflow(misdeclared)
    with pytest.raises(DefinitionError, match=r"write `-> Flow\[…\]`") as raised:
        made.result  # noqa: B018
    assert f"{__file__}:{misdeclared.__code__.co_firstlineno}" in str(raised.value)


def test_a_parameter_without_a_json_form_is_refused_by_name() -> None:
    class Opaque: ...

    @step
    def takes(thing: Opaque) -> None: ...

    with pytest.raises(DefinitionError, match="parameter 'thing'"):
        takes(Opaque())


def test_a_workflow_validates_its_input_when_it_is_called() -> None:
    @workflow
    def ordering(order: Order, copies: int = 1) -> Flow[None]:
        yield from sleep(1)

    assert ordering(Order(id="o")).input == {"order": {"id": "o"}, "copies": 1}
    with pytest.raises(InvalidPayload) as raised:
        ordering({"name": "o"}, copies="many")  # type: ignore[arg-type]
    assert set(raised.value.errors) >= {"copies", "order.id"}


def test_context_is_for_the_inside_of_a_step() -> None:
    with pytest.raises(DefinitionError, match="for the inside of a step"):
        context()
