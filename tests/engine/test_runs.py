"""Runs: starting, keys, the caller's transaction, time, groups, endings, blocked code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel, SecretStr
from sqlalchemy.orm import Session

from squidmesh import (
    DeadlineExceeded,
    FanOut,
    Flow,
    GatherFailed,
    IllegalState,
    InvalidPayload,
    KeyConflict,
    Retry,
    RunBlocked,
    RunCancelled,
    RunFailed,
    RunNotFound,
    WorkflowError,
    context,
    fan_out,
    gather,
    log,
    new_uuid,
    now,
    patched,
    publish,
    race,
    rng,
    run_info,
    sleep,
    sleep_until,
    spawn,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.testing import DrainLimit, Stuck, VirtualMesh
from tests.engine.conftest import kinds


class Order(BaseModel):
    id: str
    cents: int


class Rejected(WorkflowError): ...


calls: list[Any] = []
broken = [True]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    broken[0] = True


@step
def double(n: int) -> int:
    calls.append(n)
    return 2 * n


@step
async def triple(n: int) -> int:
    return 3 * n


@step
def refuse(n: int) -> int:
    raise ValueError(f"refused {n}")


@step(retry=Retry(max_attempts=2, initial=60, jitter=0))
def slow_to_fail(n: int) -> int:
    raise ValueError(f"refused {n}")


@step(queue="elsewhere", name="runs_there")
def there(n: int) -> int:
    return n


@step
def states() -> dict[str, Any]:
    return {"latest": context().state["double"], "all": context().state.all("double")}


@step
def keeps(secret: SecretStr) -> str:
    raise ValueError(f"bad {secret.get_secret_value()}")


@workflow
def doubles(order: Order, times: int = 1) -> Flow[int]:
    total = 0
    for _ in range(times):
        total += yield from double(order.cents)
    return total


@workflow
def together() -> Flow[Any]:
    pair = yield from gather(double(1), triple(2))
    many = yield from gather([double(n) for n in range(3)])
    nested = yield from gather(gather(double(5), double(6)), sleep(1))
    return [pair, many, nested]


@workflow
def windows(count: int, limit: int) -> Flow[list[int]]:
    out: FanOut[int] = yield from fan_out(double, range(count), limit=limit)
    return out.values()


@workflow
def tolerant(tolerate: float) -> Flow[Any]:
    try:
        out = yield from fan_out(lambda n: refuse(n) if n % 2 else double(n), list(range(6)), tolerate=tolerate)
    except GatherFailed as failed:
        return {"failed": sorted(failed.failures), "done": sorted(failed.results)}
    return {"failed": sorted(out.failures), "done": sorted(out.results)}


@workflow
def first_failure() -> Flow[Any]:
    try:
        yield from gather(refuse(1), slow_to_fail(2), sleep(1000), double(3))
    except GatherFailed as failed:
        return [sorted(failed.failures), sorted(failed.results)]
    return None


@workflow
def races(seconds: float) -> Flow[Any]:
    index, value = yield from race(sleep(seconds), slow_to_fail(1))
    return [index, value]


@workflow
def spawns(wait: bool) -> Flow[Any]:
    pending = yield from spawn(slow_to_fail(1))
    other = yield from spawn(double(4))
    if wait:
        try:
            yield from pending
        except WorkflowError as failed:
            return [str(type(failed).__name__), (yield from other)]
    return "done"


@workflow
def wakes(at: datetime) -> Flow[str]:
    yield from sleep_until(at)
    yield from sleep(0)
    yield from sleep(timedelta(seconds=30))
    return now().isoformat()


@workflow
def notes() -> Flow[Any]:
    yield from publish("progress", {"n": 1})
    yield from log("half way", "warning")
    first = (str(new_uuid()), rng().random(), run_info().workflow)
    yield from sleep(10)
    yield from publish("progress", {"n": 2})
    return [first, patched("a"), patched("a")]


@workflow
def rejects() -> Flow[None]:
    yield from double(1)
    raise Rejected("too much")


@workflow
def breaks() -> Flow[int]:
    got = yield from double(1)
    if broken[0]:
        raise TypeError("oops")
    return got


@workflow
def sleeps_forever() -> Flow[None]:
    yield from double(1)
    yield from gather(sleep(10**6), double(2))


@workflow
def queued() -> Flow[list[int]]:
    return [(yield from double(1)), (yield from there(2)), (yield from double(3))]


@workflow
def remembers() -> Flow[dict[str, Any]]:
    yield from double(1)
    yield from double(2)
    return (yield from states())


@workflow
def secretive(secret: SecretStr) -> Flow[str]:
    return (yield from keeps(secret))


@workflow
def endless() -> Flow[None]:
    while True:
        yield from sleep(0)


ORDER = Order(id="o-1", cents=21)


def test_a_run_goes_from_step_to_step_to_its_result(mesh: VirtualMesh) -> None:
    handle = mesh.start(doubles(ORDER, times=2))
    assert handle.status() == "pending"
    assert handle.result() == 84
    assert handle.status() == "completed"
    assert kinds(handle) == [
        "RunStarted",
        "StepScheduled", "AttemptStarted", "StepCompleted",
        "StepScheduled", "AttemptStarted", "StepCompleted",
        "RunCompleted",
    ]  # fmt: skip
    assert [event.seq for event in handle.history()] == list(range(1, 9))


def test_a_key_is_used_once(mesh: VirtualMesh) -> None:
    handle = mesh.start(doubles(ORDER), key="k")
    assert mesh.start(doubles(ORDER, times=1), key="k").run_id == handle.run_id
    handle.result()
    assert mesh.start(doubles(ORDER), key="k").run_id == handle.run_id
    with pytest.raises(KeyConflict) as other:
        mesh.start(doubles(ORDER, times=2), key="k")
    assert other.value.run_id == handle.run_id
    with pytest.raises(KeyConflict, match="doubles"):
        mesh.start(rejects(), key="k")
    found = mesh.find(key="k")
    assert found is not None
    assert found.run_id == handle.run_id
    assert mesh.find(key="none") is None
    assert mesh.find(key="k", workflow=rejects) is None


def test_bad_input_is_named_and_leaves_no_row(mesh: VirtualMesh) -> None:
    with pytest.raises(InvalidPayload) as missing:
        mesh.start(doubles({"id": 3, "extra": 1}))  # type: ignore[arg-type]
    assert {"order.id", "order.cents", "order.extra"} <= set(missing.value.errors)
    assert isinstance(missing.value, ValueError)
    assert len(mesh.list()) == 0


@pytest.mark.parametrize("wanted", ["nonsense", "01920e5a-7c1d-7000-8000-000000000000", ""])
def test_a_run_that_is_not_there_is_not_found(mesh: VirtualMesh, wanted: str) -> None:
    with pytest.raises(RunNotFound):
        mesh.handle(wanted)


def test_many_runs_start_at_once_in_the_order_of_their_calls(mesh: VirtualMesh) -> None:
    handles = mesh.start_many(
        [doubles(Order(id=str(n), cents=n)) for n in range(20)], keys=[f"o-{n}" for n in range(20)]
    )
    again = mesh.start_many([doubles(Order(id="3", cents=3)), doubles(Order(id="x", cents=9))], keys=["o-3", "o-x"])
    mesh.drain()
    assert [handle.result() for handle in handles] == [2 * n for n in range(20)]
    assert again[0].run_id == handles[3].run_id
    assert [run.key for run in mesh.list(limit=3)] == ["o-x", "o-19", "o-18"]


def test_pages_follow_each_other_and_filters_hold(mesh: VirtualMesh) -> None:
    for n in range(5):
        mesh.start(doubles(ORDER), attributes={"tenant": "a" if n % 2 else "b", "n": n})
    mesh.start(rejects())
    page = mesh.list(workflow=doubles, limit=3)
    rest = mesh.list(workflow=doubles, limit=3, after=page.next)
    assert len(page) == 3
    assert len(rest) == 2
    assert rest.next is None
    assert len({run.run_id for run in [*page, *rest]}) == 5
    assert len(mesh.list(attributes={"tenant": "a"})) == 2
    mesh.drain()
    assert [run.workflow for run in mesh.list(status="failed")] == ["rejects"]
    assert len(mesh.list(status=["failed", "completed"])) == 6


def test_a_run_starts_with_the_callers_commit_or_never_was(mesh: VirtualMesh) -> None:
    with mesh.engine.connect() as connection:
        with connection.begin() as transaction:
            gone = mesh.start(doubles(ORDER), connection=connection)
            transaction.rollback()
        with connection.begin():
            kept = mesh.start(doubles(ORDER), connection=connection, key="mine")
            connection.execute(sa.text("SELECT 1"))
    with Session(mesh.engine) as session:
        other = mesh.start(doubles(ORDER), connection=session)
        session.commit()
    with pytest.raises(RunNotFound):
        gone.status()
    assert kept.result() == 42
    assert other.result() == 42


def test_a_run_may_start_later(mesh: VirtualMesh) -> None:
    at = mesh.now + timedelta(hours=2)
    handle = mesh.start(doubles(ORDER), at=at)
    mesh.advance(timedelta(hours=1))
    assert handle.status() == "pending"
    assert handle.explain().reason == "start_delayed"
    mesh.advance(at)
    assert handle.status() == "completed"
    with pytest.raises(ValueError, match="aware"):
        mesh.start(doubles(ORDER), at=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point


def test_groups_give_results_in_order(mesh: VirtualMesh) -> None:
    assert mesh.run(together()) == [[2, 6], [0, 2, 4], [[10, 12], None]]


@pytest.mark.parametrize(("count", "limit"), [(0, 5), (1, 5), (7, 1), (57, 10), (500, 64)])
def test_a_fan_out_keeps_to_its_window(mesh: VirtualMesh, count: int, limit: int) -> None:
    handle = mesh.start(windows(count, limit))
    mesh.drain(limit=5_000)
    assert handle.result() == [2 * n for n in range(count)]
    out = most = 0
    for event in handle.history():
        out += isinstance(event, ev.StepScheduled) - isinstance(event, ev.StepCompleted)
        most = max(most, out)
    assert most <= limit


@pytest.mark.parametrize(("tolerate", "fails"), [(3, False), (0.5, False), (2, True), (0, True)])
def test_a_fan_out_tolerates_so_many_failures(mesh: VirtualMesh, tolerate: float, fails: bool) -> None:
    out = mesh.run(tolerant(tolerate))
    if fails:
        assert 1 <= len(out["failed"]) <= 3
    else:
        assert out == {"failed": [1, 3, 5], "done": [0, 2, 4]}


def test_after_the_first_failure_of_a_group_nothing_new_starts(mesh: VirtualMesh) -> None:
    began = mesh.now
    failures, results = mesh.run(first_failure())
    assert 0 in failures
    assert mesh.now - began < timedelta(seconds=60)  # neither the sleep nor the other's retry was waited for
    assert set(failures) | set(results) <= {0, 1, 3}


def test_the_first_to_settle_wins_a_race_and_the_others_are_cancelled(mesh: VirtualMesh) -> None:
    handle = mesh.start(races(5))
    assert handle.result() == [0, None]
    assert "RaceWon" in kinds(handle)
    assert "StepCancelled" in kinds(handle)
    with pytest.raises(RunFailed, match="refused 1"):
        mesh.run(races(100))


def test_what_was_spawned_is_waited_for(mesh: VirtualMesh) -> None:
    assert mesh.run(spawns(True)) == ["StepFailed", 8]
    with pytest.raises(RunFailed, match="refused 1"):
        mesh.run(spawns(False))


def test_time_passes_only_when_told(mesh: VirtualMesh) -> None:
    until = mesh.now + timedelta(days=30)
    handle = mesh.start(wakes(until))
    mesh.advance(timedelta(days=29))
    assert handle.status() == "waiting"
    assert handle.explain().reason == "sleeping"
    assert handle.result() == (until + timedelta(seconds=30)).isoformat()


def test_a_timer_that_fell_due_while_nobody_was_up_fires_late(mesh: VirtualMesh) -> None:
    handle = mesh.start(wakes(mesh.now + timedelta(hours=1)))
    mesh.drain()
    mesh.sleep_through(timedelta(hours=5))
    assert handle.status() == "waiting"
    end = mesh.now + timedelta(seconds=30)
    assert handle.result() == end.isoformat()


def test_notes_are_recorded_and_plain_calls_are_deterministic(mesh: VirtualMesh) -> None:
    handle = mesh.start(notes())
    mesh.drain()
    assert handle.published("progress") == {"n": 1}
    assert handle.published("progress", dict[str, int]) == {"n": 1}
    assert handle.published("nothing") is None
    mesh.restart()
    first = handle.result()
    assert first[1:] == [True, True]
    assert handle.published("progress") == {"n": 2}
    assert kinds(handle).count("MessageLogged") == 1


def test_a_workflow_error_fails_the_run(mesh: VirtualMesh) -> None:
    with pytest.raises(RunFailed) as failed:
        mesh.run(rejects())
    assert failed.value.failure.matches(Rejected)
    assert failed.value.failure.matches(WorkflowError)
    assert failed.value.failure.message == "too much"


def test_broken_code_blocks_the_run_until_it_is_mended(mesh: VirtualMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = mesh.start(breaks())
    with pytest.raises(RunBlocked) as blocked:
        handle.result()
    assert blocked.value.explanation.reason == "code_error"
    assert "oops" in str(blocked.value)
    mesh.restart()
    mesh.drain()
    assert kinds(handle).count("RunBlocked") == 1  # the same code is not tried again and again
    broken[0] = False
    monkeypatch.setattr("squidmesh.engine.code.fingerprint", lambda _: "mended")
    monkeypatch.setattr("squidmesh.engine.hold.fingerprint", lambda _: "mended")
    mesh.restart()
    assert handle.result(wait_blocked=True) == 2
    assert calls == [1]  # what had completed is not repeated
    assert "RunUnblocked" in kinds(handle)


def test_a_blocked_run_can_be_cancelled(mesh: VirtualMesh) -> None:
    handle = mesh.start(breaks())
    mesh.drain()
    handle.cancel(note="not worth it")
    with pytest.raises(RunCancelled, match="not worth it"):
        handle.result(wait_blocked=True)


def test_a_cancelled_run_lets_what_is_in_flight_settle_and_ends(mesh: VirtualMesh) -> None:
    handle = mesh.start(sleeps_forever())
    mesh.drain()
    handle.cancel(actor="ann", note="changed my mind", key="c-1")
    handle.cancel(actor="ann", note="changed my mind", key="c-1")
    with pytest.raises(RunCancelled, match="changed my mind"):
        handle.result()
    assert [kind for kind in kinds(handle)[-8:] if kind != "EntrySettled"] == [
        "CancelRequested", "TimerCancelled", "RollbackStarted", "RollbackPlanned", "RollbackEnded", "RunCancelled"
    ]  # fmt: skip
    with pytest.raises(IllegalState, match="cancelled"):
        handle.cancel()


def test_a_deadline_fails_the_run(mesh: VirtualMesh) -> None:
    handle = mesh.start(sleeps_forever(), deadline=timedelta(hours=1))
    with pytest.raises(RunFailed) as failed:
        handle.result()
    assert failed.value.failure.matches(DeadlineExceeded)
    assert mesh.now == datetime(2026, 1, 1, 1, tzinfo=UTC)


def test_a_step_on_another_queue_goes_there_and_comes_back(mesh: VirtualMesh) -> None:
    assert mesh.run(queued()) == [2, 2, 6]


def test_a_step_sees_the_results_before_it(mesh: VirtualMesh) -> None:
    assert mesh.run(remembers()) == {"latest": 4, "all": [2, 4]}


def test_a_secret_is_shown_nowhere(mesh: VirtualMesh) -> None:
    handle = mesh.start(secretive(SecretStr("hunter2")))
    with pytest.raises(RunFailed) as failed:
        handle.result()
    assert "hunter2" not in str(failed.value)
    assert "hunter2" not in handle.inspect().model_dump_json()
    assert "hunter2" not in handle.explain().model_dump_json()


def test_a_workflow_that_loops_without_end_holds_up_nobody(mesh: VirtualMesh) -> None:
    mesh.start(endless())
    other = mesh.start(doubles(ORDER))
    with pytest.raises(DrainLimit, match="loop"):
        mesh.drain(limit=20)
    assert other.status() == "completed"


def test_a_mesh_restricted_to_some_workflows_takes_no_others(postgres_url: str) -> None:
    with VirtualMesh(postgres_url, workflows=[rejects]) as narrow, VirtualMesh(postgres_url) as wide:
        handle = narrow.handle(wide.start(doubles(ORDER)).run_id)
        narrow.drain()
        assert handle.status() == "pending"
        assert handle.explain().reason == "no_code"
        with pytest.raises(Stuck, match="doubles"):
            handle.result()
        assert wide.handle(handle.run_id).result() == 42
