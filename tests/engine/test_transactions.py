"""Transactions of several steps: refused, rolled back, committed and undone as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from squidmesh import (
    DefinitionError,
    FanOut,
    Flow,
    GatherFailed,
    InvalidPayload,
    Retry,
    RunBlocked,
    RunFailed,
    StepFailed,
    context,
    fan_out,
    gather,
    new_uuid,
    now,
    patched,
    race,
    rng,
    run_info,
    sleep,
    spawn,
    step,
    workflow,
)
from squidmesh import events as ev
from squidmesh.core.transactions import Transaction, transaction, undo_of
from squidmesh.engine import grouping
from squidmesh.testing import VirtualMesh
from tests.engine.conftest import kinds
from tests.engine.ledger import (
    DATABASES,
    Booked,
    Rejected,
    book,
    collision,
    ledger,
    mesh_on,
    over,
    release,
    seen,
    tx_book,
    tx_elsewhere,
    tx_outside,
    tx_slow,
)


@pytest.fixture(params=DATABASES)
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    with mesh_on(request) as made:
        yield made


@step(pure=True, transactional=True)
def tx_read(account: str) -> int:
    found = context().connection.execute(text("SELECT cents FROM ledger WHERE account = :a"), {"a": account}).scalar()
    return int(found or 0)


@step(pure=True)
async def tx_rate() -> int:
    return 2


class Moved(BaseModel):
    cents: int
    left: int = 0


def tx_move(source: str, target: str, cents: int, how: str = "") -> Flow[Moved]:
    yield from tx_book(source, -cents)
    yield tx_book(target, cents, how)
    left = yield from tx_read(source)
    return Moved(cents=cents, left=left)


def tx_move_back(moved: Moved, source: str, target: str, cents: int, how: str = "") -> None:
    assert moved == Moved(cents=cents, left=-cents)
    book(source, cents)
    book(target, -cents)
    seen.append(("moved back", context().key, context().step))


@workflow
def tx_moves(how: str = "", undo: bool = False, fail: bool = False) -> Flow[Moved]:
    moved = yield from transaction(tx_move, "ann", "bob", 5, how=how, undo=tx_move_back if undo else None)
    if fail:
        raise Rejected("after all")
    return moved


def test_several_steps_commit_together_and_are_recorded_together(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_moves())
    assert handle.result() == Moved(cents=5, left=-5)
    assert ledger(mesh) == {"ann": -5, "bob": 5}
    told = [(event.kind, getattr(event, "position", None)) for event in handle.history()]
    assert told == [
        ("RunStarted", None), ("StepScheduled", "1"), ("AttemptStarted", "1"),
        ("StepScheduled", "1.1"), ("StepCompleted", "1.1"), ("StepScheduled", "1.2"), ("StepCompleted", "1.2"),
        ("StepScheduled", "1.3"), ("StepCompleted", "1.3"), ("TransactionCommitted", "1"), ("RunCompleted", None),
    ]  # fmt: skip


def test_a_failure_inside_is_a_database_rollback_and_no_undo_is_called(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_moves("fail"))
    with pytest.raises(RunFailed) as failed:
        handle.result()
    assert failed.value.failure.type == "builtins.ValueError"
    assert failed.value.failure.attempts == 2
    assert ledger(mesh) == {}
    assert not any("undo" in one for one in seen)
    assert kinds(handle) == [
        "RunStarted", "StepScheduled", "AttemptStarted", "AttemptFailed", "StepFailed", "RunFailed",
    ]  # fmt: skip


def test_a_step_inside_is_tried_again_at_once_from_its_savepoint(mesh: VirtualMesh) -> None:
    before = mesh.now
    assert mesh.run(tx_moves("once")).left == -5
    assert mesh.now == before
    assert ledger(mesh) == {"ann": -5, "bob": 5}
    assert seen == [("ann", 1), ("bob", 1), ("bob", 2)]


@pytest.mark.parametrize("lose", ["attempt", "outcome"])
def test_a_transaction_whose_worker_dies_happens_exactly_once(mesh: VirtualMesh, lose: str) -> None:
    mesh.restart(lose=lose)
    assert mesh.run(tx_moves()).cents == 5
    assert ledger(mesh) == {"ann": -5, "bob": 5}


@pytest.mark.parametrize("how", ["", "hard to undo"])
def test_without_an_undo_of_its_own_the_steps_are_undone_in_reverse_in_one_transaction(
    mesh: VirtualMesh, how: str
) -> None:
    handle = mesh.start(tx_moves(how, fail=True))
    with pytest.raises(RunFailed, match="after all"):
        handle.result()
    assert ledger(mesh) == {}
    once = [("undo", "bob", 1), ("undo", "ann", 1)]
    assert seen[2:] == (once if not how else [("undo", "bob", 1), ("undo", "bob", 2), ("undo", "ann", 2)])
    assert [event.entry for event in handle.history() if isinstance(event, ev.UndoCompleted)] == ["1"]


def test_its_own_undo_is_given_the_result_and_its_arguments(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_moves(undo=True, fail=True))
    with pytest.raises(RunFailed, match="after all"):
        handle.result()
    assert ledger(mesh) == {}
    assert seen[2:] == [("moved back", f"{handle.run_id}:1:undo", "tx_move")]


def test_notes_of_its_steps_are_the_note_of_the_whole(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_moves("not needed", fail=True))
    with pytest.raises(RunFailed, match="after all"):
        handle.result()
    (done,) = [event for event in handle.history() if isinstance(event, ev.UndoCompleted)]
    assert done.note == "as good as undone"


def tx_another_way(cents: int) -> Flow[str]:
    try:
        yield from tx_book("bob", cents, "fail")
    except StepFailed as failed:
        yield from tx_book("eve", cents)
        return f"{failed.step} {failed.position}"
    return "never"


def tx_several(tolerate: int) -> Flow[Any]:
    rate = yield from tx_rate()
    pair = yield from gather(tx_book("a", rate), gather([tx_book("b", 1)]))
    made: FanOut[Booked] = yield from fan_out(
        lambda n: tx_book(f"f{n}", n, "fail" if n == 2 else ""), [1, 2, 3], limit=1, tolerate=tolerate
    )
    return [pair[0].account, pair[1][0].account, sorted(made.results), sorted(made.failures)]


def tx_gathers() -> Flow[Any]:
    try:
        yield from gather(tx_book("a", 1), tx_book("b", 1, "fail"), tx_book("c", 1))
    except GatherFailed as failed:
        return [sorted(failed.results), sorted(failed.failures), failed.position]


@workflow
def tx_with(which: str, arguments: list[Any]) -> Flow[Any]:
    return (yield from transaction(globals()[which], *arguments))


def test_a_failure_caught_inside_leaves_what_the_others_wrote(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_with("tx_another_way", [5]))
    assert handle.result() == "tx_book 1.1"
    assert ledger(mesh) == {"eve": 5}
    assert kinds(handle)[3:-1] == [
        "StepScheduled", "StepFailed", "StepScheduled", "StepCompleted", "TransactionCommitted",
    ]  # fmt: skip


def test_groups_inside_run_one_after_another_and_give_what_they_give_outside(mesh: VirtualMesh) -> None:
    handle = mesh.start(tx_with("tx_several", [1]))
    assert handle.result() == ["a", "b", [0, 2], [1]]
    assert ledger(mesh) == {"a": 2, "b": 1, "f1": 1, "f3": 3}
    positions = [event.position for event in handle.history() if isinstance(event, ev.StepCompleted)]
    assert positions == ["1.1", "1.2.1", "1.2.2.1", "1.3.1", "1.3.3"]
    with pytest.raises(RunFailed):
        mesh.run(tx_with("tx_several", [0]))
    assert mesh.run(tx_with("tx_gathers", [])) == [[0], [1], "1.1"]
    assert ledger(mesh) == {"a": 3, "b": 1, "f1": 1, "f3": 3}


def tx_plain_calls() -> Flow[list[Any]]:
    first = [str(new_uuid()), rng().random(), now().isoformat(), patched("x"), run_info().workflow]
    yield from tx_rate()
    return [first, str(new_uuid()) != first[0]]


def test_the_deterministic_functions_work_inside(mesh: VirtualMesh) -> None:
    (uuid, luck, at, new, name), another = mesh.run(tx_with("tx_plain_calls", []))
    assert (at, new, name, another) == (mesh.now.isoformat(), True, "tx_with", True)
    assert len(uuid) == 36
    assert 0 <= luck < 1


# ------------------------------------------------------------------------------------------- attempts inside


@step(transactional=True, retry=Retry(max_attempts=None, initial=60))
def tx_hopeless() -> None:
    book("ann", 1)
    seen.append(context().attempt)
    raise ValueError("never")


def tx_catches(which: str) -> Flow[str]:
    yield from tx_book("bob", 1)
    try:
        yield from {"slow": tx_slow, "hopeless": tx_hopeless}[which]()
    except StepFailed as failed:
        return failed.failure.message
    return ""


def test_a_body_that_comes_back_too_late_ends_its_transaction_whoever_catches_it(mesh: VirtualMesh) -> None:
    release.clear()
    over.clear()
    with pytest.raises(RunFailed) as failed:
        mesh.run(tx_with("tx_catches", ["slow"]))
    assert failed.value.failure.type == "builtins.TimeoutError"
    release.set()
    assert over.wait(30)
    assert ledger(mesh) == {}


def test_a_retry_without_limit_has_one_inside_a_transaction(mesh: VirtualMesh) -> None:
    assert mesh.run(tx_with("tx_catches", ["hopeless"])) == "never"
    assert seen[1:] == list(range(1, grouping.MOST_ATTEMPTS + 1))
    assert ledger(mesh) == {"bob": 1}


def test_a_collision_inside_repeats_the_whole_transaction(mesh: VirtualMesh) -> None:
    with mesh.stub(tx_hopeless, raises=[collision(mesh), None]) as stub:
        assert mesh.run(tx_with("tx_catches", ["hopeless"])) == ""
    assert len(stub.calls) == 2
    assert seen == [("bob", 1), ("bob", 1)]
    assert ledger(mesh) == {"bob": 1}


# ---------------------------------------------------------------------------------------------- what is refused


def tx_sleeps() -> Flow[None]:
    yield from tx_book("ann", 1)
    yield from sleep(1)


def tx_leaves_the_database() -> Flow[None]:
    yield from tx_book("ann", 1)
    yield from tx_elsewhere()


def tx_leaves_in_a_group() -> Flow[None]:
    yield from gather(tx_book("ann", 1), tx_elsewhere())


def tx_starts_a_child() -> Flow[None]:
    yield from tx_book("ann", 1)
    yield from tx_outside()


def tx_nests() -> Flow[None]:
    yield from tx_book("ann", 1)
    yield from transaction(tx_gathers)


def tx_races() -> Flow[None]:
    yield from race(tx_book("ann", 1), tx_book("bob", 1))


def tx_spawns() -> Flow[None]:
    yield from tx_book("ann", 1)
    yield from spawn(tx_book("bob", 1))


def tx_yields_a_number() -> Flow[None]:
    yield from tx_book("ann", 1)
    yield 5  # type: ignore[misc]


def tx_breaks() -> Flow[None]:
    yield from tx_book("ann", 1)
    raise TypeError("broken")


def tx_forgets_a_call() -> Flow[None]:
    tx_book("ann", 1)
    yield from tx_book("bob", 1)


def tx_returns_a_call() -> Flow[Any]:
    yield from tx_book("bob", 1)
    return tx_book("ann", 1)


@pytest.mark.parametrize(
    ("which", "told"),
    [
        ("tx_sleeps", "sleep cannot be part of transaction 'tx_sleeps'"),
        ("tx_leaves_the_database", "step `tx_elsewhere` is neither transactional nor pure"),
        ("tx_leaves_in_a_group", "step `tx_elsewhere` is neither transactional nor pure"),
        ("tx_starts_a_child", "`tx_outside` is a workflow"),
        ("tx_nests", "write `yield from tx_gathers"),
        ("tx_races", "race cannot be part of"),
        ("tx_spawns", "spawn cannot be part of"),
        ("tx_yields_a_number", "yields 5, which is not a command"),
        ("tx_breaks", "TypeError: broken"),
        ("tx_forgets_a_call", "`tx_book` was called but never yielded"),
        ("tx_returns_a_call", "returns `tx_book` without running it"),
    ],
)
def test_what_cannot_be_rolled_back_is_refused_when_it_is_met_and_nothing_is_written(
    mesh: VirtualMesh, which: str, told: str
) -> None:
    handle = mesh.start(tx_with(which, []))
    with pytest.raises(RunBlocked) as blocked:
        handle.result()
    assert ledger(mesh) == {}
    explained = handle.explain()
    assert explained.reason == "code_error"
    assert told in str(blocked.value)
    assert f"{__file__}:" in str(blocked.value)
    (stopped,) = [event for event in handle.history() if isinstance(event, ev.RunBlocked)]
    assert stopped.function == which
    assert "AttemptFailed" not in kinds(handle)


# --------------------------------------------------------------------------------------------------- definitions


def tx_plain(n: int) -> int:
    return n


async def tx_undo_async(result: Any, cents: int) -> None: ...


def tx_undo_short(result: Any) -> None: ...


def tx_undo_renamed(given: Any, amount: int) -> None: ...


@pytest.mark.parametrize(
    ("fn", "undo", "told"),
    [
        (tx_plain, None, "generator function"),
        (lambda n: (yield n), None, "lambda"),
        (tx_another_way, lambda result, cents: None, "lambda"),
        (tx_another_way, tx_undo_async, "async def"),
        (tx_another_way, tx_undo_short, r"write `def tx_undo_short\(result, cents\)`"),
        (tx_another_way, tx_gathers, "yields"),
    ],
)
def test_a_transaction_that_could_not_run_or_be_undone_again_is_refused(fn: Any, undo: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        transaction(fn, 1, undo=undo)

    def inside() -> Flow[None]:
        yield from tx_book("ann", 1)

    with pytest.raises(DefinitionError, match="inside another"):
        transaction(inside)


def test_its_arguments_are_checked_when_the_call_is_built() -> None:
    with pytest.raises(InvalidPayload, match="cents"):
        transaction(tx_another_way, "many")


def test_it_looks_like_a_step_to_whoever_schedules_it() -> None:
    definition: Any = transaction(tx_another_way, 5, undo=tx_undo_renamed).definition
    assert isinstance(definition, Transaction)
    assert (definition.name, definition.is_step) == ("tx_another_way", True)
    assert definition.traits == ["transactional", "group"]
    fn, found = undo_of(definition.undo_name or "")
    assert (fn, found.fn) == (tx_undo_renamed, tx_another_way)
    assert transaction(tx_another_way, 6, undo=tx_undo_renamed).definition is definition
    with pytest.raises(LookupError):
        undo_of("no.module:gone(no.module:either)")
