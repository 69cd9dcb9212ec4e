"""From history to spans, without OpenTelemetry: what is rare, event by event."""

from __future__ import annotations

from collections.abc import Sequence

from squidmesh.core import events as ev
from squidmesh.core import trace as ids
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.telemetry.span import Span
from squidmesh.telemetry.trail import Trail

RUN = "01920e5a-7c1d-7000-8000-000000000000"
CHILD = "01920e5a-7c1d-7000-8000-000000000001"
STARTED = ev.RunStarted(at=1_000, workflow="order", version=1, input={}, interpreter_version=1)
WENT_WRONG = Failure(type="builtins.ValueError", message="no")


def spans(*rows: Sequence[Event]) -> list[Span]:
    trail = Trail(RUN, "order")
    trail.wanted = True
    trail.row([STARTED])
    for row in rows:
        trail.row(row)
    return trail.spans


def scheduled(position: str = "1", *, elsewhere: bool = False, traits: Sequence[str] = ()) -> Event:
    return ev.StepScheduled(
        at=2_000, position=position, step="bill", input={}, elsewhere=elsewhere, traits=list(traits)
    )


def test_a_child_is_a_span_with_a_link_to_its_run() -> None:
    (span,) = spans(
        [ev.ChildStarted(at=2_000, position="1", run_id=CHILD, workflow="send_off", input={})],
        [ev.ChildEnded(at=9_000, position="1", run_id=CHILD, outcome="completed")],
    )
    assert (span.name, span.place, span.parent) == ("RunChild:send_off", "1", ids.RUN)
    assert span.links == [(CHILD, ids.RUN, True)]
    assert (span.start, span.end) == (2_000, 9_000)


def test_a_child_hangs_under_the_span_of_its_parent_that_waits_for_it() -> None:
    trace = ids.at_place(RUN, None, "1")
    above = ids.read(trace)
    assert above is not None
    assert ids.trace_id(CHILD, trace) == ids.trace_id(RUN, None)
    assert above.span_id == ids.span_id(RUN, "1")
    assert above.flags == ids.UNDECIDED
    grandchild = ids.at_place(CHILD, trace, "2")
    assert ids.trace_id("another", grandchild) == ids.trace_id(RUN, None)


def test_what_is_no_traceparent_is_none() -> None:
    for text in (
        None,
        "",
        "00-x-y-01",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
    ):
        assert ids.read(text) is None


def test_steps_of_a_transaction_hang_under_it() -> None:
    inner, outer = spans(
        [scheduled(traits=["group"]), ev.AttemptStarted(at=3_000, position="1")],
        [
            scheduled("1.1"), ev.StepCompleted(at=4_000, position="1.1"),
            ev.TransactionCommitted(at=5_000, position="1"),
        ],
    )  # fmt: skip
    assert (outer.name, outer.place, outer.parent) == ("RunTransaction:bill", "1#1", ids.RUN)
    assert (inner.name, inner.place, inner.parent) == ("RunStep:bill", "1.1#1", "1#1")


def test_a_compensate_is_a_span_of_its_step_and_counts_once_when_it_was_lost() -> None:
    found = spans(
        [scheduled(), ev.AttemptStarted(at=3_000, position="1")],
        [ev.AttemptFailed(at=4_000, position="1", failure=WENT_WRONG), ev.CompensateStarted(at=4_000, position="1")],
        [ev.CompensateEnded(at=5_000, position="1", outcome="lost"), ev.CompensateStarted(at=6_000, position="1")],
        [
            ev.CompensateEnded(at=7_000, position="1", outcome="cleaned"),
            ev.StepFailed(at=7_000, position="1", failure=WENT_WRONG),
        ],
    )
    assert [(span.name, span.place, span.parent) for span in found] == [
        ("Attempt:bill", "1#1", "1"),
        ("Compensate:bill", "1:compensate:1", "1"),
        ("RunStep:bill", "1", ids.RUN),
    ]
    assert [name for name, _, _ in found[-1].notes] == ["CompensateLost"]


def test_a_step_that_a_person_retries_is_a_second_span() -> None:
    failed = [
        ev.AttemptFailed(at=4_000, position="1", failure=WENT_WRONG),
        ev.StepFailed(at=4_000, position="1", failure=WENT_WRONG),
    ]
    found = spans(
        [scheduled(), ev.AttemptStarted(at=3_000, position="1")],
        failed,
        [ev.StepRetried(at=5_000, position="1", actor="eva", note="now it is up")],
        [ev.AttemptStarted(at=6_000, position="1", number=2)],
        [ev.StepCompleted(at=7_000, position="1")],
    )
    assert [(span.name, span.place, span.parent) for span in found] == [
        ("RunStep:bill", "1#1", ids.RUN),
        ("Attempt:bill", "1#2", "1~2"),
        ("RunStep:bill", "1~2", ids.RUN),
    ]


def test_what_is_open_when_a_run_is_terminated_ends_with_it() -> None:
    found = spans(
        [ev.TimerSet(at=2_000, position="1", due=9_000_000), scheduled("2"), ev.AttemptStarted(at=3_000, position="2")],
        [ev.RunTerminated(at=4_000, actor="eva", note="enough")],
    )
    assert [(span.name, span.end, span.attributes["squidmesh.outcome"]) for span in found] == [
        ("Sleep", 4_000, "cancelled"),
        ("RunStep:bill", 4_000, "cancelled"),
        ("RunWorkflow:order", 4_000, "terminated"),
    ]


def test_an_append_with_something_begun_is_not_the_end_of_a_turn() -> None:
    trail = Trail(RUN, "order")
    assert trail.row([STARTED])
    assert not trail.row([scheduled(), ev.AttemptStarted(at=3_000, position="1")])
    assert trail.row([ev.StepCompleted(at=4_000, position="1"), ev.TimerSet(at=4_000, position="2", due=5_000)])


def test_a_secret_of_the_runs_input_is_masked_in_failures() -> None:
    trail = Trail(RUN, "order")
    trail.wanted = True
    started = ev.RunStarted(
        at=1_000, workflow="order", version=1, input={"password": {"$secret": "hunter2"}}, interpreter_version=1
    )
    trail.row([started, ev.RunFailed(at=2_000, failure=Failure(type="x.Y", message="hunter2 was wrong"))])
    assert trail.spans[-1].failure == ("x.Y", "********** was wrong")
