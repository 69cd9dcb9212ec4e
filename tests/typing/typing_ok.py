"""What a user's type checker knows. Never run: mypy and pyright read it (test_typing.py)."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn, assert_type

from pydantic import BaseModel

from squidmesh import (
    Applied,
    Call,
    Cleaned,
    Command,
    Decision,
    Failure,
    FanOut,
    Flow,
    Handle,
    Mesh,
    NotApplied,
    NotNeeded,
    Pending,
    Retry,
    RetryStep,
    RollbackInfo,
    RunInfo,
    Signal,
    Step,
    StepContext,
    StillUnknown,
    Vote,
    Workflow,
    WorkflowError,
    approval,
    context,
    discard,
    fan_out,
    gather,
    log,
    new_uuid,
    now,
    patched,
    pause,
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


class Order(BaseModel):
    id: str
    cents: int


class Label(BaseModel):
    code: str


class Parcel(Label):
    weight: float


class Rejected(WorkflowError): ...


@step(retry=Retry(max_attempts=5, initial=timedelta(seconds=1)), timeout=30, queue="payments", priority=1)
def charge(order_id: str, cents: int = 100) -> int:
    assert_type(context(), StepContext)
    return cents


@step
async def ship(order_id: str, *, express: bool = False) -> Label:
    return Label(code=order_id)


@step(name="pack-it", max_lost=2, heartbeat_timeout=timedelta(seconds=5))
async def pack(weight: float) -> Parcel:
    return Parcel(code="p", weight=weight)


@step
def notify(order_id: str) -> None: ...


# -------------------------------------------------------------------------------------------- steps and calls

assert_type(charge("o", 1), Call[int])
assert_type(charge("o", cents=1), Call[int])
assert_type(charge("o"), Call[int])
assert_type(ship("o", express=True), Call[Label])
assert_type(pack(1.5), Call[Parcel])
assert_type(notify("o"), Call[None])
assert_type(charge("o").options(retry=Retry(), timeout=timedelta(1), queue="q", priority=2), Call[int])
charge.fn("o", 1)
charge.fn("o", cents=1)

covariant: Call[Label] = pack(1.0)
command: Command[Label] = pack(1.0)
any_step: Step[..., Any] = charge


# --------------------------------------------------------------------------------------------------- handlers


@charge.undo
def refund(paid: int, order_id: str, cents: int = 100) -> None:
    assert_type(context().forward_key, str)
    assert_type(context().rollback, RollbackInfo | None)
    context().add_undo(take_back, order_id)
    context().add_undo(take_back, order_id, 3)
    context().mark_irreversible("the window is closed")


@charge.compensate
def finish(failure: Failure, order_id: str, cents: int = 100) -> int | Cleaned | RetryStep:
    assert_type(failure.attempts, int)
    return RetryStep(after=timedelta(seconds=10)) if cents else Cleaned("nothing is left")


@charge.check
def probe(order_id: str, cents: int = 100) -> Applied[int] | NotApplied | StillUnknown:
    return Applied(cents) if cents else StillUnknown()


refund(3, "o", 1)
refund(3, "o")
assert_type(refund(3, "o"), None)
assert_type(finish(Failure(type="x", message=""), "o"), int | Cleaned | RetryStep)
assert_type(probe("o"), Applied[int] | NotApplied | StillUnknown)


@ship.undo
async def recall(label: Label | None, order_id: str, *, express: bool = False) -> NotNeeded | None:
    return NotNeeded("it never left")


@ship.compensate
async def ship_by_hand(failure: Failure, order_id: str, *, express: bool = False) -> Label:
    return Label(code=order_id)


@ship.check
async def probe_label(order_id: str, *, express: bool = False) -> Applied[Label]:
    return Applied(Label(code=order_id))


@pack.undo
def unpack(parcel: Label, weight: float) -> NotNeeded:  # a wider type than the step's result will do
    return NotNeeded()


@pack.compensate
def pack_tighter(failure: Failure, weight: float) -> Parcel | RetryStep:  # and a narrower answer
    return RetryStep()


@pack.check
def weigh(weight: float) -> NotApplied:
    return NotApplied()


@notify.undo
def take_back_news(nothing: None, order_id: str) -> None: ...


@notify.compensate
def give_it_up(failure: Failure, order_id: str) -> NoReturn:
    raise Rejected(failure.message)


@notify.check
def was_notified(order_id: str) -> Applied[None] | NotApplied:
    return Applied()


def take_back(order_id: str, times: int = 1) -> None: ...


@step(
    transactional=True,
    idempotent=False,
    undo=take_back,
    undo_retry=Retry(max_attempts=None),
    undo_timeout=timedelta(minutes=1),
    undo_when="attempted",
    compensate=finish,
    max_compensate_cycles=2,
    check=probe,
    unknown_on=(KeyError, "shop.Declined"),
)
def with_everything(order_id: str) -> None:
    context().connection.exec_driver_sql("…")


@step(pure=True, unknown_on=OSError)
def reads(order_id: str) -> int:
    return 1


@step(irreversible=True, pivot=True, unknown_on="shop.Declined")
def points_of_no_return(order_id: str) -> int:
    return 1


# -------------------------------------------------------------------------------------------------- workflows


@workflow(
    on_failure="keep",
    on_irreversible="halt",
    on_undo_failure="continue",
    strict_undo=True,
    undo_retention=timedelta(days=30),
)
def kept(order: Order) -> Flow[None]:
    yield from notify(order.id)


def helper(order: Order) -> Flow[Label]:
    yield from notify(order.id)
    return (yield from ship(order.id))


@workflow
def checkout(order: Order, express: bool = False) -> Flow[Label]:
    assert_type((yield from charge(order.id, order.cents)), int)
    assert_type((yield from ship(order.id)), Label)
    assert_type((yield from notify(order.id)), None)
    assert_type((yield from helper(order)), Label)

    paid, label = yield from gather(charge(order.id), ship(order.id))
    assert_type(paid, int)
    assert_type(label, Label)
    one, two, three, four = yield from gather(charge("a"), ship("b"), sleep(1), pack(2.0))
    assert_type((one, two, three, four), tuple[int, Label, None, Parcel])
    assert_type((yield from gather(charge("a"))), tuple[int])
    assert_type((yield from gather([charge("a"), charge("b")])), list[int])
    assert_type((yield from gather([charge(name) for name in ("a", "b")])), list[int])
    nested = yield from gather(gather(charge("a"), ship("b")), fan_out(pack, [1.0]))
    assert_type(nested, tuple[tuple[int, Label], FanOut[Parcel]])

    found = yield from fan_out(pack, [1.0, 2.0], limit=5, tolerate=0.5)
    assert_type(found, FanOut[Parcel])
    assert_type(found.values(), list[Parcel])
    assert_type(found.results, dict[int, Parcel])
    ranged = yield from fan_out(lambda n: charge(str(n), n), range(3))
    assert_type(ranged.values(), list[int])

    won = yield from race(charge("a"), ship("b"))
    assert_type(won, tuple[Literal[0], int] | tuple[Literal[1], Label])
    if won[0] == 0:
        assert_type(won[1], int)
    else:
        assert_type(won[1], Label)
    timed = yield from race(charge("a"), sleep(timedelta(hours=1)))
    assert_type(timed, tuple[Literal[0], int] | tuple[Literal[1], None])

    pending = yield from spawn(charge("a"))
    assert_type(pending, Pending[int])
    assert_type((yield from pending), int)
    assert_type((yield from gather(pending, ship("b"))), tuple[int, Label])

    assert_type((yield from sleep(1)), None)
    assert_type((yield from sleep_until(datetime(2030, 1, 1, tzinfo=UTC))), None)
    assert_type((yield from publish("progress", {"done": 1})), None)
    assert_type((yield from log("hello", level="warning")), None)
    assert_type(now(), datetime)
    assert_type(new_uuid(), uuid.UUID)
    assert_type(rng(), random.Random)
    assert_type(run_info(), RunInfo)
    assert_type(patched("faster"), bool)
    discard(charge("never"))
    if express:
        raise Rejected("no")
    return label


@workflow(name="checkout-async", version=2, queue="orders", fail_on=(KeyError, ValueError))
async def checkout_async(order: Order) -> Label:
    assert_type(await charge(order.id), int)
    assert_type(await gather(charge(order.id), ship(order.id)), tuple[int, Label])
    assert_type((await fan_out(pack, [1.0])).values(), list[Parcel])
    assert_type(await sleep(1), None)
    pending = await spawn(ship(order.id))
    return await pending


@workflow
def untyped_yields(order: Order) -> Flow[int]:
    paid: int = yield charge(order.id)
    return paid


assert_type(checkout(Order(id="o", cents=1)), Call[Label])
assert_type(checkout(Order(id="o", cents=1), express=True), Call[Label])
assert_type(checkout_async(Order(id="o", cents=1)), Call[Label])
assert_type(untyped_yields(Order(id="o", cents=1)), Call[int])
assert_type(checkout(Order(id="o", cents=1)).options(key="k", detached=True), Call[Label])
any_workflow: Workflow[..., Any] = checkout


# -------------------------------------------------------------------------------------------- signals, gates

SHIPPED = Signal("shipped", Parcel)
GO = Signal("go")
EITHER = Signal[Order | Parcel]("either", Order | Parcel)

assert_type(SHIPPED, Signal[Parcel])
assert_type(GO, Signal[bool])
assert_type(EITHER, Signal[Order | Parcel])


@workflow
def asks_people(other: str, hours: float | None) -> Flow[None]:
    assert_type((yield from SHIPPED.wait()), Parcel)
    assert_type((yield from SHIPPED.wait(timeout=timedelta(hours=1))), Parcel | None)
    assert_type((yield from SHIPPED.wait(timeout=hours)), Parcel | None)
    assert_type((yield from GO.wait()), bool)
    assert_type((yield from EITHER.wait()), Order | Parcel)
    assert_type((yield from EITHER.wait(timeout=5)), Order | Parcel | None)
    assert_type((yield from SHIPPED.send(other, Parcel(code="p", weight=1.0))), None)
    assert_type((yield from EITHER.send(other, Order(id="o", cents=1))), None)
    assert_type((yield from GO.send(other, True)), None)

    first = yield from race(SHIPPED.wait(), sleep(60))
    assert_type(first, tuple[Literal[0], Parcel] | tuple[Literal[1], None])

    decision = yield from approval("boss", needed=2, deadline=timedelta(days=3))
    assert_type(decision, Decision)
    assert_type(decision.votes, tuple[Vote, ...])
    assert_type(decision.actor, str | None)
    assert_type((yield from pause("look", Order)), Order)
    assert_type((yield from pause("look", Order, deadline=datetime(2030, 1, 1, tzinfo=UTC))), Order | None)
    assert_type((yield from pause("look", Order, deadline=hours)), Order | None)
    assert_type((yield from pause("look", list[int], deadline=60)), list[int] | None)
    anything: str = yield from pause("look")
    union: Order | Parcel = yield from pause("look", Order | Parcel)
    both = yield from gather(approval("money"), approval("law"))
    assert_type(both, tuple[Decision, Decision])
    del anything, union


async def asks_politely() -> None:
    assert_type(await SHIPPED.wait(timeout=1), Parcel | None)
    assert_type(await approval("boss"), Decision)
    assert_type(await pause("look", Order), Order)


def people(mesh: Mesh, handle: Handle[Label]) -> None:
    assert_type(handle.signal(SHIPPED, Parcel(code="p", weight=1.0), key="k"), str)
    handle.signal(GO)
    handle.signal(EITHER, Order(id="o", cents=1))
    handle.signal("anything", {"a": 1})
    mesh.signal(handle.run_id, SHIPPED, Parcel(code="p", weight=1.0))
    mesh.signal(handle.run_id, GO, key="k")
    mesh.signal(handle.run_id, "anything")
    assert_type(handle.approve(actor="ann"), str)
    handle.approve("boss", actor="ann", note="fine", key="k")
    handle.reject("2.1", actor="ann")
    handle.resume(actor="ann")
    handle.resume(Order(id="o", cents=1), gate="look", actor="ann")
    handle.hold(actor="ops", note="looking")
    assert_type(handle.release(actor="ops"), str)


# ------------------------------------------------------------------------------------------------- the client


def client(mesh: Mesh) -> None:
    order = Order(id="o", cents=1)
    assert_type(mesh.run(checkout(order)), Label)
    handle = mesh.start(checkout_async(order), key="k")
    assert_type(handle, Handle[Label])
    assert_type(handle.result(timeout=5), Label)
    assert_type(mesh.start_many([checkout(order)]), list[Handle[Label]])


async def waiting(handle: Handle[Label]) -> None:
    assert_type(await handle, Label)
