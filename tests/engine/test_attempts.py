"""Attempts: retries, what ends them, timeouts, heartbeats, checkpoints, workers that are lost."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from squidmesh import Flow, GiveUp, Retry, RetryAfter, RunFailed, StepFailed, context, step, workflow
from squidmesh import events as ev
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds

tries: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    tries.clear()


class Odd(Exception):
    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"odd {code}")
        self.code, self.where = code, where


@step(retry=Retry(max_attempts=3, initial=10, factor=2, jitter=0))
def stubborn(fail: int) -> str:
    tries.append((context().attempt, context().key))
    if context().attempt <= fail:
        raise ValueError(f"no {context().attempt}")
    return "at last"


@step
def once(how: str) -> str:
    tries.append(how)
    match how:
        case "odd":
            raise Odd(7, where="there")
        case "stop":
            raise StopIteration(3)
        case "exit":
            raise SystemExit(2)
        case "interrupt":
            raise KeyboardInterrupt
        case "later":
            raise RetryAfter(timedelta(minutes=2), "busy")
        case "object":
            return object()  # type: ignore[return-value]
        case "number":
            return 5  # type: ignore[return-value]
        case "huge":
            return "x" * 2_000_000
    return how


@step(retry=Retry(max_attempts=9))
def quits() -> None:
    tries.append(1)
    raise GiveUp("no such account")


@step(timeout=0.05)
def hangs(gate: str) -> str:
    threading.Event().wait(5)
    return gate


@step(timeout=0.05)
async def hangs_async() -> str:
    await asyncio.sleep(5)
    return "never"


@step(heartbeat_timeout=0.05)
def silent() -> None:
    threading.Event().wait(5)


@step(heartbeat_timeout=5, timeout=10)
def lively() -> str:
    context().heartbeat()
    return threading.current_thread().name


@step(retry=Retry(max_attempts=3, initial=1))
def resumes() -> Any:
    done = context().progress or 0
    tries.append(done)
    context().checkpoint(done + 10)
    if done < 20:
        raise ConnectionError("cut")
    return done


@step(max_lost=2)
def deadly() -> None: ...


@workflow
def calls_stubborn(fail: int) -> Flow[str]:
    return (yield from stubborn(fail))


@workflow
def calls_once(how: str) -> Flow[str]:
    return (yield from once(how))


@workflow
def catches(how: str) -> Flow[str]:
    try:
        return (yield from once(how))
    except StepFailed as failed:
        return f"{failed.step} {failed.position} {failed.failure.type} {failed.failure.message}"


@workflow
def calls_quits() -> Flow[None]:
    yield from quits()


@workflow
def waits(which: str) -> Flow[str]:
    match which:
        case "sync":
            return (yield from hangs("x"))
        case "async":
            return (yield from hangs_async())
        case "silent":
            yield from silent()
        case "lively":
            return (yield from lively())
    return which


@workflow
def calls_resumes() -> Flow[Any]:
    return (yield from resumes())


@workflow
def calls_deadly() -> Flow[None]:
    yield from deadly()


def test_a_failed_attempt_is_tried_again_under_the_same_key_after_the_delay(mesh: VirtualMesh) -> None:
    handle = mesh.start(calls_stubborn(2))
    began = mesh.now
    assert handle.result() == "at last"
    assert mesh.now - began == timedelta(seconds=30)  # 10 after the first, 20 after the second
    assert tries == [(n, f"{handle.run_id}:1") for n in (1, 2, 3)]


def test_the_last_attempt_decides(mesh: VirtualMesh) -> None:
    handle = mesh.start(calls_stubborn(5))
    with pytest.raises(RunFailed) as failed:
        handle.result()
    assert failed.value.failure.type == "builtins.ValueError"
    assert failed.value.failure.message == "no 3"
    assert failed.value.failure.attempts == 3
    assert kinds(handle)[-2:] == ["StepFailed", "RunFailed"]


def test_without_retry_an_error_is_final(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed) as failed:
        mesh.run(calls_once("odd"))
    assert failed.value.failure.matches(Odd)
    assert failed.value.failure.data is not None
    assert tries == ["odd"]


@pytest.mark.parametrize(
    ("how", "kind"), [("stop", "StopIteration"), ("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")]
)
def test_what_would_end_a_process_is_the_failure_of_its_step(mesh: VirtualMesh, how: str, kind: str) -> None:
    assert f"builtins.{kind}" in mesh.run(catches(how))


def test_a_step_may_say_when_it_wants_to_be_tried_again(mesh: VirtualMesh) -> None:
    handle = mesh.start(calls_once("later"))
    mesh.drain()
    assert handle.status() == "waiting"
    (failed,) = [event for event in handle.history() if isinstance(event, ev.AttemptFailed)]
    assert failed.retry_at is not None
    assert failed.retry_at - failed.at == 120_000_000


def test_giving_up_is_final_whatever_retry_says(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed, match="no such account"):
        mesh.run(calls_quits())
    assert tries == [1]


@pytest.mark.parametrize("how", ["object", "number", "huge"])
def test_a_result_that_cannot_be_stored_fails_its_step_at_once_and_names_it(mesh: VirtualMesh, how: str) -> None:
    told = mesh.run(catches(how))
    assert "PayloadError" in told
    assert "'once'" in told
    assert tries == [how]


@pytest.mark.parametrize("which", ["sync", "async"])
def test_a_step_that_takes_too_long_has_failed(mesh: VirtualMesh, which: str) -> None:
    with pytest.raises(RunFailed) as failed:
        mesh.run(waits(which))
    assert failed.value.failure.type == "builtins.TimeoutError"
    assert "0.05 s" in failed.value.failure.message


def test_a_step_that_gives_no_heartbeat_has_failed(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed, match="no heartbeat"):
        mesh.run(waits("silent"))


def test_a_step_within_its_limits_runs_beside_the_worker_s_thread(mesh: VirtualMesh) -> None:
    assert mesh.run(waits("lively")) == "squidmesh-step"


def test_a_later_attempt_goes_on_from_the_checkpoint(mesh: VirtualMesh) -> None:
    handle = mesh.start(calls_resumes())
    assert handle.result() == 20
    assert tries == [0, 10, 20]
    assert kinds(handle).count("CheckpointSaved") == 3
    assert handle.inspect().steps[0].progress == 30


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
def test_an_attempt_that_is_lost_with_its_worker_runs_again_under_the_same_key(mesh: VirtualMesh, lose: str) -> None:
    handle = mesh.start(calls_stubborn(0))
    mesh.restart(lose=lose)
    assert handle.result() == "at last"
    assert [key for _, key in tries] == [f"{handle.run_id}:1"] * len(tries)
    assert len(tries) == (1 if lose == "attempt" else 2)
    assert kinds(handle) == [
        "RunStarted", "StepScheduled", "AttemptStarted", "AttemptLost",
        "AttemptStarted", "StepCompleted", "RunCompleted",
    ]  # fmt: skip


def test_a_step_that_kills_its_worker_every_time_fails_in_the_end(mesh: VirtualMesh) -> None:
    handle = mesh.start(calls_deadly())
    for _ in range(3):
        mesh.restart(lose="attempt")
    with pytest.raises(RunFailed) as failed:
        handle.result()
    assert failed.value.failure.type == "squidmesh.errors.WorkerLost"
    assert kinds(handle).count("AttemptLost") == 3
