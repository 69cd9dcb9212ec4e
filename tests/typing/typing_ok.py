"""What a user's type checker knows. Never run: mypy and pyright read it (test_typing.py)."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

from pydantic import BaseModel

from squidmesh import (
    Call,
    Command,
    FanOut,
    Flow,
    Handle,
    Mesh,
    Pending,
    Retry,
    RunInfo,
    Step,
    StepContext,
    Workflow,
    WorkflowError,
    context,
    discard,
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


# -------------------------------------------------------------------------------------------------- workflows


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
