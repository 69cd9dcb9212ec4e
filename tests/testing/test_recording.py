"""Histories in files: what is in them, what is not, and what today's code says to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from squidmesh import Flow, Retry, RunBlocked, RunFailed, Signal, WorkflowError, patched, sleep, step, workflow
from squidmesh.core.workflow import Workflow
from squidmesh.errors import NonDeterminism
from squidmesh.testing import NotReplayable, VirtualMesh, record, replay

PAID = Signal("recording.paid", dict[str, str])


class Card(BaseModel):
    number: SecretStr
    holder: str
    cents: int


@step(name="recording.charge", retry=Retry(max_attempts=2, initial=1))
def charge(order: str, card: Card) -> dict[str, str]:
    return {"receipt": f"r-{order}", "thanks": f"thank you, {card.holder}"}


@step(name="recording.ship")
def ship(order: str, to: str = "") -> str:
    return f"{order} is on its way to {to}"


class NoLuck(WorkflowError): ...


@workflow(name="recording.checkout")
def checkout(order: str, card: Card) -> Flow[str]:
    paid = yield from charge(order, card)
    yield from sleep(3600)
    return (yield from ship(order, paid["thanks"]))


@workflow(name="recording.waits")
def waits(order: str) -> Flow[str]:
    told = yield from PAID.wait()
    return (yield from ship(order, told["name"]))


@workflow(name="recording.fails")
def fails(order: str) -> Flow[None]:
    yield from ship(order)
    raise NoLuck("no luck")


ANN = Card(number=SecretStr("4111-1111"), holder="Ann Holder", cents=4200)


def changed(flow: Workflow[..., Any], body: Any, **settings: Any) -> Workflow[..., Any]:
    """The workflow as other code has it."""
    return Workflow(body, name=flow.name, **settings)


@pytest.fixture
def recorded() -> str:
    with VirtualMesh(workflows=[checkout]) as mesh:
        handle = mesh.start(checkout("o-1", ANN))
        handle.result()
        return record(handle)


def test_a_recorded_history_replays(recorded: str) -> None:
    seen = replay(recorded, checkout)
    assert (seen.workflow, seen.version, seen.ended) == ("recording.checkout", 1, True)
    assert [event.kind for event in seen.decides] == ["RunCompleted"]
    assert replay(recorded).run_id == seen.run_id  # all that is imported


def test_it_is_json_with_an_event_a_line(recorded: str) -> None:
    told = json.loads(recorded)
    assert (told["squidmesh_history"], told["workflow"], told["version"]) == (1, "recording.checkout", 1)
    assert len(recorded.splitlines()) == len(told["events"]) + 3


def test_a_secret_is_never_in_it_and_the_rest_replays(recorded: str) -> None:
    assert "4111" not in recorded
    assert "Ann Holder" in recorded


@pytest.mark.parametrize(
    "redact",
    [
        ["holder", "charge.result.thanks"],
        ["card", "result"],
        {"holder": "Bob"},
        lambda path, value: "somebody" if path.endswith("holder") else value,
    ],
)
def test_what_is_left_out_is_nowhere_in_it_and_it_replays(redact: Any) -> None:
    with VirtualMesh(workflows=[checkout]) as mesh:
        handle = mesh.start(checkout("o-1", ANN))
        handle.result()
        text = record(handle, redact=redact)
    assert "Ann" not in text
    assert "o-1" in text
    assert replay(text, checkout).ended


def test_what_a_person_said_and_what_a_message_held_is_left_out_too() -> None:
    with VirtualMesh(workflows=[waits]) as mesh:
        handle = mesh.start(waits("o-1"))
        mesh.drain()
        handle.signal(PAID, {"name": "Ann Holder"})
        handle.cancel(actor="ann@example.com", note="I am Ann Holder")
        mesh.drain()
        text = record(handle, redact=["name", "actor"])
    assert "Ann" not in text
    assert "ann@" not in text
    replay(text, waits)


def test_names_are_given_in_a_list(recorded: str) -> None:
    with VirtualMesh() as mesh, pytest.raises(TypeError, match=r"write \['card'\]"):
        record(mesh.start(checkout("o-1", ANN)), redact="card")


def test_where_history_and_code_part_is_named_with_its_line(recorded: str) -> None:
    def after(order: str, card: Card) -> Flow[str]:
        yield from charge(order, card)
        return (yield from ship(order))

    with pytest.raises(NonDeterminism) as parts:
        replay(recorded, changed(checkout, after))
    found = parts.value
    assert (found.position, found.expected, found.got) == ("2", "`sleep`", "yields `recording.ship`")
    assert (found.file, found.line) == (__file__, after.__code__.co_firstlineno + 2)


def test_a_changed_argument_parts_even_beside_one_that_was_left_out() -> None:
    def after(order: str, card: Card) -> Flow[str]:
        yield from charge(order + "!", card)
        return ""

    with VirtualMesh(workflows=[checkout]) as mesh:
        handle = mesh.start(checkout("o-1", ANN))
        handle.result()
        text = record(handle, redact=["holder"])
    with pytest.raises(NonDeterminism, match="o-1!"):
        replay(text, changed(checkout, after))


def test_a_step_behind_the_end_is_no_difference_and_a_missing_one_is(recorded: str) -> None:
    def longer(order: str, card: Card) -> Flow[str]:
        yield from checkout.fn(order, card)
        return (yield from ship("more"))

    def shorter(order: str, card: Card) -> Flow[str]:
        yield from charge(order, card)
        yield from sleep(3600)
        return ""

    assert [event.kind for event in replay(recorded, changed(checkout, longer)).decides] == ["StepScheduled"]
    with pytest.raises(NonDeterminism, match=r"history has `recording.ship` at position 3"):
        replay(recorded, changed(checkout, shorter))


def test_the_end_of_a_body_is_looked_at_though_the_run_went_on_to_be_undone() -> None:
    def after(order: str) -> Flow[None]:
        yield from sleep(1)
        raise NoLuck

    with VirtualMesh(workflows=[fails]) as mesh:
        handle = mesh.start(fails("o-1"))
        with pytest.raises(RunFailed):
            handle.result()
        text = record(handle)
    assert replay(text, fails).ended
    with pytest.raises(NonDeterminism, match=r"history has `recording.ship` at position 1"):
        replay(text, changed(fails, after))


def test_a_run_that_is_open_says_what_comes_next_and_which_branches_it_took() -> None:
    def after(order: str) -> Flow[str]:
        if patched("recording.first"):
            yield from ship("first")
        yield from PAID.wait()
        if patched("recording.second"):
            yield from ship("second")
        return ""

    with VirtualMesh(workflows=[waits]) as mesh:
        handle = mesh.start(waits("o-1"))
        mesh.drain()
        text = record(handle)
    seen = replay(text, changed(waits, after))
    assert (seen.ended, seen.decides, dict(seen.patches)) == (False, (), {"recording.first": False})


def test_code_that_breaks_is_told(recorded: str) -> None:
    def after(order: str, card: Card) -> Flow[str]:
        yield from charge(order, card)
        raise TypeError("broken")

    with pytest.raises(RunBlocked, match="TypeError: broken"):
        replay(recorded, changed(checkout, after))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"squidmesh_history": 1}', '"x"'])
def test_another_text_is_no_history(text: str) -> None:
    with pytest.raises(NotReplayable, match="no history"):
        replay(text, checkout)


def test_a_later_form_and_a_workflow_that_is_not_at_hand_are_told(recorded: str) -> None:
    with pytest.raises(NotReplayable, match="of form 9"):
        replay(recorded.replace('"squidmesh_history": 1', '"squidmesh_history": 9'), checkout)
    with pytest.raises(NotReplayable, match=r"of which there is none of that name at hand \(there is: recording.fails"):
        replay(recorded, fails)
    with pytest.raises(NotReplayable, match="only version 2 at hand"):
        replay(recorded, changed(checkout, checkout.fn, version=2))
