"""Messages to runs: sent from anywhere, kept until they are awaited, delivered once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from squidmesh import (
    Flow,
    IllegalState,
    InvalidPayload,
    KeyConflict,
    RunNotFound,
    Signal,
    log,
    now,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.engine.sending import send
from squidmesh.testing import Stuck, VirtualMesh
from tests.engine.conftest import kinds

NOWHERE = "01920e5a-7c1d-7000-8000-000000000000"


class Paid(BaseModel):
    cents: int


class Refunded(BaseModel):
    why: str


PAID = Signal("signals.paid", Paid)
GO = Signal("signals.go")
EITHER = Signal[Paid | Refunded]("signals.either", Paid | Refunded)


@step(name="signals.noted")
def noted(cents: int) -> int:
    return cents


@workflow(name="signals.sums")
def sums(count: int) -> Flow[int]:
    total = 0
    for _ in range(count):
        paid = yield from PAID.wait()
        total += yield from noted(paid.cents)
    return total


@workflow(name="signals.waits_a_minute")
def waits_a_minute() -> Flow[list[Any]]:
    first = yield from PAID.wait(timeout=60)
    second = yield from PAID.wait(timeout=timedelta(hours=1))
    return [first and first.cents, second and second.cents, now().isoformat()]


@workflow(name="signals.waits_for_either")
def waits_for_either() -> Flow[str]:
    got = yield from EITHER.wait()
    return got.why if isinstance(got, Refunded) else str(got.cents)


@workflow(name="signals.goes")
def goes() -> Flow[bool]:
    return (yield from GO.wait())


@workflow(name="signals.tells")
def tells(other: str, cents: int) -> Flow[None]:
    yield from PAID.send(other, Paid(cents=cents))
    yield from log("told")


def test_a_message_resumes_the_run_that_waits_for_it(mesh: VirtualMesh) -> None:
    handle = mesh.start(sums(3))
    mesh.drain()
    assert handle.signal(PAID, Paid(cents=1)) == "waiting"
    assert handle.signal("signals.paid", {"cents": 2}) == "waiting"
    mesh.drain()
    mesh.signal(handle.run_id, PAID, Paid(cents=3))
    assert handle.result() == 6
    assert [wait.status for wait in handle.inspect().waits] == ["received"] * 3


def test_messages_that_come_before_they_are_awaited_are_kept_in_order_over_a_restart(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_minute())
    for cents in (1, 2, 3):
        handle.signal(PAID, Paid(cents=cents))
    mesh.restart()
    assert handle.result()[:2] == [1, 2]
    assert kinds(handle).count("SignalReceived") == 3


def test_a_union_and_a_signal_without_a_type(mesh: VirtualMesh) -> None:
    either, plain = mesh.start(waits_for_either()), mesh.start(goes())
    either.signal(EITHER, Refunded(why="torn"))
    plain.signal(GO)
    assert (either.result(), plain.result()) == ("torn", True)


def test_what_does_not_fit_its_signal_is_refused_and_nothing_is_written(mesh: VirtualMesh) -> None:
    handle = mesh.start(sums(1))
    wrong: list[tuple[Any, Any]] = [
        (PAID, {"dollars": 1}), (PAID, None), ("signals.paid", object()), ("signals.paid", "x" * 2_000_000)
    ]  # fmt: skip
    for signal, payload in wrong:
        with pytest.raises(InvalidPayload, match=r"payload of signal 'signals\.paid'"):
            handle.signal(signal, payload)
        with pytest.raises(InvalidPayload):
            mesh.signal(handle.run_id, signal, payload)
    mesh.drain()
    assert "SignalReceived" not in kinds(handle)


def test_sent_by_its_bare_name_it_is_put_aside_when_its_turn_comes_and_the_wait_goes_on(mesh: VirtualMesh) -> None:
    handle = mesh.start(sums(1))
    handle.signal("signals.paid", {"cents": "many"})
    mesh.drain()
    told = handle.explain()
    assert (told.status, told.reason) == ("waiting", "waiting_for_signal")
    assert "What came did not fit" in told.summary
    (wait,) = handle.inspect().waits
    assert (wait.status, len(wait.rejected), "valid integer" in wait.rejected[0]) == ("waiting", 1, True)
    handle.signal(PAID, Paid(cents=4))
    assert handle.result() == 4


def test_the_same_key_delivers_once_in_the_inbox_in_the_history_and_after_the_end(mesh: VirtualMesh) -> None:
    handle = mesh.start(sums(2))
    for _ in range(2):
        handle.signal(PAID, Paid(cents=1), key="k")
    mesh.drain()
    assert handle.signal(PAID, Paid(cents=1), key="k") == "waiting"
    mesh.drain()
    assert handle.explain().reason == "waiting_for_signal"
    handle.signal(PAID, Paid(cents=2), key="l")
    assert handle.result() == 3
    length = len(handle.history())
    assert handle.signal(PAID, Paid(cents=1), key="k") == "completed"
    assert len(handle.history()) == length


def test_a_key_that_was_for_something_else_is_refused(mesh: VirtualMesh) -> None:
    handle = mesh.start(sums(2))
    handle.signal(PAID, Paid(cents=1), key="k")
    with pytest.raises(KeyConflict, match=r"not signal 'signals\.go'"):
        handle.signal(GO, key="k")
    handle.hold(actor="ops", key="h")
    with pytest.raises(KeyConflict, match="RunHeld"):
        handle.signal(GO, key="h")


def test_a_run_that_is_over_or_never_was_gets_nothing(mesh: VirtualMesh) -> None:
    handle = mesh.start(goes())
    handle.signal(GO)
    handle.result()
    with pytest.raises(IllegalState, match="signal is not possible; allowed now: rerun"):
        handle.signal(GO)
    for unknown in (NOWHERE, "no-id"):
        with pytest.raises(RunNotFound):
            mesh.signal(unknown, GO)


def test_a_run_that_starts_later_keeps_what_comes_before_and_starts_no_sooner(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_minute(), at=mesh.now + timedelta(days=1))
    handle.signal(PAID, Paid(cents=1))
    handle.hold(actor="ops")
    mesh.drain()
    assert (handle.status(), kinds(handle)) == ("pending", ["RunStarted"])
    handle.release(actor="ops")
    mesh.advance(timedelta(hours=23))
    assert handle.status() == "pending"
    mesh.advance(timedelta(hours=1))
    assert handle.status() == "waiting"
    assert handle.result()[0] == 1


def test_a_run_that_starts_later_is_ended_before(mesh: VirtualMesh) -> None:
    cancelled, terminated = (mesh.start(goes(), at=mesh.now + timedelta(days=1)) for _ in range(2))
    cancelled.cancel()
    terminated.terminate(actor="ops", note="not needed")
    mesh.drain()
    assert (cancelled.status(), terminated.status()) == ("cancelled", "terminated")


def test_a_timeout_is_recorded_and_the_next_wait_really_waits(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_minute())
    mesh.advance(61)
    told = handle.explain()
    assert (told.waiting_on[0].kind, told.waiting_on[0].name, told.waiting_on[0].position) == (
        "signal", "signals.paid", "2"
    )  # fmt: skip
    handle.signal(PAID, Paid(cents=5))
    assert handle.result()[:2] == [None, 5]
    assert [wait.status for wait in handle.inspect().waits] == ["timed_out", "received"]


def test_a_message_that_came_in_time_is_taken_although_nobody_looked_before_the_timeout(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_minute())
    mesh.drain()
    handle.signal(PAID, Paid(cents=1))
    mesh.sleep_through(3600)
    mesh.drain()
    assert [wait.status for wait in handle.inspect().waits] == ["received", "waiting"]


def test_now_is_when_the_message_was_taken(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_minute())
    mesh.advance(30)
    handle.signal(PAID, Paid(cents=1))
    mesh.advance(15)
    handle.signal(PAID, Paid(cents=1))
    assert handle.result()[2] == mesh.now.isoformat()


# ------------------------------------------------------------------------------------- from a workflow


@pytest.mark.parametrize("dies", [False, True])
def test_a_workflow_sends_to_another_run_once(mesh: VirtualMesh, dies: bool) -> None:
    receiver = mesh.start(sums(2))
    sender = mesh.start(tells(receiver.run_id, 3))
    mesh.drain()
    if dies:
        mesh.restart()
    sender.result()
    assert kinds(receiver).count("SignalReceived") == 1
    (sent,) = (event for event in sender.history() if isinstance(event, ev.SignalSent))
    assert (sent.delivered, sent.payload) == (True, {"cents": 3})
    receiver.signal(PAID, Paid(cents=4))
    assert receiver.result() == 7


def test_what_is_sent_to_nobody_is_on_record_as_not_delivered(mesh: VirtualMesh) -> None:
    over = mesh.start(goes())
    over.signal(GO)
    over.result()
    for nobody in (over.run_id, NOWHERE, "no-id"):
        sender = mesh.start(tells(nobody, 3))
        sender.result()
        assert [event.delivered for event in sender.history() if isinstance(event, ev.SignalSent)] == [False]


def test_what_is_sent_again_after_a_crash_was_delivered_although_the_other_run_has_ended_since(
    mesh: VirtualMesh,
) -> None:
    receiver, engine = mesh.start(goes()), mesh.connect_engine()
    message = ev.SignalReceived(at=engine.clock.now(), name="signals.go", key="sender:1")
    assert send(engine, receiver.run_id, message)
    assert send(engine, receiver.run_id, message)
    receiver.result()
    assert send(engine, receiver.run_id, message)
    assert not send(engine, receiver.run_id, ev.SignalReceived(at=1, name="signals.go", key="sender:2"))


# ------------------------------------------------------------------------------------------- explained


def test_a_run_that_waits_says_for_what_and_what_to_type(mesh: VirtualMesh) -> None:
    handle = mesh.start(waits_a_minute())
    handle.signal("signals.payed", 1)
    mesh.drain()
    told = handle.explain()
    assert told.summary == (
        "The run waits since 2026-01-01 00:00:00 UTC for signal 'signals.paid' (position 1). Without one it goes on at "
        "2026-01-01 00:01:00 UTC (in 1 min). One message is kept that it does not wait for: 'signals.payed'."
    )
    assert told.next_actions[0].python == f"mesh.handle(\"{handle.run_id}\").signal('signals.paid', …)"
    assert told.next_actions[0].cli == f"squidmesh signal {handle.run_id} signals.paid --payload …"
    handle.signal(PAID, Paid(cents=1))
    assert handle.explain().reason == "advancing"


def test_a_run_that_only_a_signal_helps_is_stuck_and_names_it(mesh: VirtualMesh) -> None:
    with pytest.raises(Stuck, match=r"waits since .* for signal 'signals\.paid'") as stuck:
        mesh.run(sums(1))
    assert stuck.value.explanation.reason == "waiting_for_signal"
