"""Gates and operators: who may say what, when it counts, and what becomes of whoever comes too late."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from squidmesh import (
    Flow,
    IllegalState,
    InvalidPayload,
    KeyConflict,
    NoSuchEntry,
    NothingOpen,
    RunFailed,
    approval,
    gather,
    pause,
    race,
    sleep,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.testing import Stuck, VirtualMesh
from tests.engine.conftest import kinds

did: list[int] = []
broken: list[bool] = []
holding: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh(mesh: VirtualMesh) -> Iterator[None]:
    did.clear()
    holding.clear()
    broken[:] = [True]
    yield
    for run in mesh.list():
        mesh.check(mesh.handle(run.run_id))


class Fix(BaseModel):
    amount: int


@step(name="gates.does")
def does(n: int) -> int:
    did.append(n)
    return n


@does.undo
def undoes(made: int, n: int) -> None:
    did.append(-n)


@step(name="gates.far", queue="far")
def far(n: int) -> int:
    did.append(n)
    for handle in holding:
        handle.hold(actor="ops")
    return n


@workflow(name="gates.asks")
def asks(needed: int = 1, deadline: float | None = None) -> Flow[list[Any]]:
    decision = yield from approval("boss", needed=needed, deadline=deadline)
    yield from does(1)
    return [decision.approved, decision.actor, decision.note, decision.expired, len(decision.votes)]


@workflow(name="gates.asks_both")
def asks_both() -> Flow[list[Any]]:
    one, other = yield from gather(approval("money"), approval("law"))
    return [one.actor, other.actor]


@workflow(name="gates.asks_twins")
def asks_twins() -> Flow[list[Any]]:
    one, other, fix = yield from gather(approval("boss"), approval("boss"), pause("look", Fix))
    return [one.actor, other.actor, fix and fix.amount]


@workflow(name="gates.pauses")
def pauses(deadline: float | None = None) -> Flow[int | None]:
    fix = yield from pause("look", Fix, deadline=deadline)
    return fix and fix.amount


@workflow(name="gates.naps")
def naps(seconds: float, steps: int = 2) -> Flow[list[int]]:
    done: list[int] = []
    for n in range(steps):
        done.append((yield from does(n)))
        yield from sleep(seconds)
    return done


@workflow(name="gates.goes_far")
def goes_far() -> Flow[int]:
    ((first,), _) = yield from gather(gather(far(1)), does(2))
    return first + (yield from does(3))


@workflow(name="gates.breaks")
def breaks() -> Flow[int]:
    done = yield from does(1)
    if broken:
        raise TypeError("broken")
    return done


@workflow(name="gates.races")
def races() -> Flow[int]:
    return (yield from race(approval("boss"), sleep(60)))[0]


def started(mesh: VirtualMesh, call: Any, **given: Any) -> Any:
    handle = mesh.start(call, **given)
    mesh.drain()
    return handle


# -------------------------------------------------------------------------------------------- approvals


def test_somebody_approves_and_the_run_goes_on(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks())
    assert handle.status() == "paused"
    assert handle.approve(actor=" ann ", note="fine") == "paused"
    assert handle.result() == [True, "ann", "fine", False, 1]
    (gate,) = handle.inspect().gates
    assert (gate.kind, gate.name, gate.position, gate.status, gate.actor, gate.note) == (
        "approval", "boss", "1", "approved", "ann", "fine"
    )  # fmt: skip


def test_a_quorum_takes_different_people_and_one_rejection_decides(mesh: VirtualMesh) -> None:
    approved, rejected = started(mesh, asks(2)), started(mesh, asks(2))
    for handle in (approved, rejected):
        handle.approve("boss", actor="ann")
        assert handle.approve("boss", actor="ann") == "paused"
        mesh.drain()
        assert handle.reject("1", actor="ann") == "paused"
        mesh.drain()
        assert kinds(handle).count("VoteCast") == 1
        assert handle.explain().summary.startswith("Approval 'boss' (position 1) is open since 2026-01-01 00:00:00 UTC")
        assert "1 of 2 (ann) so far" in handle.explain().summary
    approved.approve(actor="bob")
    rejected.reject(actor="bob", note="no")
    assert approved.result() == [True, "bob", None, False, 2]
    assert rejected.result() == [False, "bob", "no", False, 2]


def test_at_its_deadline_an_approval_expires_and_who_comes_later_is_told(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks(2, 3600))
    handle.approve(actor="ann")
    mesh.advance(3600)
    assert handle.result() == [False, None, None, True, 1]
    with pytest.raises(NothingOpen, match="approval 'boss' at 1 expired at 2026-01-01 01:00:00 UTC"):
        handle.approve(actor="bob")


def test_past_its_deadline_a_vote_is_late_although_nobody_has_noted_it_yet(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks(1, 60))
    mesh.sleep_through(61)
    with pytest.raises(NothingOpen, match="the deadline of approval 'boss' at 1 is 2026-01-01 00:01:00 UTC"):
        handle.approve(actor="bob")


def test_votes_that_came_in_time_decide_although_nobody_looked_before_the_deadline(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks(2, 60))
    handle.approve(actor="ann")
    handle.approve(actor="bob")
    mesh.sleep_through(600)
    assert handle.result()[:2] == [True, "bob"]


def test_two_who_press_at_the_same_instant_count_as_one_after_the_other(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks())
    barrier, outcomes = threading.Barrier(4), []

    def press(actor: str, approved: bool) -> None:
        barrier.wait()
        try:
            (handle.approve if approved else handle.reject)(actor=actor)
            outcomes.append("said")
        except NothingOpen:
            outcomes.append("late")

    threads = [threading.Thread(target=press, args=(f"p{n}", bool(n % 2))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    handle.result()
    assert (kinds(handle).count("VoteCast"), kinds(handle).count("GateDecided")) == (1, 1)


def test_whoever_comes_late_is_told_how_it_came_out(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks())
    handle.approve(actor="ann")
    for _ in range(2):  # before anybody has looked, and after
        with pytest.raises(NothingOpen, match="approval 'boss' at 1 was approved by ann at 2026-01-01") as late:
            handle.reject("boss", actor="bob")
        assert (late.value.run_id, late.value.command) == (handle.run_id, "reject")
        mesh.drain()
    assert kinds(handle).count("VoteCast") == 1


def test_a_gate_is_named_where_several_are_open(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks_both())
    with pytest.raises(NoSuchEntry, match=r"approval 'money' at 1\.1, approval 'law' at 1\.2"):
        handle.approve(actor="ann")
    with pytest.raises(NoSuchEntry, match="no single approval 'fun'"):
        handle.approve("fun", actor="ann")
    handle.approve("law", actor="ann")
    with pytest.raises(NothingOpen, match=r"'law' at 1\.2 was approved by ann"):
        handle.approve("law", actor="bob")
    handle.approve(actor="bob")
    assert handle.result() == ["bob", "ann"]


def test_gates_of_one_name_are_named_by_position(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks_twins())
    with pytest.raises(NoSuchEntry) as which:
        handle.approve("boss", actor="ann")
    assert which.value.candidates == ("approval 'boss' at 1.1", "approval 'boss' at 1.2")
    typed = [str(action.python).partition(").")[2] for action in handle.explain().next_actions if action.cli]
    assert typed == [
        "approve('1.1', actor=…)", "reject('1.1', actor=…)", "approve('1.2', actor=…)", "reject('1.2', actor=…)",
        "resume(…, gate='look', actor=…)", "cancel()",
    ]  # fmt: skip
    handle.approve("1.2", actor="ann")
    handle.resume({"amount": 3}, actor="cy")
    handle.reject("1.1", actor="bob")
    assert handle.result() == ["bob", "ann", 3]


def test_where_nothing_is_open_it_says_what_there_is(mesh: VirtualMesh) -> None:
    sleeping, pausing, racing = started(mesh, naps(60)), started(mesh, pauses()), started(mesh, races())
    with pytest.raises(NothingOpen, match="nothing to approve; it has come to no gate of this kind yet"):
        sleeping.approve(actor="ann")
    with pytest.raises(NothingOpen, match="nothing to approve; pause 'look' at 1 is open"):
        pausing.approve(actor="ann")
    mesh.advance(60)
    with pytest.raises(NothingOpen, match=r"approval 'boss' at 1\.1 is closed"):
        racing.approve(actor="ann")
    pausing.terminate(actor="ops", note="enough")
    mesh.drain()
    with pytest.raises(NothingOpen, match="pause 'look' at 1 was open when the run ended"):
        pausing.resume(actor="ann")
    assert pausing.inspect().gates[0].status == "cancelled"


@pytest.mark.parametrize("actor", ["", "  ", None, 3])
def test_who_acts_must_be_said(mesh: VirtualMesh, actor: Any) -> None:
    handle = started(mesh, asks())
    for command in (handle.approve, handle.reject, handle.resume, handle.hold, handle.release):
        with pytest.raises(ValueError, match="actor= says who"):
            command(actor=actor)
    with pytest.raises(ValueError, match="note= says why"):
        handle.approve(actor="ann", note=" ")
    mesh.drain()
    assert kinds(handle)[-1] == "GateOpened"


def test_the_same_key_records_nothing_again_and_is_of_one_command(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks(2))
    for _ in range(2):
        handle.approve(actor="ann", key="k")
        mesh.drain()
    with pytest.raises(KeyConflict, match="not reject"):
        handle.reject(actor="bob", key="k")
    with pytest.raises(KeyConflict, match="not hold"):
        handle.hold(actor="bob", key="k")
    handle.approve(actor="bob", key="l")
    handle.result()
    length = len(handle.history())
    assert handle.approve(actor="bob", key="l") == "completed"
    assert len(handle.history()) == length


# ------------------------------------------------------------------------------------------------ pauses


def test_a_pause_is_resumed_with_a_payload(mesh: VirtualMesh) -> None:
    handle = started(mesh, pauses())
    told = handle.explain()
    assert told.summary == (
        "The run is paused at 'look' (position 1) since 2026-01-01 00:00:00 UTC, until it is resumed."
    )
    assert told.blockers == ["nobody has resumed the pause 'look' at position 1"]
    assert told.next_actions[0].python == f"mesh.handle(\"{handle.run_id}\").resume(…, gate='look', actor=…)"
    handle.resume(Fix(amount=3), gate="look", actor="ann")
    assert handle.result() == 3
    (gate,) = handle.inspect().gates
    assert (gate.status, gate.payload, gate.actor) == ("resumed", {"amount": 3}, "ann")


def test_a_payload_that_does_not_fit_is_on_record_and_the_pause_goes_on(mesh: VirtualMesh) -> None:
    handle = started(mesh, pauses())
    for _ in range(2):
        handle.resume({"amount": "much"}, actor="ann", key="k")
        mesh.drain()
    assert kinds(handle).count("SignalRejected") == 1
    assert (handle.status(), "What ann sent did not fit: the payload of pause 'look'" in handle.explain().summary) == (
        "paused", True
    )  # fmt: skip
    handle.resume({"amount": 4}, actor="ann")
    with pytest.raises(NothingOpen, match="pause 'look' at 1 was resumed by ann"):
        handle.resume({"amount": 5}, actor="bob")
    assert handle.result() == 4


def test_a_payload_that_cannot_be_stored_is_refused_at_once(mesh: VirtualMesh) -> None:
    handle = started(mesh, pauses())
    for payload in (object(), "x" * 2_000_000):
        with pytest.raises(InvalidPayload, match="payload of resume"):
            handle.resume(payload, actor="ann")
    assert handle.explain().reason == "waiting_for_resume"


def test_at_its_deadline_a_pause_gives_none(mesh: VirtualMesh) -> None:
    handle = started(mesh, pauses(600))
    assert handle.explain().summary.endswith("It is on time: due at 2026-01-01 00:10:00 UTC (in 10 min).")
    mesh.advance(560)
    assert "It is due soon: due at 2026-01-01 00:10:00 UTC (in 40 s)." in handle.explain().summary
    mesh.sleep_through(50)
    assert "It is overdue: it was due at 2026-01-01 00:10:00 UTC." in handle.explain().summary
    assert handle.result() is None


def test_a_run_that_only_a_person_helps_is_stuck_and_names_the_gate(mesh: VirtualMesh) -> None:
    with pytest.raises(Stuck, match=r"Approval 'boss' \(position 1\) is open"):
        mesh.run(asks())
    with pytest.raises(Stuck, match="paused at 'look'"):
        mesh.run(pauses())


# ------------------------------------------------------------------------------------------------- holding


def test_while_a_run_is_held_nothing_begins_and_its_timers_fire_after_the_release(mesh: VirtualMesh) -> None:
    handle = started(mesh, naps(60))
    handle.hold(actor="ops", note="looking")
    assert handle.hold(actor="eve") == "waiting"
    mesh.advance(600)
    told = handle.explain()
    assert (told.status, told.reason, did) == ("paused", "held", [0])
    assert told.summary.startswith(
        "The run is held by ops since 2026-01-01 00:00:00 UTC: looking. Nothing new begins until it is released."
    )
    assert (told.blockers, told.next_actions[0].python) == (
        ["ops holds the run"], f'mesh.handle("{handle.run_id}").release(actor=…)'
    )  # fmt: skip
    held = handle.inspect().held
    assert (held.actor, held.note) == ("ops", "looking")
    mesh.restart()
    mesh.drain()
    assert (did, kinds(handle).count("RunHeld")) == ([0], 1)
    handle.release(actor="eve")
    assert handle.explain().reason != "held"
    mesh.drain()
    assert did == [0, 1]
    assert handle.result() == [0, 1]


def test_what_is_in_flight_when_a_run_is_held_is_recorded_and_nothing_follows(mesh: VirtualMesh) -> None:
    handle = mesh.start(goes_far())
    holding.append(handle)
    mesh.drain()
    assert (handle.status(), sorted(did), kinds(handle).count("StepCompleted")) == ("paused", [1, 2], 2)
    handle.release(actor="ops")
    assert handle.result() == 4


def test_what_people_say_while_a_run_is_held_counts_when_it_is_released(mesh: VirtualMesh) -> None:
    asking, pausing = started(mesh, asks(1, 60)), started(mesh, pauses(60))
    for handle in (asking, pausing):
        handle.hold(actor="ops")
    mesh.drain()
    asking.approve(actor="ann")
    pausing.resume({"amount": 1}, actor="ann")
    mesh.advance(600)
    assert {asking.status(), pausing.status()} == {"paused"}
    assert did == []
    for handle in (asking, pausing):
        handle.release(actor="ops")
    assert (asking.result()[:2], pausing.result()) == ([True, "ann"], 1)


def test_deadlines_that_pass_while_a_run_is_held_act_at_its_release(mesh: VirtualMesh) -> None:
    asking, late = started(mesh, asks(1, 60)), started(mesh, naps(30), deadline=60)
    for handle in (asking, late):
        handle.hold(actor="ops")
    mesh.advance(600)
    assert [handle.status() for handle in (asking, late)] == ["paused", "paused"]
    assert "The run as a whole is overdue" in late.explain().summary
    with pytest.raises(NothingOpen, match="the deadline of"):
        asking.approve(actor="ann")
    for handle in (asking, late):
        handle.release(actor="ops")
    assert asking.result()[3] is True
    with pytest.raises(RunFailed, match="deadline"):
        late.result()


def test_a_held_run_is_cancelled_or_terminated_or_failed(mesh: VirtualMesh) -> None:
    cancelled, terminated, failed = (started(mesh, naps(60)) for _ in range(3))
    for handle in (cancelled, terminated, failed):
        handle.hold(actor="ops")
    mesh.drain()
    cancelled.cancel()
    terminated.terminate(actor="ops", note="enough")
    failed.fail(actor="ops", note="enough")
    mesh.drain()
    assert [handle.status() for handle in (cancelled, terminated, failed)] == ["cancelled", "terminated", "failed"]
    assert did == [0, 0, 0, 0, 0]  # two of them were undone
    assert cancelled.inspect().held is None


def test_only_what_goes_on_is_held_and_only_what_stands_is_released(mesh: VirtualMesh) -> None:
    handle = started(mesh, naps(60))
    with pytest.raises(IllegalState, match="release is not possible; allowed now: cancel"):
        handle.release(actor="ops")
    handle.cancel()
    with pytest.raises(IllegalState, match="hold is not possible"):
        handle.hold(actor="ops")
    mesh.drain()
    with pytest.raises(IllegalState, match="hold is not possible"):
        handle.hold(actor="ops")
    with pytest.raises(IllegalState, match="release is not possible"):
        handle.release(actor="ops")


def test_hold_and_release_count_once_a_key(mesh: VirtualMesh) -> None:
    handle = started(mesh, naps(60))
    for _ in range(2):
        handle.hold(actor="ops", key="h")
        handle.release(actor="ops", key="r")
        mesh.drain()
    assert (kinds(handle).count("RunHeld"), kinds(handle).count("RunReleased"), handle.status()) == (1, 1, "waiting")


def test_a_release_tries_a_run_again_that_broken_code_blocked_once(mesh: VirtualMesh) -> None:
    handle = started(mesh, breaks())
    assert (handle.status(), handle.explain().reason) == ("blocked", "code_error")
    assert any(".release(" in action.python for action in handle.explain().next_actions if action.python)
    for _ in range(2):
        assert handle.release(actor="ops", note="what if") == "blocked"
    assert handle.explain().reason == "advancing"
    mesh.drain()
    assert (handle.status(), kinds(handle)[-4:]) == (
        "blocked", ["RunBlocked", "RunReleased", "RunUnblocked", "RunBlocked"]
    )  # fmt: skip
    broken.clear()
    handle.release(actor="ops")
    mesh.drain()
    assert (handle.result(), did) == (1, [1])


def test_a_run_that_is_held_while_code_blocks_it_is_held_when_that_is_mended(mesh: VirtualMesh) -> None:
    handle = started(mesh, breaks())
    handle.hold(actor="ops")
    mesh.drain()
    assert handle.status() == "blocked"
    broken.clear()
    handle.release(actor="ops")
    mesh.drain()
    assert handle.result() == 1


def test_whoever_asks_for_what_is_not_possible_is_told_what_is(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks_twins())
    with pytest.raises(IllegalState, match="allowed now: approve, reject, resume, cancel, fail, hold, terminate"):
        handle.release(actor="ops")
    handle.hold(actor="ops")
    with pytest.raises(IllegalState, match="allowed now: approve, reject, resume, release, cancel"):
        handle.undo_abandon(actor="ops", note="no")


def test_a_vote_is_one_event_with_who_and_why(mesh: VirtualMesh) -> None:
    handle = started(mesh, asks())
    handle.reject(actor="ann", note="no", key="k")
    mesh.drain()
    (vote,) = (event for event in handle.history() if isinstance(event, ev.VoteCast))
    assert (vote.position, vote.actor, vote.note, vote.key, vote.approved) == ("1", "ann", "no", "k", False)
    assert vote.at == round(mesh.now.timestamp() * 1e6)
