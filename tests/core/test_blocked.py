"""Code that breaks is not a business failure: the run is blocked, loses nothing, and says where and why."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, model_validator

from squidmesh.core import events as ev
from squidmesh.core.commands import publish, spawn
from squidmesh.core.interpreter import interpret
from squidmesh.core.step import step
from squidmesh.core.workflow import Flow, workflow
from tests.core.play import Play, kinds, line_of
from tests.core.shop import charge, ship


def test_a_type_error_in_the_body_blocks_the_run_and_names_the_line() -> None:
    @workflow
    def mistaken() -> Flow[None]:
        paid: Any = yield from charge(1)
        yield from ship("a" + paid)  # here

    play = Play(mistaken)
    decision = play.complete("1", 1)
    assert decision.events == ()
    assert (play.blocked.reason, play.blocked.line) == ("code_error", line_of(mistaken))
    assert "TypeError" in play.blocked.message
    assert "broken code, not a failure of the business" in play.blocked.message


def test_an_error_in_a_helper_names_the_line_of_the_helper() -> None:
    def helper() -> Flow[int]:
        got = yield from charge(1)
        return got // 0

    @workflow
    def helped() -> Flow[int]:
        return (yield from helper())

    play = Play(helped)
    play.complete("1", 1)
    assert (play.blocked.line, play.blocked.function) == (helper.__code__.co_firstlineno + 2, helper.__qualname__)


def test_an_error_inside_a_library_names_the_line_that_called_it() -> None:
    import json

    @workflow
    def parsing() -> Flow[None]:
        yield from charge(1)
        json.loads("{")  # here

    play = Play(parsing)
    play.complete("1", 1)
    assert (play.blocked.file, play.blocked.line) == (__file__, line_of(parsing))


def test_a_turn_that_breaks_records_nothing_of_itself() -> None:
    @workflow
    def half() -> Flow[None]:
        yield from publish("a", 1)
        yield from spawn(charge(1))
        raise TypeError("half way")

    play = Play(half)
    assert (play.last.events, play.last.steps) == ((), ())
    assert play.blocked.reason == "code_error"


def test_a_blocked_run_goes_on_with_mended_code() -> None:
    @workflow(name="mended", version=1)
    def broken() -> Flow[str]:
        yield from charge(1)
        raise TypeError

    @workflow(name="mended", version=2)
    def fixed() -> Flow[str]:
        yield from charge(1)
        return (yield from ship("a"))

    play = Play(broken)
    play.complete("1", 1)
    play.feed()
    assert kinds(play.restart(fixed)) == ["StepScheduled 2"]


def test_a_result_that_no_longer_decodes_blocks_the_run() -> None:
    @workflow
    def reading() -> Flow[int]:
        return (yield from charge(1))

    play = Play(reading)
    play.complete("1", {"cents": 1})
    assert play.blocked.reason == "value_undecodable"
    assert play.blocked.position == "1"
    assert "'charge' at position 1" in play.blocked.message


def test_an_input_that_no_longer_decodes_blocks_the_run() -> None:
    @workflow(name="wanting", version=1)
    def before(order: str) -> Flow[str]:
        return (yield from ship(order))

    @workflow(name="wanting", version=2)
    def after(order: int) -> Flow[int]:
        return (yield from charge(order))

    play = Play(before, "o-1")
    play.restart(after)
    assert play.blocked.reason == "value_undecodable"
    assert "order" in play.blocked.message


def test_a_value_whose_own_code_breaks_while_it_is_decoded_blocks_the_run() -> None:
    class Fussy(BaseModel):
        n: int

        @model_validator(mode="after")
        def break_down(self) -> Fussy:
            raise RuntimeError("of all things")

    @step(name="fussy")
    def fussy() -> Fussy: ...  # type: ignore[empty-body]

    @workflow
    def careful() -> Flow[None]:
        yield from fussy()

    @workflow
    def given(value: Fussy) -> Flow[None]:
        yield from charge(1)

    play = Play(careful)
    play.complete("1", {"n": 1})
    assert (play.blocked.reason, play.blocked.position) == ("value_undecodable", "1")
    started = ev.RunStarted(workflow="given", version=1, input={"value": {"n": 1}}, interpreter_version=1)
    blocked = interpret(given, [started], "run-1").blocked
    assert blocked is not None
    assert blocked.reason == "value_undecodable"


def test_a_type_that_has_no_json_form_any_more_blocks_the_run() -> None:
    class Opaque: ...

    @step(name="opaque")
    def opaque() -> Opaque: ...  # type: ignore[empty-body]

    @workflow
    def reading_opaque() -> Flow[None]:
        yield from opaque()

    @workflow
    def given_opaque(value: Opaque) -> Flow[None]:
        yield from charge(1)

    play = Play(reading_opaque)
    play.complete("1", {"n": 1})
    assert (play.blocked.reason, play.blocked.position) == ("code_error", "1")
    started = ev.RunStarted(workflow="given_opaque", version=1, input={"value": {}}, interpreter_version=1)
    blocked = interpret(given_opaque, [started], "run-1").blocked
    assert blocked is not None
    assert blocked.reason == "code_error"


def test_a_result_of_the_workflow_that_cannot_be_stored_blocks_the_run() -> None:
    @workflow
    def unstorable() -> Flow[int]:
        yield from charge(1)
        return object()  # type: ignore[return-value]

    play = Play(unstorable)
    play.complete("1", 1)
    assert play.blocked.reason == "code_error"
    assert "the result of workflow 'unstorable'" in play.blocked.message


def test_a_stop_iteration_in_the_body_is_broken_code_and_never_a_result() -> None:
    @workflow
    def stopping() -> Flow[str]:
        yield from charge(1)
        next(iter([]))
        return "never"

    play = Play(stopping)
    play.complete("1", 1)
    assert play.blocked.reason == "code_error"
