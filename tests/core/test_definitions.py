"""What may be declared as a step or a workflow, and what is refused with a reason."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from squidmesh.core.calls import Command
from squidmesh.core.commands import sleep
from squidmesh.core.failure import Failure, describe
from squidmesh.core.retry import Retry, matches_any
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
        ({"transactional": 1}, "transactional is True or False, not 1"),
        ({"pure": "yes"}, "pure is True or False"),
        ({"irreversible": None}, "irreversible is True or False"),
        ({"pivot": 0}, "pivot is True or False"),
        ({"idempotent": "no"}, "idempotent is True or False"),
        ({"undo_retry": 3}, "undo_retry takes Retry"),
        ({"undo_timeout": 0}, "undo_timeout must be above zero"),
        ({"undo_timeout": timedelta(seconds=-1)}, "undo_timeout must be above zero"),
        ({"undo_when": "always"}, "undo_when is 'completed' or 'attempted', not 'always'"),
        ({"undo_when": ["attempted"]}, "undo_when is 'completed' or 'attempted'"),
        ({"max_compensate_cycles": -1}, "max_compensate_cycles is a count of zero or more"),
        ({"max_compensate_cycles": 1.0}, "max_compensate_cycles is a count"),
        ({"unknown_on": 3}, "unknown_on takes exception classes or their names, not 3"),
        ({"unknown_on": (ValueError, int)}, "unknown_on takes exception classes"),
        ({"pure": True, "irreversible": True}, "pure=True, it only reads, and irreversible=True"),
        ({"pure": True, "pivot": True}, "pure=True, it only reads, and pivot=True"),
        ({"pure": True, "idempotent": False}, "pure=True, it only reads, and idempotent=False"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_the_step_is_declared(settings: Any, told: str) -> None:
    def refused() -> None: ...

    with pytest.raises(DefinitionError, match=told):
        step(**settings)(refused)


def test_what_a_step_says_of_its_effect_is_kept() -> None:
    @step
    def plain() -> None: ...

    @step(transactional=True, idempotent=False, undo_when="attempted", max_compensate_cycles=0, unknown_on="shop.Cut")
    def careful() -> None: ...

    assert (plain.transactional, plain.pure, plain.idempotent, plain.irreversible, plain.pivot) == (
        False, False, True, False, False,
    )  # fmt: skip
    assert (plain.undo_when, plain.max_compensate_cycles, plain.unknown_on) == ("completed", 1, ())
    assert (careful.transactional, careful.idempotent) == (True, False)
    assert (careful.undo_when, careful.max_compensate_cycles, careful.unknown_on) == ("attempted", 0, ("shop.Cut",))


@pytest.mark.parametrize(
    ("settings", "irreversible", "idempotent"),
    [
        ({"irreversible": True}, True, False),
        ({"pivot": True}, True, False),
        ({"pivot": True, "idempotent": True}, True, True),
        ({"idempotent": False}, False, False),
        ({"irreversible": True, "transactional": True}, True, False),
    ],
)
def test_what_is_irreversible_is_not_idempotent_unless_it_says_so(
    settings: Any, irreversible: bool, idempotent: bool
) -> None:
    @step(**settings)
    def ship() -> None: ...

    assert (ship.irreversible, ship.idempotent) == (irreversible, idempotent)


def test_errors_of_unknown_effect_are_matched_by_class_and_by_stored_name() -> None:
    class Cut(OSError): ...

    @step(unknown_on=[Cut, "KeyError", "shop.Declined"])
    def charged() -> None: ...

    assert [matches_any(error, charged.unknown_on) for error in (Cut(), KeyError(), OSError(), IndexError())] == [
        True, True, False, False,
    ]  # fmt: skip
    assert matches_any(describe(Cut()), charged.unknown_on)
    assert matches_any(Failure(type="shop.Refused", message="", bases=("shop.Declined",)), charged.unknown_on)
    assert not matches_any(Failure(type="x.Other", message="", cause=describe(Cut())), charged.unknown_on)


def test_a_transactional_step_is_no_coroutine() -> None:
    with pytest.raises(DefinitionError, match=r"'awaited' at .* is transactional and `async def`"):

        @step(transactional=True)
        async def awaited() -> None: ...


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
        ({"on_failure": "ignore"}, "on_failure is 'undo' or 'keep', not 'ignore'"),
        ({"on_irreversible": None}, "on_irreversible is 'report' or 'halt' or 'refuse', not None"),
        ({"on_undo_failure": "report"}, "on_undo_failure is 'halt' or 'continue'"),
        ({"strict_undo": "yes"}, "strict_undo is True or False"),
        ({"undo_retention": 0}, "undo_retention must be above zero"),
    ],
)
def test_a_setting_out_of_range_is_refused_when_the_workflow_is_declared(settings: Any, told: str) -> None:
    def refused() -> Flow[None]:
        yield from sleep(1)

    with pytest.raises(DefinitionError, match=told):
        workflow(**settings)(refused)


def test_what_a_workflow_says_of_its_rollback_is_kept() -> None:
    @workflow
    def usual() -> Flow[None]:
        yield from sleep(1)

    @workflow(
        on_failure="keep", on_irreversible="refuse", on_undo_failure="continue", strict_undo=True,
        undo_retention=timedelta(days=1),
    )  # fmt: skip
    def strict() -> Flow[None]:
        yield from sleep(1)

    assert [
        (w.on_failure, w.on_irreversible, w.on_undo_failure, w.strict_undo, w.undo_retention) for w in (usual, strict)
    ] == [("undo", "report", "halt", False, None), ("keep", "refuse", "continue", True, 86_400.0)]


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
