"""What a trace shows of a run, received as a backend would receive it."""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh import RunFailed
from tests.telemetry.conftest import Traced
from tests.telemetry.receiver import attributes, well_formed
from tests.telemetry.shop import PAID, looking, order, simple, week


def _ordered(traced: Traced, name: str = "o-1") -> Any:
    handle = traced.mesh.start(order(name), key=name)
    traced.mesh.advance(24 * 3600 + 60)
    handle.signal(PAID)
    traced.mesh.drain()
    handle.approve(actor="eva")
    with pytest.raises(RunFailed):
        handle.result()
    return handle


def test_an_order_that_is_rolled_back_is_one_well_formed_trace(traced: Traced) -> None:
    handle = _ordered(traced)
    spans = traced.all()
    well_formed(spans, root="RunWorkflow:order")
    assert sorted(span.name for span in spans) == sorted(
        [
            "RunWorkflow:order", "RunStep:set_aside", "RunStep:set_aside", "RunStep:bill", "Attempt:bill",
            "Attempt:bill", "Attempt:bill", "Sleep", "WaitForSignal:paid", "WaitForApproval:desk", "RunStep:send_off",
            "Rollback:order", "Undo:bill", "Undo:set_aside", "Undo:set_aside",
        ]
    )  # fmt: skip
    assert {attributes(span)["squidmesh.run_id"] for span in spans} == {handle.run_id}


def test_attempts_hang_under_their_step_and_undos_under_their_rollback(traced: Traced) -> None:
    _ordered(traced)
    traced.all()
    received = traced.received
    bill, rollback = received.one("RunStep:bill"), received.one("Rollback:order")
    assert [attributes(span)["squidmesh.attempt"] for span in received.named("Attempt:bill")] == [1, 2, 3]
    assert {span.parent_span_id for span in received.named("Attempt:bill")} == {bill.span_id}
    assert received.one("Undo:bill").parent_span_id == rollback.span_id
    assert rollback.parent_span_id == received.one("RunWorkflow:order").span_id
    assert [link.span_id for link in received.one("Undo:bill").links] == [bill.span_id]


def test_times_and_outcomes_are_those_of_history(traced: Traced) -> None:
    handle = _ordered(traced)
    traced.all()
    received, history = traced.received, handle.history()
    root = received.one("RunWorkflow:order")
    assert root.start_time_unix_nano == history[0].at * 1000
    assert root.end_time_unix_nano == history[-1].at * 1000
    assert attributes(root)["squidmesh.outcome"] == "failed"
    assert attributes(root)["squidmesh.key"] == "o-1"
    sleep = received.one("Sleep")
    assert sleep.end_time_unix_nano - sleep.start_time_unix_nano == 24 * 3600 * 10**9
    desk = attributes(received.one("WaitForApproval:desk"))
    assert (desk["squidmesh.outcome"], desk["squidmesh.actor"]) == ("approved", "eva")
    (error,) = received.one("RunStep:send_off").events
    assert attributes(error) == {
        "exception.type": "builtins.ValueError", "exception.message": "there is no such address",
    }  # fmt: skip


def test_a_run_hangs_under_the_span_that_it_was_started_in(traced: Traced) -> None:
    with traced.tracer.start_as_current_span("POST /orders"):
        handle = traced.mesh.start(simple(1))
    handle.result()
    spans = traced.all()
    well_formed(spans, root="POST /orders")
    request, run = traced.received.one("POST /orders"), traced.received.one("RunWorkflow:simple")
    assert run.parent_span_id == request.span_id
    assert handle.history()[0].trace == f"00-{request.trace_id.hex()}-{request.span_id.hex()}-03"  # type: ignore[attr-defined]


def test_what_a_step_does_hangs_under_its_attempt(traced: Traced) -> None:
    seen = traced.mesh.run(looking())
    traced.all()
    span = traced.received.one("RunStep:traceparent")
    assert seen == f"{span.trace_id.hex()}-{span.span_id.hex()}"


def test_after_a_step_the_context_is_what_it_was(traced: Traced) -> None:
    from opentelemetry import trace

    with traced.tracer.start_as_current_span("around") as around:
        traced.mesh.run(looking())
        assert trace.get_current_span() is around


def test_what_ends_while_a_run_waits_is_exported_then(traced: Traced) -> None:
    traced.mesh.start(week())
    traced.mesh.drain()
    assert [span.name for span in traced.all()] == ["RunStep:tick", "RunStep:tick"]


def test_a_virtual_week_with_two_kills_is_one_well_formed_trace(traced: Traced) -> None:
    handle = traced.mesh.start(week())
    traced.mesh.drain()
    traced.mesh.restart(lose="attempt")
    traced.mesh.advance(2.5 * 24 * 3600)
    traced.mesh.restart(lose="outcome")
    assert handle.result() == 7
    spans = traced.all()
    well_formed(spans, root="RunWorkflow:week")
    root = traced.received.one("RunWorkflow:week")
    assert root.end_time_unix_nano - root.start_time_unix_nano >= 7 * 24 * 3600 * 10**9
    assert len(traced.received.named("RunStep:tick")) == 14
    lost = [span for span in spans if attributes(span).get("squidmesh.outcome") == "lost"]
    assert [span.name for span in lost] == ["Attempt:tick", "Attempt:tick"]


def test_a_run_that_is_rolled_back_later_has_that_in_its_trace(traced: Traced) -> None:
    handle = traced.mesh.start(simple(1))
    handle.result()
    assert len(traced.all()) == 2
    handle.rollback(actor="eva", note="wrong order")
    traced.mesh.drain()
    spans = traced.all()
    well_formed(spans, root="RunWorkflow:simple")
    assert sorted(span.name for span in spans) == [
        "Rollback:simple", "RunStep:set_aside", "RunWorkflow:simple", "Undo:set_aside",
    ]  # fmt: skip


def test_a_rerun_is_a_trace_of_its_own_with_a_link_to_the_first(traced: Traced) -> None:
    first = _ordered(traced)
    again = first.rerun(actor="eva", note="once more")
    again.terminate(actor="eva", note="enough")
    traced.mesh.drain()
    traced.all()
    one, two = traced.received.named("RunWorkflow:order")
    assert one.trace_id != two.trace_id
    assert [(link.trace_id, link.span_id) for link in two.links] == [(one.trace_id, one.span_id)]
