"""Calls that the engine makes: attempts with their effects, checks, compensates, undos; each becomes events."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from sqlalchemy import text

from squidmesh import (
    Applied,
    Cleaned,
    DefinitionError,
    EffectUnknown,
    Flow,
    GiveUp,
    Irreversible,
    NotApplied,
    NotNeeded,
    PartialEffect,
    Retry,
    RetryStep,
    RunFailed,
    StillUnknown,
    context,
    gather,
    sleep,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.core.calls import NO_OPTIONS, Options
from squidmesh.core.chain import Entry
from squidmesh.core.codec import decode, encode
from squidmesh.core.failure import Failure, describe
from squidmesh.core.payloads import dumps
from squidmesh.engine import running, trial
from squidmesh.engine.calling import CallKind, Trial
from squidmesh.engine.failures import lost_tasks
from squidmesh.errors import Cancelled
from squidmesh.ports import TaskRow
from squidmesh.testing import VirtualMesh

seen: list[Any] = []
TWICE = Retry(max_attempts=2, initial=10, jitter=0)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    seen.clear()


class Rows(BaseModel):
    n: int


class Declined(Exception): ...


class SortOfTimeout(TimeoutError): ...


def _raise(error: Any) -> None:
    seen.append(context())
    if error is not None:
        raise error


outcome: Any = None


@step(retry=TWICE)
def calls_plain() -> None:
    _raise(outcome)


@step(retry=TWICE, idempotent=False, unknown_on=Declined)
def calls_once() -> None:
    _raise(outcome)


@step(retry=TWICE, pure=True)
def calls_pure() -> None:
    _raise(outcome)


@step(retry=TWICE)
async def calls_async() -> None:
    _raise(outcome)


@step
def calls_unstorable() -> int:
    return "many"  # type: ignore[return-value]


@step(pure=True)
def calls_pure_unstorable() -> int:
    return "many"  # type: ignore[return-value]


@step(timeout=0.05, idempotent=False, retry=TWICE)
def calls_hangs() -> None:
    threading.Event().wait(5)


@step(timeout=7)
def calls_handled(path: str, *, deep: bool = False) -> Rows:
    return Rows(n=len(path))


@calls_handled.check
def calls_check(path: str, *, deep: bool = False) -> Any:
    return _answered((path, deep))


@calls_handled.compensate
def calls_compensate(failure: Failure, path: str, *, deep: bool = False) -> Any:
    return _answered((failure, path, deep))


@calls_handled.undo
def calls_undo(rows: Rows, path: str, *, deep: bool = False) -> Any:
    return _answered((rows, path, deep))


def _answered(arguments: Any) -> Any:
    seen.extend([arguments, context()])
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


@step(undo_timeout=0.05, undo_when="attempted")
def calls_slowly_undone() -> int:
    return 1


@calls_slowly_undone.undo
async def calls_hanging_undo(result: int | None) -> None:
    seen.append(result)
    await asyncio.sleep(5)


@step
def calls_bare(n: int) -> int:
    return n


def calls_give_back(n: int, rows: Rows) -> Any:
    return _answered((n, rows))


async def calls_give_back_async(n: int) -> None:
    seen.append(n)


@workflow
def calls_idle() -> Flow[None]:
    yield from sleep(3600)


@pytest.fixture
def run_id(mesh: VirtualMesh) -> str:
    handle = mesh.start(calls_idle())
    mesh.drain()
    return handle.run_id


@pytest.fixture
def told() -> list[ev.Event]:
    return []


@pytest.fixture(autouse=True)
def _answers() -> Iterator[None]:
    global outcome
    yield
    outcome = None


def answer(value: Any) -> None:
    global outcome
    outcome = value


def of(run_id: str, called: Any, kind: CallKind = CallKind.ATTEMPT, **given: Any) -> Trial:
    told: list[ev.Event] = given.pop("told", [])
    known: dict[str, Any] = {
        "run_id": run_id, "position": "3", "step": called, "number": 1, "input": {}, "overrides": NO_OPTIONS,
        "progress": None, "failed": 0, "first_at": 0, "scheduled_seq": 0, "save": lambda value: None,
        "tell": told.append, "kind": kind,
    }  # fmt: skip
    return Trial(**known | given)


def made(mesh: VirtualMesh, one: Trial) -> Any:
    (event,) = trial.run(mesh.connect_engine(), one)
    return event


# ------------------------------------------------------------------------------------------- effects of attempts


@pytest.mark.parametrize(
    ("error", "effect"),
    [
        (ValueError("no"), "none"),
        (Declined("no"), "none"),
        (GiveUp("no"), "none"),
        (TimeoutError("late"), "unknown"),
        (SortOfTimeout("late"), "unknown"),
        (ConnectionResetError("cut"), "unknown"),
        (httpx.ReadTimeout("late"), "unknown"),
        (httpx.HTTPStatusError("500", request=None, response=None), "none"),  # type: ignore[arg-type]
        (Cancelled("not needed"), "unknown"),
        (EffectUnknown("who knows"), "unknown"),
        (asyncio.CancelledError("by itself"), "unknown"),
        (PartialEffect({"rows": 3}), "partial"),
    ],
)
def test_what_a_step_raises_says_what_it_may_have_left(
    mesh: VirtualMesh, run_id: str, error: BaseException, effect: str
) -> None:
    answer(error)
    for called in (calls_plain, calls_async):
        failed = made(mesh, of(run_id, called))
        assert isinstance(failed, ev.AttemptFailed)
        assert failed.effect == effect
        assert (failed.retry_at is None) == isinstance(error, GiveUp)
    assert made(mesh, of(run_id, calls_pure)).effect == "none"


def test_only_the_error_itself_counts_and_not_what_it_came_from(mesh: VirtualMesh, run_id: str) -> None:
    error = ValueError("no")
    error.__cause__ = TimeoutError("late")
    answer(error)
    assert made(mesh, of(run_id, calls_plain)).effect == "none"


@pytest.mark.parametrize(
    ("error", "again"), [(ValueError("no"), True), (TimeoutError("late"), False), (Declined("no"), False),
                         (PartialEffect(), False)],
)  # fmt: skip
def test_a_step_that_is_not_idempotent_is_tried_again_only_after_no_effect_at_all(
    mesh: VirtualMesh, run_id: str, error: BaseException, again: bool
) -> None:
    answer(error)
    failed = made(mesh, of(run_id, calls_once))
    assert (failed.retry_at is not None) == again
    assert failed.effect == ("none" if again else "partial" if isinstance(error, PartialEffect) else "unknown")


def test_a_timeout_of_ours_leaves_an_unknown_effect(mesh: VirtualMesh, run_id: str) -> None:
    failed = made(mesh, of(run_id, calls_hangs))
    assert (failed.effect, failed.retry_at, failed.failure.type) == ("unknown", None, "builtins.TimeoutError")


def test_a_result_that_cannot_be_stored_has_happened_unless_the_step_only_reads(mesh: VirtualMesh, run_id: str) -> None:
    for called, effect in ((calls_unstorable, "applied"), (calls_pure_unstorable, "none")):
        failed = made(mesh, of(run_id, called))
        assert (failed.effect, failed.retry_at) == (effect, None)
        assert failed.failure.type == "squidmesh.errors.PayloadError"


def test_a_failed_attempt_is_all_that_is_told_even_of_the_last_one(mesh: VirtualMesh, run_id: str) -> None:
    answer(ValueError("no"))
    failed = made(mesh, of(run_id, calls_plain, number=2, failed=1))
    assert (failed.number, failed.retry_at, failed.failure.attempts) == (2, None, 2)


@pytest.mark.parametrize(("called", "kind"), [(calls_plain, ev.AttemptFailed), (calls_pure, ev.StepCancelled)])
def test_a_step_that_is_not_wanted_any_more_is_cancelled_only_where_it_leaves_nothing(
    mesh: VirtualMesh, run_id: str, monkeypatch: pytest.MonkeyPatch, called: Any, kind: type[ev.Event]
) -> None:
    monkeypatch.setattr(running, "LOOK_EVERY", 0.0)
    mesh.handle(run_id).cancel()

    with mesh.stub(called, lambda: context().heartbeat()):
        ended = made(mesh, of(run_id, called))
    assert isinstance(ended, kind)
    assert getattr(ended, "effect", "unknown") == "unknown"
    assert getattr(ended, "retry_at", None) is None


def test_a_run_that_undoes_one_of_its_scopes_still_wants_its_steps(
    mesh: VirtualMesh, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LOOK_EVERY", 0.0)
    _change(mesh, run_id, "undoing", "undoing")
    with mesh.stub(calls_plain, lambda: context().heartbeat()):
        assert isinstance(made(mesh, of(run_id, calls_plain)), ev.StepCompleted)
        _change(mesh, run_id, "undoing", "draining")
        assert isinstance(made(mesh, of(run_id, calls_plain)), ev.AttemptFailed)


def _change(mesh: VirtualMesh, run_id: str, status: str, reason: str) -> None:
    with mesh.engine.begin() as connection:
        connection.execute(
            text("UPDATE squidmesh_runs SET status = :status, reason = :reason WHERE id = :id"),
            {"status": status, "reason": reason, "id": run_id},
        )


# ------------------------------------------------------------------------------------------------------ check


PATH = {"path": "a/b", "deep": True}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Applied(Rows(n=4)), ("applied", {"n": 4}, None)),
        (NotApplied(), ("not_applied", None, None)),
        (StillUnknown(), ("still_unknown", None, None)),
        (Applied("not rows"), ("still_unknown", None, "squidmesh.errors.PayloadError")),
        (None, ("still_unknown", None, "builtins.TypeError")),
        (Rows(n=4), ("still_unknown", None, "builtins.TypeError")),
        (ConnectionError("cut"), ("still_unknown", None, "builtins.ConnectionError")),
    ],
)
def test_a_check_gives_its_answer_or_still_does_not_know(mesh: VirtualMesh, run_id: str, said: Any, told: Any) -> None:
    answer(said)
    checked = made(mesh, of(run_id, calls_handled, CallKind.CHECK, input=PATH))
    assert isinstance(checked, ev.StepChecked)
    assert (checked.outcome, checked.result, checked.failure and checked.failure.type) == told
    assert seen[0] == ("a/b", True)
    assert (seen[1].key, seen[1].forward_key, seen[1].rollback) == (f"{run_id}:3", f"{run_id}:3", None)


def test_a_check_that_is_gone_or_cannot_read_the_arguments_does_not_know(mesh: VirtualMesh, run_id: str) -> None:
    gone = made(mesh, of(run_id, calls_plain, CallKind.CHECK))
    assert gone.outcome == "still_unknown"
    assert "@calls_plain.check" in gone.failure.message
    unreadable = made(mesh, of(run_id, calls_handled, CallKind.CHECK, input={"path": 5}))
    assert unreadable.outcome == "still_unknown"
    assert unreadable.failure.type == "squidmesh.errors.InvalidPayload"


# ------------------------------------------------------------------------------------------------- compensate


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Rows(n=4), {"outcome": "completed", "result": {"n": 4}}),
        (Cleaned("removed it"), {"outcome": "cleaned", "note": "removed it"}),
        (RetryStep(after=10), {"outcome": "retry"}),
        ("not rows", {"outcome": "failed"}),
        (None, {"outcome": "failed"}),
        (KeyError("x"), {"outcome": "failed"}),
    ],
)
def test_a_compensate_finishes_cleans_up_asks_again_or_fails_itself(
    mesh: VirtualMesh, run_id: str, said: Any, told: dict[str, Any]
) -> None:
    answer(said)
    failure = describe(ValueError("first"))
    ended = made(
        mesh, of(run_id, calls_handled, CallKind.COMPENSATE, input=PATH, cycle=2, failure=failure, progress={"at": 7})
    )
    assert isinstance(ended, ev.CompensateEnded)
    assert {name: getattr(ended, name) for name in told} == told
    assert ended.cycle == 2
    assert (ended.failure is not None) == (told["outcome"] == "failed")
    if told["outcome"] == "retry":
        assert ended.retry_at == ended.at + 10_000_000
    assert seen[0] == (failure, "a/b", True)
    assert (seen[1].key, seen[1].forward_key) == (f"{run_id}:3:compensate:2", f"{run_id}:3")
    assert seen[1].progress == {"at": 7}


# -------------------------------------------------------------------------------------------------------- undo


def entry(kind: str = "step", **given: Any) -> Entry:
    known: dict[str, Any] = {
        "id": "3", "kind": kind, "step": "calls_handled", "position": "3", "seq": 9, "scope": None, "input": PATH,
        "result": {"n": 4}, "attempts": 1,
    }  # fmt: skip
    return Entry(**known | given)


def undo(run_id: str, called: Any, one: Entry, **given: Any) -> Trial:
    return of(run_id, called, CallKind.UNDO, entry=one, number=one.attempts, input=one.input, failed=one.spent, **given)


@pytest.mark.parametrize(
    ("said", "result", "note"),
    [(None, None, None), (NotNeeded("was gone"), None, "was gone"), ({"n": 1}, {"n": 1}, None), (object(), None, None)],
)
def test_an_undo_that_returns_has_undone(mesh: VirtualMesh, run_id: str, said: Any, result: Any, note: Any) -> None:
    answer(said)
    done = made(mesh, undo(run_id, calls_handled, entry(attempts=2)))
    assert isinstance(done, ev.UndoCompleted)
    assert (done.entry, done.number, done.result, done.note) == ("3", 2, result, note)
    assert seen[0] == (Rows(n=4), "a/b", True)
    assert (seen[1].key, seen[1].forward_key, seen[1].attempt) == (f"{run_id}:3:undo", f"{run_id}:3", 2)


@pytest.mark.parametrize(
    ("said", "reason", "final"),
    [
        (ValueError("no"), "error", False),
        (TimeoutError("late"), "timeout", False),
        (GiveUp("never"), "gave_up", True),
        (Irreversible("too late"), "irreversible", True),
    ],
)
def test_an_undo_that_fails_is_tried_again_or_a_person_chooses(
    mesh: VirtualMesh, run_id: str, said: Any, reason: str, final: bool
) -> None:
    answer(said)
    failed = made(mesh, undo(run_id, calls_handled, entry(attempts=3)))
    assert isinstance(failed, ev.UndoFailed)
    assert (failed.entry, failed.number, failed.reason) == ("3", 3, reason)
    assert (failed.retry_at is None) == final


def test_the_budget_of_an_undo_counts_its_own_failures(mesh: VirtualMesh, run_id: str) -> None:
    answer(ValueError("no"))
    assert made(mesh, undo(run_id, calls_handled, entry(spent=8))).retry_at is not None
    last = made(mesh, undo(run_id, calls_handled, entry(spent=9)))
    assert (last.retry_at, last.reason, last.failure.attempts) == (None, "error", 10)


def test_an_undo_that_hangs_ends_at_its_timeout(mesh: VirtualMesh, run_id: str) -> None:
    failed = made(mesh, undo(run_id, calls_slowly_undone, entry(step="calls_slowly_undone", input={}, certain=False)))
    assert (failed.reason, failed.failure.type) == ("timeout", "builtins.TimeoutError")
    assert seen == [None]  # of an attempt there is no result


@pytest.mark.parametrize("called", [None, calls_plain])
def test_an_undo_that_is_not_in_the_code_any_more_is_missing(mesh: VirtualMesh, run_id: str, called: Any) -> None:
    failed = made(mesh, undo(run_id, called, entry(step="calls_plain", input={})))
    assert (failed.reason, failed.retry_at) == ("handler_missing", None)
    assert "calls_plain" in failed.failure.message


@pytest.mark.parametrize("stored", [{"result": "odd"}, {"input": {"path": 5}}])
def test_an_undo_whose_arguments_do_not_decode_any_more_is_final(
    mesh: VirtualMesh, run_id: str, stored: dict[str, Any]
) -> None:
    failed = made(mesh, undo(run_id, calls_handled, entry(**stored)))
    assert (failed.reason, failed.retry_at) == ("payload", None)
    assert seen == []


def registered(function: str, input: dict[str, Any]) -> Entry:
    return entry("registered", id="3:undo:2", step=function.rpartition(":")[2], function=function, input=input)


def test_a_registered_undo_is_called_with_its_own_arguments_under_its_own_key(mesh: VirtualMesh, run_id: str) -> None:
    one = registered(f"{__name__}:calls_give_back", {"n": 5, "rows": {"n": 6}})
    done = made(mesh, undo(run_id, None, one))
    assert (done.kind, done.entry) == ("UndoCompleted", "3:undo:2")
    assert seen[0] == (5, Rows(n=6))
    assert (seen[1].key, seen[1].step) == (f"{run_id}:3:undo:2", "calls_give_back")
    one = registered(f"{__name__}:calls_give_back_async", {"n": 7})
    assert made(mesh, undo(run_id, calls_bare, one)).kind == "UndoCompleted"
    assert seen[-1] == 7


@pytest.mark.parametrize(
    ("function", "input", "reason"),
    [
        (f"{__name__}:calls_renamed", {}, "handler_missing"),
        ("no.such.module:gone", {}, "handler_missing"),
        (f"{__name__}:calls_give_back", {"n": "five"}, "payload"),
    ],
)
def test_a_registered_undo_that_cannot_be_called_says_so(
    mesh: VirtualMesh, run_id: str, function: str, input: dict[str, Any], reason: str
) -> None:
    failed = made(mesh, undo(run_id, None, registered(function, input)))
    assert (failed.reason, failed.retry_at) == (reason, None)


# -------------------------------------------------------------------------------------- what a body says meanwhile


@step
def calls_registers(ns: list[int]) -> None:
    for n in ns:
        context().add_undo(calls_give_back_async, n)
    context().mark_irreversible("for good")


def test_what_a_step_registers_is_told_at_once_and_a_second_time_not_at_all(
    mesh: VirtualMesh, run_id: str, told: list[ev.Event]
) -> None:
    store = mesh.connect_engine().store
    known = ev.UndoRegistered(position="3", number=4, function=f"{__name__}:calls_give_back_async", input={"n": 1})
    other = ev.UndoRegistered(position="2", number=9, function=known.function, input={"n": 2})
    store.post(run_id, "UndoRegistered", encode([known, other]))
    completed = made(mesh, of(run_id, calls_registers, input={"ns": [1, 2, 2]}, told=told))
    assert isinstance(completed, ev.StepCompleted)
    assert [type(event).__name__ for event in told] == ["UndoRegistered", "StepMarkedIrreversible"]
    (undo_2, marked) = told
    assert isinstance(undo_2, ev.UndoRegistered)
    assert (undo_2.position, undo_2.number, undo_2.input) == ("3", 5, {"n": 2})
    assert undo_2.at > 0
    assert isinstance(marked, ev.StepMarkedIrreversible)
    assert marked.note == "for good"


def test_an_undo_registers_nothing(mesh: VirtualMesh, run_id: str) -> None:
    with mesh.stub(calls_handled.undo, lambda *_, **__: context().add_undo(calls_give_back_async, 1)):
        failed = made(mesh, undo(run_id, calls_handled, entry()))
    assert failed.failure.type == f"{DefinitionError.__module__}.DefinitionError"


def test_what_is_registered_after_the_outcome_is_too_late(mesh: VirtualMesh, run_id: str) -> None:
    kept: list[Any] = []
    with mesh.stub(calls_plain, lambda: kept.append(context())):
        made(mesh, of(run_id, calls_plain))
    for late in (
        lambda: kept[0].add_undo(calls_give_back_async, 1),
        lambda: kept[0].mark_irreversible("for good"),
        lambda: kept[0].checkpoint(1),
    ):
        with pytest.raises(Cancelled, match="too late"):
            late()


def test_an_option_of_the_call_is_the_timeout_of_its_handlers_too(run_id: str) -> None:
    options = Options(timeout=3.0)
    for kind in (CallKind.ATTEMPT, CallKind.CHECK, CallKind.COMPENSATE):
        assert of(run_id, calls_handled, kind, overrides=options).timeout == 3.0
        assert of(run_id, calls_handled, kind).timeout == 7.0
    assert undo(run_id, calls_handled, entry()).timeout == 7.0


# ------------------------------------------------------------------------------------------------------- as tasks


def task(spec: dict[str, Any], **given: Any) -> TaskRow:
    known: dict[str, Any] = {
        "run_id": "r", "position": "1.1", "step": "calls_handled", "queue": "default", "priority": 0, "due_at": 0,
        "worker": "w", "number": 2, "lost": 0, "max_lost": 1, "join_position": None, "progress": None,
        "claimed_at": 5, "scheduled_seq": 2, "spec": dumps({"input": {}, "run_queue": "default", **spec}),
    }  # fmt: skip
    return TaskRow(**known | given)


@pytest.mark.parametrize(
    ("spec", "lost", "told", "gone"),
    [
        ({}, 0, ["AttemptStarted", "AttemptLost"], False),
        ({}, 1, ["AttemptStarted", "AttemptLost"], True),
        ({"once": True}, 0, ["AttemptStarted", "AttemptLost"], True),
        ({"call": "check", "once": True}, 0, [], False),
        ({"call": "check"}, 1, ["StepChecked"], True),
        ({"call": "compensate", "cycle": 2, "once": True}, 0, ["CompensateStarted", "CompensateEnded"], False),
        ({"call": "compensate", "cycle": 2}, 1, ["CompensateStarted", "CompensateEnded"], True),
    ],
)
def test_a_lost_call_is_made_again_unless_it_must_not_be_or_was_lost_too_often(
    spec: dict[str, Any], lost: int, told: list[str], gone: bool
) -> None:
    ((text, over),) = lost_tasks(9, [task(spec, lost=lost)], "w").values()
    events = decode(text)
    assert ([event.kind for event in events], over) == (told, gone)
    match events[-1:]:
        case [ev.AttemptLost(final=final)]:
            assert final == gone
        case [ev.StepChecked(outcome=outcome, failure=failure)]:
            assert (outcome, failure and failure.type) == ("still_unknown", "squidmesh.errors.WorkerLost")
        case [ev.CompensateEnded(outcome=outcome, cycle=cycle, failure=failure)]:
            assert (outcome, cycle, failure is not None) == ("failed" if gone else "lost", 2, gone)


@step(idempotent=False)
def calls_not_twice(n: int) -> int:
    seen.append(n)
    return n


@workflow
def calls_several_not_twice() -> Flow[list[int]]:
    return (yield from gather([calls_not_twice(n) for n in range(3)]))


def test_steps_that_must_not_run_twice_are_begun_one_at_a_time(mesh: VirtualMesh) -> None:
    handle = mesh.start(calls_several_not_twice())
    mesh.worker_now.pace.learn("default", 100, 0.001, beside=False)
    assert mesh.worker_now.pace.of("default") >= 3
    mesh.restart(lose="attempt")
    mesh.drain()
    assert len(seen) == 2  # the third may have had its effect when its worker died: only that one
    kinds = [event.kind for event in handle.history()]
    assert kinds.count("AttemptLost") == 1
    assert kinds.count("StepInDoubt") == 1


@step(retry=Retry(max_attempts=1))
def calls_elsewhere(how: str) -> str:
    seen.append(("attempt", how))
    raise TimeoutError("late")


@calls_elsewhere.check
def calls_elsewhere_check(how: str) -> Any:
    seen.append(("check", how))
    return Applied("found") if how == "applied" else StillUnknown()


@calls_elsewhere.compensate
async def calls_elsewhere_compensate(failure: Failure, how: str) -> Any:
    seen.append(("compensate", failure.message))
    return "finished"


@workflow
def calls_two_elsewhere() -> Flow[tuple[str, str]]:
    return (yield from gather(calls_elsewhere("applied"), calls_elsewhere("unknown")))


@pytest.mark.parametrize("lose", [None, "attempt", "outcome"])
def test_a_member_of_a_group_is_checked_and_compensated_by_whoever_picks_it_up(
    mesh: VirtualMesh, lose: str | None
) -> None:
    handle = mesh.start(calls_two_elsewhere())
    if lose is not None:
        mesh.restart(lose=lose)
        mesh.restart(lose=lose)
        mesh.restart(lose=lose)
    assert handle.result() == ("found", "finished")
    assert ("compensate", "late") in seen
    kinds = [event.kind for event in handle.history()]
    assert "StepChecked" in kinds
    assert "CompensateEnded" in kinds


@workflow
def calls_small() -> Flow[int]:
    yield from sleep(0)
    return 1


@step
def calls_returns_a_call() -> Any:
    return calls_small()


@workflow
def calls_waits_for_nothing() -> Flow[Any]:
    return (yield from calls_returns_a_call())


def test_a_step_that_returns_the_call_of_a_workflow_is_told_that_it_has_not_run(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed, match="a call of `calls_small`, which has not run; yield that from the workflow"):
        mesh.run(calls_waits_for_nothing())
