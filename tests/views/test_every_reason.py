"""Each reason of the closed set, by a run that was really brought there.

For each there is one function here, which gives the handle of such a run; what is asked of its explanation is the same
for all, by the table of reasons.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from squidmesh import (
    Flow,
    Handle,
    Mesh,
    Retry,
    Signal,
    WorkflowError,
    approval,
    context,
    continue_as_new,
    gather,
    pause,
    sleep,
    step,
    workflow,
)
from squidmesh.core.status import ENDED, Reason, fits
from squidmesh.engine.worker import Worker
from squidmesh.testing import DrainLimit, VirtualMesh
from squidmesh.views.explanation import Explanation
from squidmesh.views.reasons import MEANINGS

GO = Signal("reasons.go")

Bring = Callable[[VirtualMesh], Handle[object]]
BROUGHT: dict[Reason, Bring] = {}


def brings(reason: Reason) -> Callable[[Bring], Bring]:
    def note(bring: Bring) -> Bring:
        assert reason not in BROUGHT
        BROUGHT[reason] = bring
        return bring

    return note


# ------------------------------------------------------------------------------------------- what the runs do

SWITCHES: dict[str, bool] = {}
"""What stands for a deploy: the body of a workflow asks here which code it is."""


class Refused(WorkflowError): ...


@step(name="reasons.plain")
def plain(n: int) -> int:
    return n


@step(name="reasons.other")
def other(n: int) -> int:
    return n


@step(name="reasons.fails")
def fails(n: int) -> int:
    raise Refused("no")


@step(name="reasons.flaky", retry=Retry(max_attempts=2, initial=60))
def flaky(n: int) -> int:
    raise ConnectionError("down")


@step(name="reasons.charge")
def charge(n: int) -> int:
    return n


@charge.undo
def refund(paid: int, n: int) -> None:
    if n == 2:
        raise ConnectionError("down")


@step(name="reasons.stubborn", undo_retry=Retry(max_attempts=1))
def stubborn(n: int) -> int:
    return n


@stubborn.undo
def stay(result: int, n: int) -> None:
    raise ValueError("no way back")


@step(name="reasons.ship", irreversible=True)
def ship(n: int) -> int:
    if SWITCHES.get("ship fails"):
        raise TimeoutError("no answer")
    return n


@step(name="reasons.launch", pivot=True)
def launch(n: int) -> int:
    return n


@step(name="reasons.looks")
def looks(n: int) -> str:
    return explain_of(context().run_id)


EXPLAINED: list[Explanation] = []
MESH: list[Mesh] = []


def explain_of(run_id: str) -> str:
    """The explanation of a run, asked for while a step of it runs."""
    EXPLAINED.append(MESH[-1].handle(run_id).explain())
    return EXPLAINED[-1].reason


@workflow(name="reasons.short")
def short() -> Flow[int]:
    return (yield from plain(1))


@workflow(name="reasons.sleeps")
def sleeps() -> Flow[None]:
    if SWITCHES.get("ships instead"):
        yield from other(1)
    yield from sleep(timedelta(hours=1))


@workflow(name="reasons.both")
def both() -> Flow[tuple[int, int]]:
    return (yield from gather(plain(1), plain(2)))


@workflow(name="reasons.looked_at")
def looked_at() -> Flow[str]:
    return (yield from looks(1))


@workflow(name="reasons.tries")
def tries() -> Flow[int]:
    return (yield from flaky(1))


@workflow(name="reasons.listens")
def listens() -> Flow[bool]:
    return (yield from GO.wait())


@workflow(name="reasons.asks")
def asks() -> Flow[None]:
    yield from approval("desk", deadline=timedelta(days=1))


@workflow(name="reasons.stops")
def stops() -> Flow[None]:
    yield from pause("there")


@workflow(name="reasons.broken")
def broken() -> Flow[int]:
    yield from plain(1)
    return len(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@workflow(name="reasons.names")
def names() -> Flow[int]:
    yield from plain(1)
    return gone_with_the_last_deploy  # type: ignore[name-defined, no-any-return]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


@workflow(name="reasons.reads")
def reads() -> Flow[int]:
    first = yield from plain(1)
    yield from sleep(timedelta(hours=1))
    return first


@workflow(name="reasons.doubts")
def doubts() -> Flow[int]:
    return (yield from ship(1))


@workflow(name="reasons.pivots")
def pivots() -> Flow[int]:
    yield from launch(1)
    return (yield from fails(1))


@workflow(name="reasons.cannot_undo", on_irreversible="halt")
def cannot_undo() -> Flow[int]:
    yield from charge(1)
    yield from ship(1)
    return (yield from fails(1))


@workflow(name="reasons.undoes")
def undoes(n: int) -> Flow[int]:
    yield from charge(n)
    return (yield from fails(1))


@workflow(name="reasons.stays")
def stays() -> Flow[int]:
    yield from stubborn(1)
    return (yield from fails(1))


@workflow(name="reasons.pays")
def pays() -> Flow[None]:
    yield from charge(1)
    yield from sleep(timedelta(hours=1))


@workflow(name="reasons.parent")
def parent() -> Flow[None]:
    yield from sleeps()


@workflow(name="reasons.undone_child")
def undone_child() -> Flow[int]:
    return (yield from stubborn(1))


@workflow(name="reasons.undoes_child")
def undoes_child() -> Flow[int]:
    yield from undone_child()
    return (yield from fails(1))


@workflow(name="reasons.goes_on")
def goes_on(n: int) -> Flow[None]:
    if n:
        yield from continue_as_new(goes_on(n - 1))
    yield from sleep(timedelta(hours=1))


ALL = [
    parent, undone_child, undoes_child, goes_on, short, sleeps, both, looked_at, tries, listens, asks, stops,
    broken, names, reads, doubts, pivots, cannot_undo, undoes, stays, pays,
]  # fmt: skip


def some(mesh: VirtualMesh, pieces: int) -> None:
    """Only so many pieces of work, of what is due."""
    with suppress(DrainLimit):
        mesh.drain(limit=pieces)


# ------------------------------------------------------------------------------------------- pending, and unserved


@brings(Reason.QUEUED)
def queued(mesh: VirtualMesh) -> Handle[object]:
    assert mesh.worker_now
    return mesh.start(short())


@brings(Reason.START_DELAYED)
def start_delayed(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(short(), at=mesh.now + timedelta(days=1))
    mesh.drain()
    return handle


@brings(Reason.NO_WORKER)
def no_worker(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(short(), queue="nobody")
    mesh.drain()
    return handle


@brings(Reason.NO_CODE)
def no_code(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(short())
    elsewhere = VirtualMesh(mesh.engine, workflows=[sleeps])
    assert elsewhere.worker_now
    return handle


# ------------------------------------------------------------------------------------------- running


@brings(Reason.ADVANCING)
def advancing(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(listens())
    mesh.drain()
    handle.signal(GO)
    return handle


@brings(Reason.STEP_QUEUED)
def step_queued(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(both())
    some(mesh, 1)
    return handle


@brings(Reason.STEP_RUNNING)
def step_running(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(looked_at())
    mesh.drain()
    return handle  # what its step saw of it is asked for


@brings(Reason.ATTEMPT_LOST)
def attempt_lost(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(short())
    mesh.restart(lose="attempt")
    some(mesh, 1)
    return handle


# ------------------------------------------------------------------------------------------- waiting


@brings(Reason.RETRY_SCHEDULED)
def retry_scheduled(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(tries()))


@brings(Reason.SLEEPING)
def sleeping(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(sleeps()))


@brings(Reason.WAITING_FOR_SIGNAL)
def waiting_for_signal(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(listens()))


@brings(Reason.WAITING_FOR_CHILD)
def waiting_for_child(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(parent()))


# ------------------------------------------------------------------------------------------- paused


@brings(Reason.WAITING_FOR_APPROVAL)
def waiting_for_approval(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(asks()))


@brings(Reason.WAITING_FOR_RESUME)
def waiting_for_resume(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(stops()))


@brings(Reason.HELD)
def held(mesh: VirtualMesh) -> Handle[object]:
    handle = drained(mesh, mesh.start(sleeps()))
    handle.hold(actor="ada")
    return drained(mesh, handle)


# ------------------------------------------------------------------------------------------- blocked


@brings(Reason.CODE_ERROR)
def code_error(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(broken()))


@brings(Reason.CODE_CHANGED)
def code_changed(mesh: VirtualMesh) -> Handle[object]:
    handle = drained(mesh, mesh.start(sleeps()))
    SWITCHES["ships instead"] = True
    mesh.restart()
    mesh.advance(timedelta(hours=1))
    return handle


@brings(Reason.CODE_MISSING)
def code_missing(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(names()))


@brings(Reason.VALUE_UNDECODABLE)
def value_undecodable(mesh: VirtualMesh) -> Handle[object]:
    handle = drained(mesh, mesh.start(reads()))
    mesh.restart()
    was, plain.result = plain.result, flaky_text.result
    try:
        mesh.advance(timedelta(hours=1))
    finally:
        plain.result = was
    return handle


@step(name="reasons.text")
def flaky_text(n: int) -> dict[str, str]:
    return {}


@brings(Reason.STEP_IN_DOUBT)
def step_in_doubt(mesh: VirtualMesh) -> Handle[object]:
    SWITCHES["ship fails"] = True
    return drained(mesh, mesh.start(doubts()))


@brings(Reason.PAST_PIVOT)
def past_pivot(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(pivots()))


@brings(Reason.UNDO_FAILED)
def undo_failed(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(stays()))


@brings(Reason.UNDO_HALTED)
def undo_halted(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(cannot_undo()))


# ------------------------------------------------------------------------------------------- undoing


@brings(Reason.DRAINING)
def draining(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(both())
    some(mesh, 1)
    elsewhere = Worker(mesh.connect_engine(), threads=1)
    elsewhere.enter()
    assert mesh.connect_engine().store.claim_tasks(elsewhere.id, "default", elsewhere.can, 1)
    handle.cancel(actor="ada")
    return drained(mesh, handle)


@brings(Reason.UNDOING)
def undoing(mesh: VirtualMesh) -> Handle[object]:
    handle = mesh.start(undoes(1))
    with mesh.stub(charge.undo, lambda paid, n: explain_of(handle.run_id)):
        mesh.drain()
    return handle


@brings(Reason.UNDO_RETRY_SCHEDULED)
def undo_retry_scheduled(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(undoes(2)))


@brings(Reason.WAITING_FOR_CHILD_ROLLBACK)
def waiting_for_child_rollback(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(undoes_child()))


# ------------------------------------------------------------------------------------------- ended


@brings(Reason.COMPLETED)
def completed(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(short()))


@brings(Reason.FAILED)
def failed(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(undoes(1)))


@brings(Reason.CANCELLED)
def cancelled(mesh: VirtualMesh) -> Handle[object]:
    handle = drained(mesh, mesh.start(sleeps()))
    handle.cancel(actor="ada")
    return drained(mesh, handle)


@brings(Reason.UNDONE)
def undone(mesh: VirtualMesh) -> Handle[object]:
    handle = drained(mesh, mesh.start(short()))
    handle.rollback(actor="ada", note="a test")
    return drained(mesh, handle)


@brings(Reason.TERMINATED)
def terminated(mesh: VirtualMesh) -> Handle[object]:
    handle = drained(mesh, mesh.start(pays()))
    handle.terminate(actor="ada", note="enough")
    return drained(mesh, handle)


@brings(Reason.CONTINUED)
def continued(mesh: VirtualMesh) -> Handle[object]:
    return drained(mesh, mesh.start(goes_on(1)))


def drained(mesh: VirtualMesh, handle: Handle[object]) -> Handle[object]:
    mesh.drain()
    return handle


# ------------------------------------------------------------------------------------------- what is asked of each


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    mesh = VirtualMesh(workflows=ALL)
    MESH.append(mesh)
    yield mesh
    mesh.close()
    MESH.clear()
    SWITCHES.clear()
    EXPLAINED.clear()


def test_there_is_a_run_for_every_reason() -> None:
    assert set(BROUGHT) == set(Reason)


@pytest.mark.parametrize("reason", BROUGHT)
def test_a_run_that_was_brought_there_is_explained_so(mesh: VirtualMesh, reason: Reason) -> None:
    handle = BROUGHT[reason](mesh)
    found = EXPLAINED[0] if EXPLAINED else handle.explain()
    told = MEANINGS[reason]
    assert found.reason == reason, found.summary
    assert fits(found.status, found.reason)
    assert found.summary.endswith((".", "squidmesh worker MODULE", "--queues nobody"))
    assert ([waiting.kind for waiting in found.waiting_on][:1] or [None])[0] == told.waits
    if told.next is not None:
        assert found.next_actions, found.summary
        assert all(action.python or action.cli for action in found.next_actions)
    if reason in ENDED:
        assert found.deadlines == []
    assert Explanation.model_validate_json(found.model_dump_json()) == found
    assert json.loads(found.model_dump_json())["schema_version"] == 1
